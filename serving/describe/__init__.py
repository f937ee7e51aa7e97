"""Describe: from a product's facts to a published text; see `pipeline`."""
