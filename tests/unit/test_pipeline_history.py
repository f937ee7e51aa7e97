"""What the shopper did, stored and in this session, as the models will see it."""

import numpy as np

from serving.adapters.memory import MemoryEventStore
from serving.deadline import Deadline
from serving.recommend.call import Call
from serving.recommend.history import read_history, with_session
from serving.recommend.ports import ShopperEvent, StoredHistory
from serving.recommend.request import RecentEvent
from shop.events import EVENT_CODES, HISTORY_LIMIT, EventType, History
from tests.unit.small_shop import a_catalogue, a_shop, an_ask
from tests.unit.time_travel import START_MS, Time

CATALOGUE = a_catalogue()
CLICK, CART = EVENT_CODES[EventType.CLICK], EVENT_CODES[EventType.CART]


def stored(*rows: int, in_session: bool = False) -> History:
    count = len(rows)
    return History(
        np.array(rows, dtype=np.int64),
        np.full(count, CLICK, dtype=np.int64),
        START_MS - 1_000 * np.arange(count, 0, -1, dtype=np.int64),
        np.full(count, in_session, dtype=np.bool_),
    )


def deeds(history: History) -> list[tuple[int, int, bool]]:
    return list(
        zip(
            history.product_rows.tolist(),
            history.event_codes.tolist(),
            history.session_mask.tolist(),
            strict=True,
        )
    )


def test_recent_events_page_and_cart_follow_the_stored_history() -> None:
    ask = an_ask(
        recent_events=(RecentEvent(CLICK, "p7", START_MS - 500),),
        context_product_ids=("p8",),
        cart_product_ids=("p9",),
    )
    assert deeds(with_session(stored(5), ask, CATALOGUE)) == [
        (5, CLICK, False),
        (7, CLICK, True),
        (8, CLICK, True),
        (9, CART, True),
    ]


def test_a_recent_event_stands_where_its_time_puts_it() -> None:
    ask = an_ask(recent_events=(RecentEvent(CLICK, "p7", START_MS - 1_500),))
    history = with_session(stored(5, 6), ask, CATALOGUE)
    assert history.product_rows.tolist() == [5, 7, 6]
    assert (np.diff(history.times_ms) >= 0).all()


def test_a_client_whose_clock_runs_ahead_acts_now() -> None:
    ask = an_ask(recent_events=(RecentEvent(CLICK, "p7", START_MS + 99_000),))
    assert with_session(stored(5), ask, CATALOGUE).times_ms[-1] == START_MS


def test_what_the_session_has_logged_already_does_not_count_twice() -> None:
    ask = an_ask(
        context_product_ids=("p5", "p8", "p8"),
        recent_events=(RecentEvent(CLICK, "p8", START_MS),),
    )
    history = with_session(stored(5, in_session=True), ask, CATALOGUE)
    assert history.product_rows.tolist() == [5, 8]


def test_the_same_product_in_an_earlier_session_counts_again() -> None:
    history = with_session(stored(5), an_ask(context_product_ids=("p5",)), CATALOGUE)
    assert history.product_rows.tolist() == [5, 5]


def test_unknown_products_stay_as_unknown_deeds_only_if_they_happened() -> None:
    ask = an_ask(
        recent_events=(RecentEvent(CLICK, "x1", START_MS),),
        context_product_ids=("x2",),
        cart_product_ids=("x3",),
    )
    assert deeds(with_session(stored(), ask, CATALOGUE)) == [(0, CLICK, True)]


def test_no_more_counts_than_training_saw() -> None:
    ask = an_ask(context_product_ids=("p8",))
    history = with_session(stored(*[5] * HISTORY_LIMIT), ask, CATALOGUE)
    assert len(history) == HISTORY_LIMIT
    assert deeds(history)[-1] == (8, CLICK, True)


def test_a_deed_logged_by_a_clock_that_ran_ahead_comes_before_what_happens_now() -> None:
    shop, time = a_shop(), Time()
    ahead = np.array([START_MS + 9_000_000], dtype=np.int64)
    shop.histories.of_shopper["u1"] = StoredHistory(
        ("p5",), np.array([CLICK]), ahead, ("",), "", "", ""
    )
    ask = an_ask(shopper="u1", context_product_ids=("p8",))
    deadline = Deadline(time, start_s=0.0, total_s=1.0, reserve_s=0.005)
    history = time.run(read_history(Call.of(ask, shop.deps, deadline))).history
    assert history.product_rows.tolist() == [5, 8]
    assert history.times_ms.tolist() == [START_MS, START_MS]


def test_nothing_new_leaves_the_history_as_it_was() -> None:
    history = stored(5)
    assert with_session(history, an_ask(), CATALOGUE) is history


def test_an_acknowledged_event_counts_in_the_very_next_call() -> None:
    shop, time = a_shop(), Time()
    store = MemoryEventStore(histories=shop.histories)
    event = ShopperEvent(
        idempotency_key="e1",
        type=EventType.PURCHASE,
        shopper="u1",
        session_id="session-1",
        product_id="p33",
        time_ms=START_MS - 1,
        quantity=1,
        price_minor=100,
        position=0,
        value=0.0,
        query="",
        placement="home",
        device="",
        country="DE",
        request_id="",
    )
    receipt = time.run(store.record([event, event], timeout_s=1.0))
    assert (receipt.accepted, receipt.duplicates) == (1, 1)
    answer = shop.answer(an_ask(shopper="u1", page_size=60))
    at = answer.candidates.rows.tolist().index(33)
    assert answer.candidates.source_scores[at, 2] == 1.0  # proposed by the history source
    assert shop.log.impressions[0].country == "DE"
