"""Filters: the attribute grammar of `RecommendRequest.filter`. (Filled in by its owner.)"""


class Filter:
    """A parsed filter."""
