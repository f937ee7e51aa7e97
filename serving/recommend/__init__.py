"""A request's way from shopper to slate. Knows ports and values, no framework."""
