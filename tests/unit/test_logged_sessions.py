"""Sessions of the log are walked again: their pages, products and carts, in order."""

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadtest.sessions import LoggedSession, Step, sessions_of
from loadtest.traffic import SCENARIOS, Audience, make_calls
from serving.proto import recommendations_pb2 as pb

COLUMNS = ("time_ms", "user_id", "session_id", "request_id", "product_id", "type", "placement")
EVENTS = [
    (1, "u1", 7, 1, "p1", "impression", "home"),
    (1, "u1", 7, 1, "p2", "impression", "home"),
    (2, "u1", 7, 1, "p2", "click", "home"),
    (3, "u2", 8, 2, "p9", "impression", "home"),
    (4, "u1", 7, 3, "p3", "impression", "product"),
    (5, "u1", 7, 3, "p3", "cart", "product"),
    (6, "u1", 7, 3, "p4", "cart", "product"),
    (7, "u1", 7, 3, "p3", "remove", "product"),
    (8, "u1", 7, 4, "p5", "impression", "cart"),
    (9, "u1", 9, 5, "p5", "impression", "home"),
    (9, "u3", 10, 0, "", "search", "search"),
]


def a_log(folder: Path, columns: tuple[str, ...] = (*COLUMNS, "device")) -> Path:
    rows = [dict(zip((*COLUMNS, "device"), (*event, "mobile"), strict=True)) for event in EVENTS]
    file = folder / "events.parquet"
    pq.write_table(pa.Table.from_pylist(rows).select(list(columns)), file, row_group_size=4)
    return file


def test_a_session_is_its_lists_with_what_was_looked_at_and_carried(tmp_path: Path) -> None:
    first = sessions_of(a_log(tmp_path))[0]
    assert first == LoggedSession(
        "u1",
        "mobile",
        (Step("home"), Step("product", product="p2"), Step("cart", cart=("p4",))),
    )


def test_who_came_most_often_stands_first_and_who_saw_no_list_nowhere(tmp_path: Path) -> None:
    assert [session.shopper for session in sessions_of(a_log(tmp_path))] == ["u1", "u1", "u2"]


def test_a_log_of_another_kind_has_no_sessions(tmp_path: Path) -> None:
    assert sessions_of(tmp_path / "none.parquet") == []
    assert sessions_of(a_log(tmp_path, COLUMNS[:4])) == []


SESSIONS = [
    LoggedSession(
        f"u{n}", "mobile", (Step("home"), Step("product", f"p{n}"), Step("cart", "", (f"p{n}",)))
    )
    for n in range(200)
]
AUDIENCE = Audience(
    [s.shopper for s in SESSIONS], [f"p{n}" for n in range(500)], ["red lamps"], SESSIONS
)


def requests(scenario: str, count: int = 600) -> list[pb.RecommendRequest]:
    calls = make_calls(SCENARIOS[scenario], AUDIENCE, count, np.random.default_rng(3))
    assert not any(call.many for call in calls)
    return [pb.RecommendRequest.FromString(call.body) for call in calls]


def test_browsing_walks_the_logged_sessions_in_their_order() -> None:
    walks: dict[str, list[str]] = {}
    for request in requests("browse"):
        walks.setdefault(request.session_id, []).append(request.placement)
        if request.user_id:
            number = request.user_id.removeprefix("u")
            assert all(product == f"p{number}" for product in request.context_product_ids)
    assert all(["home", "product", "cart"][: len(walk)] == walk for walk in walks.values())


def test_shoppers_who_come_often_are_drawn_often() -> None:
    visits = Counter(request.user_id for request in requests("browse") if request.user_id)
    assert sum(visits[f"u{n}"] for n in range(20)) > 0.25 * sum(visits.values())


def test_a_flash_sale_is_after_a_few_products() -> None:
    wanted = Counter(p for request in requests("flash-sale") for p in request.context_product_ids)
    assert sum(n for _, n in wanted.most_common(10)) > 0.6 * sum(wanted.values())


def test_searchers_search_and_carts_hold_products_once() -> None:
    assert {request.query for request in requests("search", 50)} == {"red lamps"}
    carts = [[item.product_id for item in request.cart] for request in requests("cart", 200)]
    assert all(cart and len(set(cart)) == len(cart) for cart in carts)


def test_an_email_batch_asks_for_many_shoppers_each_once_a_round() -> None:
    calls = make_calls(SCENARIOS["email"], AUDIENCE, 8, np.random.default_rng(3))
    batches = [pb.RecommendManyRequest.FromString(call.body) for call in calls]
    assert all(call.many and call.kind == "email" for call in calls)
    shoppers = [request.user_id for batch in batches for request in batch.requests]
    assert sorted(shoppers) == sorted(AUDIENCE.shoppers)
