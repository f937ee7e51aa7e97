"""Filtering: where a call's sources may look, and where else if too little passes the filter.

A strict filter is never left. One that is not strict is relaxed, condition by condition in the
order of `shop.relaxing`, until there is enough for a page.

Shapes: R catalogue rows, N offers.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from serving.recommend.call import Call
from serving.recommend.fallbacks import or_fallback
from serving.recommend.request import Degradation, Stage
from shop.blend import Proposal, stack, with_more
from shop.candidates import Candidates
from shop.filters import Filter
from shop.offers import Offers
from shop.popularity import RowMask
from shop.relaxing import Relaxed, relaxations
from shop.slate import Slate

# So many rows of each source, where the mask says; best first.
Sources = Callable[[int, RowMask | None], list[Proposal]]


async def allowed_rows(call: Call) -> RowMask | None:
    """[R] where to search; None is everywhere: a few refused rows are dropped later. Read only.

    With a filter, what the caller excludes takes no place of a source either.
    """
    if call.ask.filter is None:
        return allowed_by_rules(call)
    allowed = await _allowed_by(call, call.ask.filter)
    if allowed is None or call.excluded_rows.size == 0:
        return allowed
    left = allowed.copy()
    left[call.excluded_rows] = False
    return left


def allowed_by_rules(call: Call) -> RowMask | None:
    """[R] what rules leave, if they take much away. Read only."""
    return None if call.rules is None else call.rules.allowed


async def rows_passing(call: Call, wanted: Filter) -> RowMask | None:
    """[R] rows that pass as far as is known. Read only.

    None, noted as a loss, if there is no time to find out; the final offers are judged anyway.
    """
    masks = call.deps.filter_masks
    return await or_fallback(
        masks.of(wanted, call.ask.context.now_ms),
        within_s=call.within_s(call.deps.settings.budgets.index_ms),
        fallback=None,
        stage=Stage.CANDIDATES,
        lost=Degradation.FILTER_LATE,
        losses=call.losses,
    )


async def _allowed_by(call: Call, wanted: Filter) -> RowMask | None:
    passing, by_rules = await rows_passing(call, wanted), allowed_by_rules(call)
    if passing is None or by_rules is None:
        return by_rules if passing is None else passing
    return passing & by_rules


async def filled(candidates: Candidates, call: Call, sources: Sources) -> Candidates:
    """`candidates`, followed by enough from a relaxed filter for a page, if they are few.

    Twice a page is enough: some will turn out unsellable, seldom more than half.
    """
    enough = 2 * call.ask.page_size
    if len(candidates) >= enough:
        return candidates
    goal = min(len(candidates) + enough, call.deps.settings.quotas.candidates)
    for relaxed in _relaxations(call):
        if len(candidates) >= goal:
            break
        if relaxed.filter is None:
            allowed = allowed_by_rules(call)
        else:
            allowed = await _allowed_by(call, relaxed.filter)
        # Each source may repeat first what is there already, or excluded.
        reach = goal + call.excluded_rows.size
        more = stack(sources(reach, allowed), 2 * reach)
        fresh = np.flatnonzero(~np.isin(more.rows, call.excluded_rows))
        candidates = with_more(candidates, more.taken(fresh), goal - len(candidates))
    return candidates


def _relaxations(call: Call) -> tuple[Relaxed, ...]:
    wanted = call.ask.filter
    if wanted is None or call.ask.strict_filtering:
        return ()
    return relaxations(wanted.expression)


def relaxed_steps(call: Call, offers: Offers, inside: NDArray[np.bool_]) -> NDArray[np.int8] | None:
    """[N] how many of its conditions the filter had to give up for each offer to pass.

    None if all of them are `inside` [N] the whole filter.
    """
    if call.ask.filter is None or inside.all():
        return None
    catalogue = call.deps.release.tables.catalogue
    steps = np.zeros(len(offers), dtype=np.int8)
    left = ~inside
    for step, relaxed in enumerate(relaxations(call.ask.filter.expression), start=1):
        steps[left] = step
        if relaxed.filter is not None:
            left &= ~relaxed.filter.admits(offers, catalogue)
    return steps


def conditions_dropped(call: Call, offers: Offers, slate: Slate) -> tuple[str, ...]:
    """Conditions of the filter that some of the shown products do not meet, as they were dropped.

    `slate` is of these offers.
    """
    wanted = call.ask.filter
    if wanted is None or call.ask.strict_filtering:
        return ()
    shown = offers.taken(slate.at)
    inside = wanted.admits(shown, call.deps.release.tables.catalogue)
    steps = relaxed_steps(call, shown, inside)
    return () if steps is None else relaxations(wanted.expression)[int(steps.max()) - 1].dropped
