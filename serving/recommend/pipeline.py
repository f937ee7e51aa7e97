"""Pipeline: a request's way from shopper to slate, top to bottom, one file for each stage."""

from serving.deadline import Deadline
from serving.recommend.call import Call, Deps
from serving.recommend.candidates import find_candidates
from serving.recommend.feedback import log_impression, log_page
from serving.recommend.filtering import conditions_dropped
from serving.recommend.history import read_history
from serving.recommend.paging import first_page, further_page
from serving.recommend.recall import recalled
from serving.recommend.replacements import with_replacements
from serving.recommend.request import Answer, Ask, Stage
from serving.recommend.slate import arrange_slate, keep_eligible
from shop.features import shopper_features


async def recommend(ask: Ask, deps: Deps, deadline: Deadline) -> Answer:
    """The list for one request. What is lost on the way is named in `degraded`, never raised.

    Raises InvalidRequest if the page token belongs to another release, and DependencyTimeout
    before the next stage once the client's own deadline has passed.
    """
    call = await Call.of(ask, deps, deadline).with_query()
    if ask.page is not None:
        answer = await further_page(call, ask.page)
        log_page(call, answer)
        return answer

    with call.begun(Stage.HISTORY):
        past = await read_history(call)
    with call.begun(Stage.FEATURES):
        features = shopper_features(past.history, past.context, deps.release.tables.schema)
    async with recalled(call, past, features) as known:
        with call.begun(Stage.CANDIDATES):
            retrieved = known.found or await find_candidates(call, past, features)
        with call.begun(Stage.LOOKUPS):
            looked_up = await deps.offers.look_up(
                retrieved.candidates.rows,
                now_ms=ask.context.now_ms,
                within_s=call.within_s(deps.settings.budgets.lookups_ms),
                losses=call.losses,
            )
            found, offers = keep_eligible(call, retrieved, looked_up)
            found, offers = await with_replacements(call, found, offers)
        with call.begun(Stage.RANKING):
            scores = await known.ranked(found, offers)
            await known.keep(retrieved, offers, scores)
    with call.begun(Stage.SLATE):
        order = arrange_slate(call, found, offers, scores)

    slate = order.first(ask.page_size)
    answer = Answer(
        ask=ask,
        release=deps.release.tables.release,
        first_position=1,
        slate=slate,
        candidates=found.candidates,
        proposed=found.candidates.proposed,
        offers=offers,
        scores=scores,
        degraded=tuple(call.losses.found),
        stage_ms=call.stage_ms(),
        next_page=first_page(call, found.candidates, order),
        missing_product_ids=call.missing_product_ids(),
        scored_count=0 if scores is None else len(found.candidates),
        fallback=found.fallback,
        relaxed=conditions_dropped(call, offers, slate),
        search=call.search,
        cache=known.use,
        searched_share=call.losses.searched_share,
    )
    log_impression(call, answer, past, features)
    return answer
