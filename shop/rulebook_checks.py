"""Rule book checks: what is wrong only between rules, or only beside a catalogue."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from shop.catalogue import Catalogue
from shop.filter_grammar import AllOf, AnyOf, Expression, InStock, Not, OneOf, PriceIs
from shop.rulebook import BookRule, Fault, Pin, RuleBook

_MAX_SUGGESTIONS = 20  # comparing a name with 50,000 brands takes a moment


def contradictions(rules: Sequence[BookRule]) -> list[Fault]:
    """Pins of one priority that some call would put at one place, or one product at two."""
    faults = []
    pins = [(rule, rule.effect) for rule in rules if isinstance(rule.effect, Pin)]
    for (one, first), (other, second) in combinations(pins, 2):
        same_place = first.position == second.position
        same_product = first.product_id == second.product_id
        if same_place == same_product:
            continue
        if one.priority != other.priority or not one.scope.meets(other.scope):
            continue
        field = "position" if same_place else "product"
        problem = f"contradicts rule {one.id}, where both hold"
        fix = "give one of them the higher priority, or windows, placements or countries apart"
        faults.append(Fault(other.id, field, problem, fix))
    return faults


def unknown_names(book: RuleBook, catalogue: Catalogue) -> list[Fault]:
    """Categories and brands that the catalogue does not have: such a rule would do nothing."""
    faults: list[Fault] = []
    known = {"category": catalogue.category_code_of, "brand": catalogue.brand_code_of}
    for rule in book.rules:
        for field, attribute, name in _names_in(rule):
            if name in known[attribute] and name:
                continue
            fix = _fix(name, known[attribute], suggest=len(faults) < _MAX_SUGGESTIONS)
            problem = f"{name[:40]!r} is no {attribute} of this catalogue"
            faults.append(Fault(rule.id, field, problem, fix))
    return faults


def unknown_products(book: RuleBook, catalogue: Catalogue) -> list[str]:
    """Products named in the book that the catalogue does not have. No fault: products come and go.

    Each as `rule: product`.
    """
    row_of = catalogue.row_of
    return [
        f"{rule.id}: {product_id}"
        for rule in book.rules
        for product_id in _products_in(rule)
        if product_id not in row_of
    ]


def _products_in(rule: BookRule) -> tuple[str, ...]:
    pinned = (rule.effect.product_id,) if isinstance(rule.effect, Pin) else ()
    return rule.selection.product_ids + pinned


def _names_in(rule: BookRule) -> Iterator[tuple[str, str, str]]:
    """Field, attribute and name."""
    for name in sorted(rule.scope.page_categories):
        yield "page_categories", "category", name
    for name in rule.selection.categories:
        yield "categories", "category", name
    for name in rule.selection.brands:
        yield "brands", "brand", name
    if rule.selection.condition is not None:
        for attribute, name in _compared(rule.selection.condition):
            yield "condition", attribute, name


def _compared(expression: Expression) -> Iterator[tuple[str, str]]:
    match expression:
        case OneOf(attribute, values):
            yield from ((attribute, value) for value in values)
        case Not(part):
            yield from _compared(part)
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from _compared(part)
        case InStock() | PriceIs():
            return


def _fix(name: str, known: Iterable[str], *, suggest: bool) -> str:
    close = difflib.get_close_matches(name, [each for each in known if each], 1) if suggest else []
    return f"did you mean {close[0]!r}?" if close else "see the catalogue's spelling"
