"""Rule book: what the shop's merchandisers want of every list, as data.

A book is read whole (`rulebook_reader`), fitted to a release once (`compiled_rules`), asked per
call (`ruling`) and applied to the order (`slate`). Its kinds of rules, and who wins where two meet,
strongest first; docs/rules.md tells merchandisers the same:

    1  stock and price      what cannot be sold is never shown (not a rule: always so)
    2  legal, exclude       not shown, whatever else a rule or a request says
    3  the request's own    excluded products, its cart, its filter: they hold for pins too
    4  pin                  at its position; of two that want one place, the higher priority has it
                            and the other takes the next place that is free
    5  cap                  a brand's or category's most of a page. Pins count, but are not turned
                            away; a page that nothing else fills goes over it
    6  promotions           of the request: their share of the first page, where pins leave room
    7  margin_floor,        demoted: behind every other product inside the filter, and neither
       back_order           promoted nor explored. A back-ordered product's place goes to the most
                            similar one in stock
    8  diversity            of the request
    9  boost, bury          factors on the value, beside those of the request
   10  value                what the ranker and the margin say

Priority decides between rules of one kind that match one product (or, for caps, one brand or
category): the highest counts alone; of equals all factors count, and the strictest limit. Legal
exclusions and excludes need none: each one excludes.

Without a known country every legal exclusion holds, and no other rule that names countries does.
A rule that asks for weather or search trends holds while these are known, and as asked.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from shop.filter_grammar import Expression

SCHEMA_VERSION = 1
MAX_BOOK_BYTES = 512 * 1024  # 500 rules with 40 product ids each take a quarter of it
MAX_RULES = 500
MAX_LISTED = 5_000  # products, categories or brands of one rule
MAX_PRIORITY = 1_000
MAX_POSITION = 500  # the longest page
MAX_TERMS = 100  # search terms of one rule


class Kind(StrEnum):
    """What a rule does."""

    EXCLUDE = "exclude"
    LEGAL = "legal"
    PIN = "pin"
    BOOST = "boost"
    BURY = "bury"
    CAP = "cap"
    MARGIN_FLOOR = "margin_floor"
    BACK_ORDER = "back_order"


@dataclass(frozen=True, slots=True)
class Window:
    """When a rule holds: from the first instant, up to but without the last. None: no limit."""

    from_ms: int | None = None
    until_ms: int | None = None

    def holds_at(self, time_ms: int) -> bool:
        """Whether this instant lies inside."""
        return (self.from_ms is None or self.from_ms <= time_ms) and (
            self.until_ms is None or time_ms < self.until_ms
        )

    def meets(self, other: "Window") -> bool:
        """Whether the two share an instant."""
        return (
            self.from_ms is None or other.until_ms is None or self.from_ms < other.until_ms
        ) and (other.from_ms is None or self.until_ms is None or other.from_ms < self.until_ms)


@dataclass(frozen=True, slots=True)
class Scope:
    """Which calls a rule is for. An empty set is all of them."""

    window: Window = Window()
    placements: frozenset[str] = frozenset()
    countries: frozenset[str] = frozenset()
    page_categories: frozenset[str] = frozenset()  # a page is a category's if its filter says so
    weathers: frozenset[str] = frozenset()  # one of these in the shopper's country
    trending: frozenset[str] = frozenset()  # people look for one of these, by `term_key`

    def meets(self, other: "Scope") -> bool:
        """Whether some call is in both."""
        return (
            self.window.meets(other.window)
            and _share(self.placements, other.placements)
            and _share(self.countries, other.countries)
            and _share(self.page_categories, other.page_categories)
            and _share(self.weathers, other.weathers)  # terms may trend together, weathers not
        )


def _share(one: frozenset[str], other: frozenset[str]) -> bool:
    return not one or not other or bool(one & other)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which products: those listed by id, category or brand, less those that fail the condition.

    No list is all products; no condition takes nothing away.
    """

    product_ids: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    brands: tuple[str, ...] = ()
    condition: Expression | None = None
    condition_text: str = ""
    trending: bool = False  # of those, only products that a trending search term means

    @property
    def has_lists(self) -> bool:
        """Whether anything is listed."""
        return bool(self.product_ids or self.categories or self.brands)


@dataclass(frozen=True, slots=True)
class Exclude:
    """Not shown."""


@dataclass(frozen=True, slots=True)
class Pin:
    """This product at this position of the list."""

    product_id: str
    position: int  # 1-based


@dataclass(frozen=True, slots=True)
class Weigh:
    """The value counts this many times; a loss is divided."""

    factor: float


@dataclass(frozen=True, slots=True)
class Cap:
    """The most of a page: a share of its places, or so many."""

    per: Literal["brand", "category"]
    share: float  # 1.0 where `most` says it
    most: int  # MAX_POSITION where `share` says it


@dataclass(frozen=True, slots=True)
class MarginFloor:
    """Demoted if less than this share of the price is earned."""

    share: float


@dataclass(frozen=True, slots=True)
class BackOrder:
    """Demoted, and replaced, if the risk of a back-order is above this."""

    risk: float


Effect = Exclude | Pin | Weigh | Cap | MarginFloor | BackOrder


@dataclass(frozen=True, slots=True)
class BookRule:
    """One rule."""

    id: str
    kind: Kind
    priority: int
    scope: Scope
    selection: Selection
    effect: Effect

    @property
    def asks_trends(self) -> bool:
        """Whether it depends on what people look for."""
        return self.selection.trending or bool(self.scope.trending)

    @property
    def mark(self) -> str:
        """How an explanation names it."""
        return f"{self.kind.value}:{self.id}"


@dataclass(frozen=True, slots=True)
class RuleBook:
    """All rules of a shop."""

    version: str
    rules: tuple[BookRule, ...]

    @property
    def asks_trends(self) -> bool:
        """Whether any rule asks what people look for."""
        return any(rule.asks_trends for rule in self.rules)


EMPTY_BOOK = RuleBook("", ())


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a book, where, and what to write instead."""

    rule: str  # its id, else which rule of the file it is; "" for the book itself
    field: str
    problem: str
    fix: str

    def __str__(self) -> str:
        where = f"rule {self.rule}" if self.rule else "the book"
        return f"{where}: {self.field}: {self.problem}; {self.fix}"
