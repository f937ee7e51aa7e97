"""The benchmark suite: one file per benchmark, one page of figures for all of them."""
