"""Search text: what of a product can be searched, one text per product."""

import re
from collections.abc import Iterable

_NO_WORD = re.compile(r"\W+")


def product_text(title: str, values: Iterable[str]) -> str:
    """The title, and of the specification's values those that it does not hold already."""
    written = _spaced(title)
    return " ".join((title, *(value for value in values if _spaced(value) not in written)))


def _spaced(text: str) -> str:
    """Words with a blank on each side: a lampshade is no lamp."""
    return f" {_NO_WORD.sub(' ', text.lower()).strip()} "
