"""Rules in force: the rule book that new calls go by, fitted to one release.

A book is swapped as one reference, so a call goes by one book from its first stage to its last.
What holds for one kind of call (placement, country, category page, campaign windows) is worked out
once and kept: after that a call costs a look-up.
"""

from collections.abc import Iterator
from itertools import islice, product

from serving.recommend.request import Ask
from shop.active_rules import ActiveRules, active_rules
from shop.compiled_rules import CompiledBook, ScopeKey
from shop.features import PLACEMENTS
from shop.rulebook import EMPTY_BOOK, RuleBook

_KEPT = 128  # kinds of calls; most shops have a handful of countries and six placements


class FittedBook:
    """A compiled book and what has been asked of it."""

    def __init__(self, compiled: CompiledBook) -> None:
        self.compiled = compiled
        self._kept: dict[ScopeKey, ActiveRules | None] = {}  # oldest first

    def prepare(self, now_ms: int) -> None:
        """Works out beforehand what calls will ask first, in whatever thread."""
        for key in islice(self._likely(now_ms), _KEPT):
            self.for_key(key)

    def _likely(self, now_ms: int) -> Iterator[ScopeKey]:
        countries = ("", "other", *sorted(self.compiled.countries))
        for placement, country in product(PLACEMENTS, countries):
            yield self.compiled.key(
                placement=placement, country=country, page_filter=None, now_ms=now_ms
            )

    def for_key(self, key: ScopeKey) -> ActiveRules | None:
        """What holds for these calls; None if nothing does."""
        if key in self._kept:
            return self._kept[key]
        found = active_rules(self.compiled, key)
        if len(self._kept) >= _KEPT:
            self._kept.pop(next(iter(self._kept)), None)
        self._kept[key] = found
        return found


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

    def for_call(self, ask: Ask) -> ActiveRules | None:
        """What holds for this request; None if nothing does."""
        fitted = self._fitted
        if fitted is None:
            return None
        context = ask.context
        return fitted.for_key(
            fitted.compiled.key(
                placement=context.placement,
                country=context.country,
                page_filter=ask.filter,
                now_ms=context.now_ms,
            )
        )
