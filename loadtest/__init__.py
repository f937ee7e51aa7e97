"""Load: open-loop arrivals through the real door, a verdict, and the benchmark suite."""
