"""Photos: what a product's picture is like, by its pixels alone."""
