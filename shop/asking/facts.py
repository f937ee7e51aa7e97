"""Facts of what can be bought now: a product's own lines, and its price and stock as of now.

The lines are the catalogue's and hostile until they went through `facts_of`; price and stock are
our own figures. A line that is too long for a prompt about several products is left out of the
facts altogether: what the model was not told, no sentence is granted by.
"""

from dataclasses import replace
from functools import lru_cache

from shop.catalogue import Catalogue
from shop.descriptions.facts import Attribute, Facts, clean_text, facts_of

PRICE, AVAILABILITY, IN_STOCK = "price", "availability", "in stock"
_MOST_TITLE = 120  # characters
_MOST_VALUE = 120
_MINOR = 100  # of a currency in its minor unit
_KEPT = 2_000  # products whose lines are not cleaned again; some milliseconds each


def facts_now(catalogue: Catalogue, row: int, price_minor: int, *, is_in_stock: bool) -> Facts:
    """What may be said of this product now. `is_in_stock`: units are known to be there."""
    heads = (
        str(catalogue.product_ids[row]),
        clean_text(str(catalogue.titles[row]), _MOST_TITLE),
        catalogue.category_names[int(catalogue.category_codes[row])],
        catalogue.brand_names[int(catalogue.brand_codes[row])],
    )
    lines = tuple(
        (name, column.names[int(column.codes[row])])
        for name, column in catalogue.specification.items()
    )
    cleaned = _cleaned(*heads, lines)
    own = [each for each in cleaned.attributes if each.name not in (PRICE, AVAILABILITY)]
    own.append(Attribute(PRICE, money(price_minor), catalogue.currency))
    if is_in_stock:
        own.append(Attribute(AVAILABILITY, IN_STOCK))
    return replace(cleaned, attributes=tuple(own))


def money(minor: int) -> str:
    """As it is written in facts, without the currency."""
    return f"{minor / _MINOR:.2f}"


@lru_cache(maxsize=_KEPT)
def _cleaned(
    product_id: str, title: str, category: str, brand: str, lines: tuple[tuple[str, str], ...]
) -> Facts:
    told = [Attribute(name, value) for name, value in lines if 0 < len(value) <= _MOST_VALUE]
    category, brand = (each if len(each) <= _MOST_VALUE else "" for each in (category, brand))
    return facts_of(product_id, title, category, brand, told)
