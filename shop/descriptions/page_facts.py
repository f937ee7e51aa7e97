"""Page facts: what a campaign or a category's page may rely on, from the facts of its products."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from shop.descriptions.facts import MAX_VALUE_LENGTH, Attribute, Facts, facts_of
from shop.descriptions.quantities import quantities_in

MAX_CAMPAIGN_PRODUCTS = 20
MAX_STATED = 20
_MOST_VALUES = 30  # of one attribute, the commonest
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Brief:
    """What a campaign is about: products, and what the shop states (an offer, its end)."""

    product_ids: tuple[str, ...] = ()
    stated: tuple[Attribute, ...] = ()


def campaign_facts(name: str, stated: Iterable[Attribute], products: Sequence[Facts]) -> Facts:
    """What was stated first, then each product's own lines under its id."""
    own = facts_of(name, "", "", "", stated)
    lines = [
        Attribute(f"{product.product_id} {line.name}", line.value, line.unit)
        for product in products
        for line in product.lines
    ]
    left_out = [f"{each.product_id} {line}" for each in products for line in each.left_out]
    return Facts(own.product_id, "", "", "", (*own.attributes, *lines), (*own.left_out, *left_out))


def category_facts(name: str, count: int, products: Sequence[Facts]) -> Facts:
    """How many products there are, and what they are like: values, and ranges of numbers.

    `products` may be the busiest of many: the page tells of these.
    """
    values: dict[str, Counter[tuple[str, str]]] = {}
    for product in products:
        brand = [Attribute("brands", product.brand)] if product.brand else []
        for line in (*brand, *product.attributes):
            values.setdefault(line.name, Counter())[(line.value, line.unit)] += 1
    told = [
        each for each in (_told(line, found) for line, found in values.items()) if each is not None
    ]
    return facts_of(name, name, name, "", [Attribute("products", str(count)), *told])


def _told(name: str, found: Counter[tuple[str, str]]) -> Attribute | None:
    units = {unit for _, unit in found}
    if len(units) == 1 and all(_NUMBER.fullmatch(value) for value, _ in found):
        unit = next(iter(units))
        numbers = sorted((value for value, _ in found), key=float)
        first, last = f"{numbers[0]} {unit}".rstrip(), f"{numbers[-1]} {unit}".rstrip()
        return Attribute(name, first if first == last else f"{first} to {last}")
    parts: list[str] = []
    for (value, unit), _ in found.most_common(_MOST_VALUES):
        text = f"{value} {unit}".rstrip()
        # A number of one product is no fact about the category.
        if quantities_in(text) or sum(map(len, parts)) + len(text) > MAX_VALUE_LENGTH - 60:
            continue
        parts.append(text)
    return Attribute(name, ", ".join(dict.fromkeys(parts))) if parts else None
