"""Searching through the door: constraints hold, both retrievals work, dead ends are logged."""

import json
import uuid

import pyarrow.parquet as pq
import pytest

from serving.adapters.feedback_records import read_event
from serving.adapters.log_segments import read_log
from serving.proto import recommendations_pb2 as pb
from serving.recommend.dead_ends import KEY_PREFIX
from shop.errors import InvalidRequest
from shop.events import EventType
from tests.e2e.running_stack import RunningStack, eventually, vitrine


def search(stack: RunningStack, query: str, **fields: object) -> pb.RecommendResponse:
    return stack.client.recommend(
        pb.RecommendRequest(
            user_id=stack.known_shopper, placement="search", query=query, page_size=20, **fields
        )
    )


def test_what_a_query_asks_for_is_what_every_product_is(stack: RunningStack) -> None:
    catalogue = pq.read_table(stack.folder.releases / stack.prepared.release / "catalogue.parquet")
    told = {product["product_id"]: product for product in catalogue.to_pylist()}
    wanted = stack.home(stack.known_shopper).items[0]  # it can be had
    colour, category = (told[wanted.product_id][name] for name in ("colour", "category"))
    most = wanted.price_minor // 100 + 1
    reply = search(stack, f"{colour} {category} under ${most}", explain=True)
    assert f'colour = "{colour}"' in reply.search.filter
    assert f"price < {most}" in reply.search.filter
    assert wanted.product_id in [item.product_id for item in reply.items]
    for item in reply.items:
        product = told[item.product_id]
        assert (product["colour"], product["category"]) == (colour, category)
        assert item.price_minor < most * 100
    assert not reply.degraded
    assert not reply.search.relaxed
    assert {"text", "lexical"} <= {name for item in reply.items for name in item.sources}
    assert reply.items[0].reason == pb.MATCHED
    assert reply.items[0].explanation.source_scores["text"] > 0.3


def test_a_mistyped_word_finds_what_was_meant(stack: RunningStack) -> None:
    reply = search(stack, "leater sofas")
    assert [(each.written, each.read_as) for each in reply.search.corrections] == [
        ("leater", "leather")
    ]
    assert all("leather" in item.title for item in reply.items)


def test_a_dead_end_is_answered_relaxed_and_logged(stack: RunningStack) -> None:
    request_id = f"dead-end-{uuid.uuid4().hex}"
    reply = search(stack, "velvet sofas under 1 euro", request_id=request_id)
    assert reply.search.relaxed
    assert "RELAXED_SEARCH" in {lost.reason for lost in reply.degraded}
    assert reply.items

    def is_logged() -> bool:
        events = (read_event(payload) for payload in read_log(stack.state_dir / "feedback"))
        return any(
            event is not None
            and event.request_id == request_id
            and event.type is EventType.SEARCH
            and event.idempotency_key.startswith(KEY_PREFIX)
            for event in events
        )

    assert eventually(is_logged)


def test_the_command_line_shows_how_a_query_was_read(stack: RunningStack) -> None:
    words = ("recommend", "--user", "u", "--query", "black boots between 50 and 400")
    shown = vitrine(*words, state_dir=stack.state_dir)
    assert shown.returncode == 0, shown.stderr
    assert 'colour = "black" AND category = "boots"' in shown.stdout
    found = vitrine(*words, "--json", state_dir=stack.state_dir)
    assert json.loads(found.stdout)["search"]["text"] == "black boots"


def test_a_query_anywhere_else_is_refused(stack: RunningStack) -> None:
    with pytest.raises(InvalidRequest, match="placement search"):
        stack.client.recommend(pb.RecommendRequest(user_id="u", placement="home", query="lamps"))
