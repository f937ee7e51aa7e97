"""Rules in force: the rule book that new calls go by, fitted to one release.

A book is swapped as one reference, so a call goes by one book from its first stage to its last.
What holds for one kind of call (placement, country, category page, campaign windows) is worked out
once and kept: after that a call costs a look-up.
"""

from collections.abc import Iterator
from itertools import islice, product
from typing import TypeVar, cast

from serving.recommend.request import Ask, Degradation, Losses, Stage
from serving.recommend.surroundings import Surroundings
from shop.active_rules import ActiveRules, active_rules
from shop.compiled_rules import CompiledBook, ScopeKey
from shop.countries import COUNTRIES, UNKNOWN_COUNTRY
from shop.features import PLACEMENTS
from shop.rulebook import EMPTY_BOOK, RuleBook

_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

_KEPT_KINDS = 4_096  # of calls: a name each
_KEPT_SETS = 128  # of rules: some kilobytes each, or a byte per product; most kinds share a few

_NOT_ASKED = object()
WorkedOut = dict[ScopeKey, ActiveRules | None]


class FittedBook:
    """A compiled book and what has been asked of it. Asked from one thread only."""

    def __init__(self, compiled: CompiledBook) -> None:
        self.compiled = compiled
        self._by_kind: dict[ScopeKey, ActiveRules | None] = {}  # oldest first
        self._by_rules: dict[tuple[str, ...], ActiveRules | None] = {}
        self._asks: dict[ScopeKey, tuple[bool, bool]] = {}

    def work_out(self, now_ms: int) -> WorkedOut:
        """What calls will ask first and nobody has asked yet, in whatever thread; `keep` it."""
        found: WorkedOut = {}
        by_rules: dict[tuple[str, ...], ActiveRules | None] = {}
        for key in islice(self._likely(now_ms), _KEPT_KINDS // 2):
            if key not in self._by_kind:
                found[key] = self._found(key, by_rules)
        return found

    def keep(self, found: WorkedOut) -> None:
        """Calls find this worked out."""
        for key, active in found.items():
            _put(self._by_kind, key, active, _KEPT_KINDS)

    def _likely(self, now_ms: int) -> Iterator[ScopeKey]:
        named, weathers = self.compiled.countries, ("", *sorted(self.compiled.weathers))
        any_other = sorted(COUNTRIES - named)[:1]
        countries = (UNKNOWN_COUNTRY, *any_other, *sorted(named))
        for weather, placement, country in product(weathers, PLACEMENTS, countries):
            yield self.compiled.key(
                placement=placement,
                country=country,
                page_filter=None,
                now_ms=now_ms,
                weather=weather,
            )

    def for_key(self, key: ScopeKey) -> ActiveRules | None:
        """What holds for these calls; None if nothing does."""
        kept = self._by_kind.get(key, _NOT_ASKED)
        if kept is not _NOT_ASKED:
            return cast(ActiveRules | None, kept)
        found = self._found(key, self._by_rules)
        _put(self._by_kind, key, found, _KEPT_KINDS)
        return found

    def asks(self, key: ScopeKey) -> tuple[bool, bool]:
        """Whether a rule for these calls asks for the weather, and for search trends."""
        if key not in self._asks:
            _put(self._asks, key, self.compiled.asks(key), _KEPT_KINDS)
        return self._asks[key]

    def _found(
        self, key: ScopeKey, by_rules: dict[tuple[str, ...], ActiveRules | None]
    ) -> ActiveRules | None:
        """Kinds of calls with the same rules share what is worked out."""
        rules = self.compiled.rules_for(key)
        ids = tuple(rule.id for rule in rules)
        if ids not in by_rules:
            _put(by_rules, ids, active_rules(self.compiled, rules), _KEPT_SETS)
        return by_rules[ids]


def _put(kept: dict[_Key, _Value], key: _Key, value: _Value, most: int) -> None:
    """The oldest makes room."""
    if len(kept) >= most:
        del kept[next(iter(kept))]
    kept[key] = value


class RulesInForce:
    """The book that new calls go by."""

    def __init__(self) -> None:
        self._fitted: FittedBook | None = None
        self._book = EMPTY_BOOK

    @property
    def book(self) -> RuleBook:
        """As it was last put in force."""
        return self._book

    @property
    def fitted(self) -> FittedBook | None:
        """What calls ask; None if the book has no rules."""
        return self._fitted

    def enforce(self, fitted: FittedBook) -> None:
        """Calls that begin from now on go by this book."""
        self._book = fitted.compiled.book
        self._fitted = fitted if self._book.rules else None

    def for_call(self, ask: Ask, surroundings: Surroundings, losses: Losses) -> ActiveRules | None:
        """What holds for this request; None if nothing does.

        Notes a loss where a rule of this request asks for surroundings that nobody knows.
        """
        fitted = self._fitted
        if fitted is None:
            return None
        context, compiled = ask.context, fitted.compiled
        weather = surroundings.weather_in(context.country) if compiled.weathers else None
        key = compiled.key(
            placement=context.placement,
            country=context.country,
            page_filter=ask.filter,
            now_ms=context.now_ms,
            weather="" if weather is None else weather.condition,
        )
        if compiled.asks_around:
            _note_losses(fitted, key, surroundings, losses)
        return fitted.for_key(key)


def _note_losses(
    fitted: FittedBook, key: ScopeKey, surroundings: Surroundings, losses: Losses
) -> None:
    weather_is_lost = not surroundings.weather_is_known
    trends_are_lost = not surroundings.trends_are_known
    if weather_is_lost or trends_are_lost:
        asks_weather, asks_trends = fitted.asks(key)
        if weather_is_lost and asks_weather:
            losses.add(Stage.FEEDS, Degradation.STALE_WEATHER)
        if trends_are_lost and asks_trends:
            losses.add(Stage.FEEDS, Degradation.STALE_TRENDS)
