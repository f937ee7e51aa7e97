"""Search text: what of a product can be searched, one text per product."""

from collections.abc import Iterable


def product_text(title: str, values: Iterable[str]) -> str:
    """The title, and of the specification's values those that it does not hold already."""
    lowered = title.lower()
    return " ".join((title, *(value for value in values if value.lower() not in lowered)))
