"""Feedback: the impression that training will learn from. The log never delays or fails a call."""

from typing import Any

from serving.recommend.call import Call
from serving.recommend.dead_ends import note_dead_end
from serving.recommend.history import Past
from serving.recommend.ports import Impression
from serving.recommend.request import Answer
from shop.features import Context, ShopperFeatures


def log_page(call: Call, answer: Answer) -> None:
    """Hand a further page to the impression log: it was made without models."""
    if len(answer.slate) and not call.ask.preview:
        call.deps.impressions.put(_impression(call, answer, call.ask.context))


def log_impression(call: Call, answer: Answer, past: Past, features: ShopperFeatures) -> None:
    """Hand what will be shown to the impression log, with what its features were made from.

    An empty list is no impression, nor is a preview. A search that found nothing, or nothing of
    what was asked for, is logged as such.
    """
    if call.ask.preview:
        return
    if call.search is not None:
        note_dead_end(call, call.search, answer)
    if len(answer.slate) == 0:
        return
    ask = call.ask
    call.deps.impressions.put(
        _impression(
            call,
            answer,
            past.context,
            features_crc32=features.crc32(),
            history_revision=past.revision,
            recent_events=tuple(
                (each.event_code, each.product_id, each.time_ms, int(each.promotion), each.amount)
                for each in ask.recent_events
            ),
            context_product_ids=ask.context_product_ids,
            cart_product_ids=ask.cart_product_ids,
        )
    )


def _impression(call: Call, answer: Answer, context: Context, **evidence: Any) -> Impression:
    # `context` is the one the models saw, completed from the profile: training replays it.
    ask, shown, offers = answer.ask, answer.slate, answer.offers
    around = call.deps.surroundings
    weather = around.weather_in(context.country)
    ids: list[str] = call.deps.release.tables.catalogue.product_ids[shown.rows].tolist()
    return Impression(
        request_id=ask.request_id,
        time_ms=context.now_ms,
        shopper=ask.shopper,
        session_id=ask.session_id,
        placement=context.placement,
        device=context.device,
        country=context.country,
        segment=context.segment,
        utc_offset_minutes=context.utc_offset_minutes,
        release=answer.release,
        first_position=answer.first_position,
        product_ids=tuple(ids),
        propensities=tuple(shown.propensities.tolist()),
        price_minor=tuple(offers.price_minor[shown.at].tolist()),
        discounts=tuple(offers.discount[shown.at].tolist()),
        degraded=tuple(reason.value for _, reason in answer.degraded),
        **evidence,
        weather="" if weather is None else weather.condition,
        temperature_c=None if weather is None else weather.temperature_c,
        trending=around.trending_terms,
    )
