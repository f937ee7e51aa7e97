"""Dead ends: searches that the catalogue has nothing for, as events of the feedback log.

What shoppers look for in vain is worth knowing: to buyers, and to the models as a signal.
"""

import hashlib

from serving.recommend.call import Call
from serving.recommend.ports import ShopperEvent
from serving.recommend.request import Answer
from serving.recommend.search import Search
from shop.events import EventType

KEY_PREFIX = "dead-end:"  # of the idempotency key: the same request logs its dead end once


def note_dead_end(call: Call, search: Search, answer: Answer) -> None:
    """Log a search that found nothing of what was asked for. Never delays or fails the call."""
    if answer.first_position > 1 or not (search.is_dead_end or len(answer.slate) == 0):
        return
    ask, context = search.asked, search.asked.context
    digest = hashlib.blake2b(ask.request_id.encode(), digest_size=16).hexdigest()
    event = ShopperEvent(
        idempotency_key=f"{KEY_PREFIX}{digest}",
        type=EventType.SEARCH,
        shopper=ask.shopper or f"session:{ask.session_id}",
        session_id=ask.session_id,
        product_id="",
        time_ms=context.now_ms,
        quantity=0,
        price_minor=0,
        position=0,
        value=0.0,
        result_count=0,
        query=ask.query,
        placement=context.placement,
        device=context.device,
        country=context.country,
        request_id=ask.request_id,
    )
    call.deps.impressions.note(event)
