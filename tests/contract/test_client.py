"""Both Python clients against a real gRPC server: what they ask again, and what they raise."""

import asyncio
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from serving.async_client import AsyncVitrineClient
from serving.client import VitrineClient, new_event
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    VitrineError,
)
from tests.contract.scripted_door import STALL, ScriptedDoor, a_list, scripted_door

Ask = Callable[..., Any]
"""ask(door, method, *arguments, **client_settings): one call by one of the clients."""


def by_thread(door: ScriptedDoor, method: str, *arguments: Any, **settings: Any) -> Any:
    with VitrineClient(door.address, **settings) as shop:
        found = getattr(shop, method)(*arguments)
        return list(found) if method == "recommend_many" else found


def by_asyncio(door: ScriptedDoor, method: str, *arguments: Any, **settings: Any) -> Any:
    async def ask() -> Any:
        async with AsyncVitrineClient(door.address, **settings) as shop:
            found = getattr(shop, method)(*arguments)
            return [each async for each in found] if method == "recommend_many" else await found

    return asyncio.run(ask())


@pytest.fixture
def door() -> Iterator[ScriptedDoor]:
    with scripted_door() as opened:
        yield opened


@pytest.fixture(params=[by_thread, by_asyncio])
def ask(request: pytest.FixtureRequest) -> Ask:
    return request.param


HOME = pb.RecommendRequest(placement="home", user_id="ada")


# What comes back


def test_a_list_is_asked_by_its_fields_or_as_a_message(door: ScriptedDoor) -> None:
    with VitrineClient(door.address) as shop:
        shop.recommend(HOME)
        shop.recommend(placement="home", user_id="ada")
        with pytest.raises(TypeError, match="user_id"):
            shop.recommend(HOME, user_id="bob")
    assert door.asked == [HOME, HOME]


def test_every_call_answers(door: ScriptedDoor, ask: Ask) -> None:
    assert ask(door, "recommend", HOME).items[0].product_id == "p1"
    assert [each.index for each in ask(door, "recommend_many", [HOME] * 3)] == [0, 1, 2]
    event = new_event("click", user_id="ada", product_id="p1")
    assert ask(door, "log_events", [event]).accepted == 1
    assert door.logged == [event]
    assert event.idempotency_key
    items = ask(door, "rerank", ["p2", "p1"]).items
    assert [each.product_id for each in items] == ["p2", "p1"]
    suggestions = ask(door, "suggest_prices", ["p1", "p2"]).suggestions
    assert [each.product_id for each in suggestions] == ["p1", "p2"]


def test_what_the_door_misses_is_not_taken_for_a_door_that_is_missing(
    door: ScriptedDoor, ask: Ask
) -> None:
    lost = DependencyUnavailable("writer", "failed to connect to all addresses")
    door.script.extend([lost] * 4)
    with pytest.raises(DependencyUnavailable, match="writer: failed to connect") as raised:
        ask(door, "recommend", HOME)
    assert "nobody answers" not in str(raised.value)


# What is asked again


@pytest.mark.parametrize(
    "loss", [Overloaded("too many calls", 30), DependencyUnavailable("door", "gone")]
)
def test_what_a_moment_mends_is_asked_again(
    door: ScriptedDoor, ask: Ask, loss: VitrineError
) -> None:
    door.script.append(loss)
    assert len(ask(door, "recommend", HOME).items) == 12
    assert door.calls == 2


def test_a_price_suggestion_is_asked_again_because_it_changes_nothing(
    door: ScriptedDoor, ask: Ask
) -> None:
    door.script.append(DependencyUnavailable("door", "gone"))
    assert len(ask(door, "suggest_prices", ["p1"]).suggestions) == 1
    assert door.calls == 2


def test_a_list_brought_along_is_asked_again_because_nothing_comes_of_asking_twice(
    door: ScriptedDoor, ask: Ask
) -> None:
    door.script.append(DependencyUnavailable("door", "gone"))
    assert len(ask(door, "rerank", ["p1"]).items) == 1
    assert door.calls == 2


def test_a_shed_call_comes_back_when_it_was_told_to(door: ScriptedDoor, ask: Ask) -> None:
    door.script.append(Overloaded("too many calls", 400))
    began = time.monotonic()
    ask(door, "recommend", HOME)
    assert time.monotonic() - began >= 0.4  # by itself it would have come after 20 ms
    assert door.calls == 2


def test_events_are_asked_again_more_often_because_they_count_once(
    door: ScriptedDoor, ask: Ask
) -> None:
    door.script.extend([DependencyUnavailable("feedback", "the disk is full")] * 3)
    event = new_event("purchase", user_id="ada", product_id="p1")
    assert ask(door, "log_events", [event]).accepted == 1
    assert (door.calls, door.logged) == (4, [event])


@pytest.mark.parametrize("error", [InvalidRequest("filter", "is broken"), NotFound("no such list")])
def test_what_would_fail_again_is_not_asked_again(
    door: ScriptedDoor, ask: Ask, error: VitrineError
) -> None:
    door.script.append(error)
    with pytest.raises(type(error)):
        ask(door, "recommend", HOME)
    assert door.calls == 1


def test_whoever_measures_the_door_hears_of_every_loss(door: ScriptedDoor, ask: Ask) -> None:
    door.script.append(Overloaded("too many calls", 10))
    with pytest.raises(Overloaded):
        ask(door, "recommend", HOME, retries=False)
    assert door.calls == 1


def test_a_door_in_trouble_is_not_buried_under_repeated_calls(door: ScriptedDoor) -> None:
    door.script.extend([DependencyUnavailable("door", "gone")] * 200)
    with VitrineClient(door.address) as shop:
        for _ in range(50):
            with pytest.raises(DependencyUnavailable):
                shop.recommend(HOME)
    assert door.calls < 50 * 1.2


# What is raised


def test_a_shed_call_that_cannot_wait_for_so_long_is_refused_at_once(
    door: ScriptedDoor, ask: Ask
) -> None:
    door.script.append(Overloaded("too many calls", 60_000))
    with pytest.raises(Overloaded) as caught:
        ask(door, "recommend", HOME, timeout_s=30.0)
    assert caught.value.retry_after_ms == 60_000
    assert str(caught.value) == "too many calls; retry after 60000 ms"
    assert door.calls == 1


def test_where_nobody_named_a_time_none_is_invented(door: ScriptedDoor, ask: Ask) -> None:
    door.script.extend([Overloaded("too many calls", None)] * 2)
    with pytest.raises(Overloaded) as caught:
        ask(door, "recommend", HOME)
    assert caught.value.retry_after_ms is None
    assert str(caught.value) == "too many calls; retry later"


class OddDoor(rpc.RecommendationsServicer):
    """A proxy, or Ray Serve itself, sheds; its details are damaged or those of another error."""

    def __init__(self, details: bytes | None) -> None:
        self._trailers = [("grpc-status-details-bin", details)] if details is not None else []

    def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
        context.set_details("dropped due to backpressure")
        context.set_trailing_metadata(self._trailers)
        return pb.RecommendResponse()


@pytest.mark.parametrize("details", [None, b"\xff\xff", b"\x08\x05", b""])
def test_what_others_put_between_us_and_the_door_is_understood_too(details: bytes | None) -> None:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    rpc.add_RecommendationsServicer_to_server(OddDoor(details), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with VitrineClient(f"127.0.0.1:{port}") as shop, pytest.raises(Overloaded) as caught:
        shop.recommend(HOME)
    server.stop(None).wait()
    assert str(caught.value) == "dropped due to backpressure; retry later"


def test_a_wrong_field_is_named(door: ScriptedDoor, ask: Ask) -> None:
    door.script.append(InvalidRequest("placement", "is unknown"))
    with pytest.raises(InvalidRequest) as caught:
        ask(door, "recommend", HOME)
    assert (caught.value.field, caught.value.reason) == ("placement", "is unknown")


def test_the_deadline_holds_for_the_whole_call(door: ScriptedDoor, ask: Ask) -> None:
    door.script.extend([DependencyUnavailable("door", "gone"), STALL])
    began = time.monotonic()
    with pytest.raises(DependencyTimeout):
        ask(door, "recommend", HOME, timeout_s=0.3)
    assert time.monotonic() - began < 5.0


def test_what_the_door_lacks_is_told_and_not_that_nobody_answers(
    door: ScriptedDoor, ask: Ask
) -> None:
    door.script.extend([DependencyUnavailable("feedback", "no space left on device")] * 4)
    with pytest.raises(DependencyUnavailable, match="no space left on device"):
        ask(door, "log_events", [new_event("click", user_id="ada", product_id="p1")])


def test_whoever_stops_reading_a_batch_stops_it(door: ScriptedDoor) -> None:
    door.script.extend([a_list(), STALL])
    with VitrineClient(door.address) as shop:
        batch = shop.recommend_many([HOME] * 3, timeout_s=60.0)
        assert next(batch).index == 0
        batch.close()  # type: ignore[attr-defined]  # a generator
    # The door's handler is let go, or closing the server would wait for it.


def test_a_storefront_loads_neither_models_nor_numpy() -> None:
    heavy = {"numpy", "ray", "torch", "pyarrow", "faiss", "tritonclient", "onnxruntime", "msgpack"}
    code = "import sys, serving.client, serving.async_client; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in ran.stdout.split()}
    assert "grpc" in loaded
    assert not loaded & heavy
