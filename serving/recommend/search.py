"""Search: a query becomes a filter that holds exactly and words to search for inside of it.

Everything after this treats the filter like one that the caller wrote: strictly. Where nothing
satisfies it, or no word of the query means anything here, the search is a dead end: it is logged,
and answered with what weaker constraints leave, marked RELAXED_SEARCH.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from serving.recommend.filter_masks import FilterMasks
from serving.recommend.request import Ask, Degradation
from serving.recommend.search_ports import SearchParts
from shop.errors import InvalidRequest
from shop.filter_grammar import AllOf, Expression
from shop.filter_text import as_text
from shop.filters import Filter
from shop.search_query import ParsedQuery, all_of, parse_query, relaxations


@dataclass(frozen=True, slots=True, eq=False)
class Search:
    """How one query was understood."""

    asked: Ask  # as the caller wrote it
    parsed: ParsedQuery
    kept: tuple[Expression, ...]  # of the parsed constraints, those that hold for the list
    is_dead_end: bool  # fewer than were asked for, or nothing in the query has a meaning here

    @property
    def words(self) -> tuple[str, ...]:
        """What to search for; none where constraints say it all, or nothing is known to mean it."""
        return self.parsed.words if self.parsed.has_meaning else ()

    @property
    def orders_by_relevance(self) -> bool:
        """Whether products differ in how well they fit: not where constraints say all of it."""
        return bool(self.parsed.open_words) or self.kept != self.parsed.constraints


async def understood(
    ask: Ask, parts: SearchParts | None, masks: FilterMasks, excluded_rows: NDArray[np.int64]
) -> tuple[Ask, Search]:
    """The ask with the query's constraints in its filter, and how they came about.

    On a further page the order stands already: if it was relaxed, so is what is left of it.
    Raises InvalidRequest if the release cannot be searched.
    """
    if parts is None:
        raise InvalidRequest("query", "cannot be answered: this release has no titles to search by")
    parsed = parse_query(ask.query, parts.vocabulary)
    if ask.page is not None:
        relaxed = any(reason == Degradation.RELAXED_SEARCH for _, reason in ask.page.losses)
        kept = () if relaxed else parsed.constraints
        return _inside(ask, kept), Search(ask, parsed, kept, is_dead_end=relaxed)
    kept = await _satisfiable(ask, parsed.constraints, masks, excluded_rows)
    is_dead_end = kept != parsed.constraints or not parsed.has_meaning
    return _inside(ask, kept), Search(ask, parsed, kept, is_dead_end)


async def _satisfiable(
    ask: Ask,
    constraints: tuple[Expression, ...],
    masks: FilterMasks,
    excluded_rows: NDArray[np.int64],
) -> tuple[Expression, ...]:
    """The strongest form of the constraints that any product satisfies, as far as is known now."""
    for weaker in relaxations(constraints):
        wanted = _inside(ask, weaker).filter
        if not weaker or wanted is None:
            break
        mask = await masks.of(wanted, ask.context.now_ms)
        if np.count_nonzero(mask) > np.count_nonzero(mask[excluded_rows]):
            return weaker
    return ()


def _inside(ask: Ask, constraints: Sequence[Expression]) -> Ask:
    """The ask, held to these constraints beside the caller's own filter."""
    wanted = all_of(constraints)
    if wanted is None:
        return ask
    if ask.filter is not None:
        wanted = AllOf((ask.filter.expression, wanted))
    return replace(ask, filter=Filter(as_text(wanted), wanted), strict_filtering=True)
