"""Whatever dies, slows down or lies: no call fails, and the reply says what was missing."""

import os
import signal
import time
import uuid
from collections import Counter
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
import psutil
import pytest

from loadtest.audience import audience_of
from loadtest.openloop import OK, Call, CallLog, LoadPlan, run_apart
from loadtest.patience import as_our_client
from loadtest.replica_harm import disk_full, replica_killed
from loadtest.traffic import SCENARIOS, make_calls
from loadtest.victims import Victim, replicas_of
from serving.proto import recommendations_pb2 as pb
from serving.settings import DoorSettings
from serving.stack.processes import descendants
from serving.triton.status import STATUS_FILE, read_status
from shop.errors import DependencyError
from tests.e2e.running_stack import PATIENCE_S, RunningStack, eventually

RATE_PER_S = 20.0


def a_load(stack: RunningStack, *, seconds: float) -> LoadPlan:
    count = int(RATE_PER_S * seconds)
    rng = np.random.default_rng(1)
    calls = make_calls(SCENARIOS["browse"], audience_of(stack.state_dir), count, rng)
    return LoadPlan(stack.state.door, np.arange(count) / RATE_PER_S, calls, timeout_s=5.0)


def triton_server_pid(stack: RunningStack) -> int:
    status = read_status(stack.folder.run / STATUS_FILE)
    assert status is not None
    return status.server_pid


def reasons_of(log: CallLog) -> Counter[str]:
    return Counter(reason for reasons in log.degraded for reason in reasons)


def test_killing_triton_under_load_fails_no_call_and_marks_the_plainer_lists(
    stack: RunningStack,
) -> None:
    load = run_apart(a_load(stack, seconds=12.0))
    time.sleep(4.0)
    before = triton_server_pid(stack)
    os.kill(before, signal.SIGKILL)
    log = load.result(timeout=PATIENCE_S)
    assert Counter(log.codes.tolist()) == {OK: len(log)}
    assert set(reasons_of(log)) >= {"candidates FALLBACK_CANDIDATES", "ranking NO_RANKING"}
    assert np.all(log.items > 0)
    assert eventually(stack.answers_in_full)
    assert triton_server_pid(stack) != before


@pytest.mark.parametrize(
    ("system", "reason"),
    [
        ("inventory", "STALE_STOCK"),
        ("pricing", "STALE_PRICE"),
        ("promotions", "DEFAULT_OFFER"),
        ("costs", "DEFAULT_OFFER"),
        ("supply", "DEFAULT_OFFER"),
    ],
)
@pytest.mark.parametrize(
    "ailment",
    [
        {"dead": True},
        {"stall": True},
        {"latency_ms": 500.0},
        {"error_rate": 1.0},
        {"wrong_values": "WRONG_VALUES_ABSURD"},
        {"wrong_values": "WRONG_VALUES_SHORT"},
        {"wrong_values": "WRONG_VALUES_SWAPPED"},
    ],
    ids=["dead", "silent", "slow", "failing", "absurd", "misshapen", "swapped"],
)
def test_a_lost_system_is_named_and_fails_no_call(
    stack: RunningStack, system: str, reason: str, ailment: dict[str, Any]
) -> None:
    replies: list[pb.RecommendResponse] = []

    def is_named() -> bool:
        replies.append(stack.home(stack.known_shopper))
        return reason in {lost.reason for lost in replies[-1].degraded}

    with stack.fault(system, **ailment):
        assert eventually(is_named)
    assert all(reply.items for reply in replies)
    assert all(item.price_minor > 0 for reply in replies for item in reply.items)
    named = {(lost.stage, lost.reason) for reply in replies for lost in reply.degraded}
    assert {lost for lost in named if lost[0] == "lookups"} == {("lookups", reason)}
    assert eventually(stack.answers_in_full)


def test_what_is_known_to_be_gone_is_not_sold_while_stock_is_unknown(stack: RunningStack) -> None:
    product = stack.home(stack.known_shopper).items[0].product_id

    def is_shown() -> bool:
        items = stack.home(stack.known_shopper, page_size=100).items
        return product in {item.product_id for item in items}

    assert is_shown()
    with stack.stock_of(product, 0):
        assert eventually(lambda: not is_shown())
        with stack.fault("inventory", dead=True):
            assert eventually(lambda: not stack.answers_in_full())
            assert not is_shown()
    assert eventually(is_shown)


def test_a_changed_price_shows_within_seconds(stack: RunningStack) -> None:
    item = stack.home(stack.known_shopper).items[0]

    def is_repriced() -> bool:
        prices = {
            i.product_id: i.list_price_minor
            for i in stack.home(stack.known_shopper, page_size=500).items
        }
        return prices.get(item.product_id, 0) == item.list_price_minor + 1

    with stack.price_of(item.product_id, item.list_price_minor + 1, before=item.list_price_minor):
        assert eventually(is_repriced)


def test_acknowledged_events_survive_a_gateway_that_is_killed(stack: RunningStack) -> None:
    shopper = f"survivor-{uuid.uuid4().hex}"
    products = [item.product_id for item in stack.home("somebody-new").items[:5]]
    for product in products:
        event = pb.Event(
            idempotency_key=f"{shopper}-{product}",
            type="click",
            user_id=shopper,
            product_id=product,
        )
        assert stack.client.log_events([event]).accepted == 1
    door = stack.service_pid("door")
    doomed = [psutil.Process(door), *descendants(door)]
    for process in doomed:
        try:
            process.kill()
        except psutil.Error:  # it died with its parent
            continue
    assert eventually(lambda: _serves(stack))
    again = pb.Event(
        idempotency_key=f"{shopper}-{products[0]}",
        type="click",
        user_id=shopper,
        product_id=products[0],
    )
    assert stack.client.log_events([again]).duplicates == 1
    reply = stack.home(shopper, page_size=100)
    sources = {item.product_id: set(item.sources) for item in reply.items}
    assert any("history" in named for named in sources.values())
    assert stack.service_pid("door") != door


def test_a_replica_killed_under_load_costs_nobody_who_asks_again_an_answer(
    stack: RunningStack,
) -> None:
    before = _all_replicas(stack)
    victim = Victim(stack.state_dir, stack.state, Call(b""))
    load = run_apart(replace(a_load(stack, seconds=10.0), door=as_our_client))
    time.sleep(4.0)
    with replica_killed(victim):
        log = load.result(timeout=PATIENCE_S)
    assert Counter(log.codes.tolist()) == {OK: len(log)}
    assert np.all(log.items > 0)
    assert _all_replicas(stack) != before
    assert eventually(lambda: _serves(stack))


def test_a_full_disk_refuses_events_and_no_list(stack: RunningStack) -> None:
    victim = Victim(stack.state_dir, stack.state, Call(b""))
    load = run_apart(a_load(stack, seconds=10.0))
    time.sleep(4.0)
    with disk_full(victim) as tally:
        assert eventually(lambda: tally.codes.get("UNAVAILABLE", 0) >= 3)
    log = load.result(timeout=PATIENCE_S)
    assert Counter(log.codes.tolist()) == {OK: len(log)}
    assert set(tally.codes) <= {"OK", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
    event = pb.Event(
        idempotency_key=uuid.uuid4().hex, type="click", user_id="after-it", product_id="none"
    )
    assert stack.client.log_events([event]).accepted == 1


def test_a_killed_service_is_started_again_by_the_stack(stack: RunningStack) -> None:
    before = stack.service_pid("backends")
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: _is_ready_again(stack, "backends", before))
    assert eventually(stack.answers_in_full)


def _is_ready_again(stack: RunningStack, name: str, before: int) -> bool:
    (service,) = [s for s in stack.state.services if s.name == name]
    return service.is_ready and service.pid != before and service.restarts >= 1


def _all_replicas(stack: RunningStack) -> set[int]:
    """The replicas' processes, once as many listen as there should be: who was killed is gone."""
    heard: list[set[int]] = []

    def are_complete() -> bool:
        heard.append({replica.pid for replica in replicas_of(stack.state.door)})
        return len(heard[-1]) == DoorSettings().replicas

    assert eventually(are_complete), [list(group) for group, _ in groupby(heard)]
    return heard[-1]


def _serves(stack: RunningStack) -> bool:
    try:
        return stack.client.is_serving() and stack.answers_in_full()
    except DependencyError:
        return False
