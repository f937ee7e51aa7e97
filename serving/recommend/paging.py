"""Paging: later pages of a list that is already ordered.

The token carries the whole order and why each product is in it, so a page skips retrieval and
ranking and only looks up prices and stock, which are always today's. What cannot be sold any more
is passed over. The pages of a list, one after another, are its whole order: nothing twice, nothing
left out. What the order was made without is said on every page; probabilities and the sources'
scores are the first page's only.

Shapes: M products of the order, K products of a page, N candidates, S sources.
"""

from dataclasses import replace

import numpy as np

from serving.recommend.call import Call
from serving.recommend.filtering import conditions_dropped
from serving.recommend.request import Answer, Degradation, Stage
from serving.recommend.slate import may_be_shown
from shop.candidates import SOURCE_COUNT, Candidates, proposed_of, source_bits
from shop.errors import InvalidRequest
from shop.slate import Slate
from shop.tokens import Page


def first_page(call: Call, candidates: Candidates, order: Slate) -> Page | None:
    """What the token of a new list of these candidates carries; None if one page shows it all."""
    shown = call.ask.page_size
    if len(order) <= shown:
        return None
    return Page(
        release=call.deps.release.tables.release,
        expires_ms=call.ask.context.now_ms + call.deps.settings.page_ttl_ms,
        offset=shown,
        rows=order.rows,
        values=order.values.astype(np.float32),
        propensities=order.propensities.astype(np.float32),
        moved=order.moved,
        sources=source_bits(candidates.proposed[order.at]),
        # Prices and stock are looked up anew, and may be lost anew, on every page.
        losses=tuple(
            (stage, reason.value) for stage, reason in call.losses.found if stage != Stage.LOOKUPS
        ),
        marks=order.marks,
    )


def check_release(page: Page, release: str) -> None:
    """Raises InvalidRequest if the page is of another release: its rows mean other products."""
    if page.release != release:
        raise InvalidRequest(
            "page_token",
            f"expired: the catalogue release changed from {page.release} to {release}; "
            "ask for the first page again",
        )


async def further_page(call: Call, page: Page) -> Answer:
    """The next products of `page`. Raises InvalidRequest if the catalogue changed since."""
    release = call.deps.release.tables.release
    check_release(page, release)
    for stage, reason in page.losses:
        call.losses.add(Stage(stage), Degradation(reason))
    rows = page.rows[page.offset :]
    with call.timed(Stage.LOOKUPS):
        offers = await call.deps.offers.look_up(
            rows,
            now_ms=call.ask.context.now_ms,
            within_s=call.within_s(call.deps.settings.budgets.lookups_ms),
            losses=call.losses,
        )
    showable = np.flatnonzero(may_be_shown(call, offers))
    at = showable[: call.ask.page_size]
    slate = Slate(
        rows=rows[at],
        at=at,
        values=page.values[page.offset :][at].astype(np.float64),
        propensities=page.propensities[page.offset :][at].astype(np.float64),
        moved=page.moved[page.offset :][at],
        marks=page.marks,
    )
    more = showable.size > at.size
    return Answer(
        ask=call.ask if call.search is None else call.search.asked,
        release=release,
        first_position=page.offset + 1,
        slate=slate,
        candidates=Candidates(rows, np.full((rows.size, SOURCE_COUNT), np.nan, np.float32)),
        proposed=proposed_of(page.sources[page.offset :]),
        offers=offers,
        scores=None,
        degraded=tuple(call.losses.found),
        stage_ms=call.stage_ms(),
        next_page=replace(page, offset=page.offset + int(at[-1]) + 1) if more else None,
        missing_product_ids=call.missing_product_ids(),
        scored_count=0,
        search=call.search,
        fallback=any(reason == Degradation.FALLBACK_CANDIDATES for _, reason in page.losses),
        relaxed=conditions_dropped(call, offers, slate),
    )
