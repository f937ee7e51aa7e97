"""The guard at the door: who is let in, who is turned away and with what, and what that costs."""

import asyncio
import json
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.adapters.token_files import add, remove
from serving.admission import AdmissionSettings
from serving.audit import AuditLog
from serving.caller_check import check_callers
from serving.callers import Scope, new_caller
from serving.guard import Guard
from serving.proto import recommendations_pb2 as pb
from serving.settings import DoorSettings
from serving.telemetry import Telemetry
from shop.errors import (
    DependencyUnavailable,
    Forbidden,
    InvalidRequest,
    Overloaded,
    SettingsRejected,
    Unauthenticated,
)

RECOMMEND, SUGGEST, MANY, ASK = (
    f"/vitrine.v1.Recommendations/{name}"
    for name in ("Recommend", "SuggestPrice", "RecommendMany", "Ask")
)
HOME = pb.RecommendRequest(placement="home")
PRODUCT = pb.RecommendRequest(placement="product")
EMAIL = pb.RecommendRequest(placement="email")


@dataclass
class Context:
    """What of a gRPC context the guard uses."""

    metadata: dict[str, str] = field(default_factory=dict)
    address: str = "ipv4:10.0.0.7:5000"

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.metadata.items())

    def peer(self) -> str:
        return self.address


def a_guard(door: DoorSettings | None = None, audit: AuditLog | None = None) -> Guard:
    guard = Guard()
    guard.stand(door or DoorSettings(), Telemetry(), audit)
    return guard


def with_token(file: Path, *scopes: Scope, name: str = "ada") -> Context:
    caller, token = new_caller(name, frozenset(scopes), now_ms=1)
    add(file, caller)
    return Context({"authorization": f"Bearer {token}"})


def test_without_a_gateway_nobody_is_let_in() -> None:
    with pytest.raises(DependencyUnavailable, match="not ready"):
        Guard().admit(RECOMMEND, HOME, Context(), 0.0)


def test_a_door_on_the_loopback_asks_nobody_for_a_token_and_any_other_everybody(
    tmp_path: Path,
) -> None:
    file = tmp_path / "callers.json"
    shop = with_token(file, Scope.SHOP)
    a_guard().admit(RECOMMEND, HOME, Context(), 0.0)
    guard = a_guard(DoorSettings(host="0.0.0.0", tokens_file=str(file)))
    for stranger in (Context(), Context({"authorization": "Bearer vit_x"})):
        with pytest.raises(Unauthenticated):
            guard.admit(RECOMMEND, HOME, stranger, 0.0)
    assert guard.admit(RECOMMEND, HOME, shop, 0.0).caller is not None
    assert guard.admit(ASK, pb.AskRequest(), shop, 0.0).caller is not None
    with pytest.raises(Forbidden):
        guard.admit(SUGGEST, pb.SuggestPriceRequest(), shop, 0.0)


def test_a_public_door_without_a_token_in_its_file_does_not_open(tmp_path: Path) -> None:
    file = tmp_path / "callers.json"
    public = DoorSettings(host="0.0.0.0", tokens_file=str(file))
    with pytest.raises(SettingsRejected, match=r"vitrine token create NAME") as caught:
        check_callers(public)
    assert "door.callers" in str(caught.value)
    check_callers(DoorSettings(host="0.0.0.0", tokens_file=str(file), callers="anyone"))
    check_callers(DoorSettings())
    with_token(file, Scope.SHOP)
    check_callers(public)


def test_tokens_are_made_and_revoked_without_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "callers.json"
    first = with_token(file, Scope.SHOP)
    guard = a_guard(DoorSettings(callers="tokens", tokens_file=str(file)))

    def is_let_in(context: Context) -> bool:
        try:
            guard.leave(guard.admit(RECOMMEND, HOME, context, 0.0), "OK", answered=False)
        except Unauthenticated:
            return False
        return True

    async def rotate() -> list[bool]:
        following = asyncio.create_task(guard.follow_callers(look_every_s=0.001))
        before = is_let_in(first)
        second = with_token(file, Scope.SHOP, name="ada-2")
        remove(file, "ada")
        async with asyncio.timeout(10.0):
            while is_let_in(first):  # noqa: ASYNC110 - nothing tells us of it
                await asyncio.sleep(0.001)
        after = is_let_in(second)
        file.write_text("no file of callers")
        await asyncio.sleep(0.02)
        following.cancel()
        return [before, after, is_let_in(second)]

    assert asyncio.run(rotate()) == [True, True, True]


def test_when_it_is_full_batches_go_first_and_nobody_can_push_in() -> None:
    guard = a_guard(DoorSettings(concurrent_calls=4, queued_calls=16))  # 20 in all
    for _ in range(10):
        guard.admit(RECOMMEND, HOME, Context(), 0.0)
    for context in (Context(), Context({"vitrine-priority": "product"})):
        with pytest.raises(Overloaded) as caught:
            guard.admit(RECOMMEND, EMAIL, context, 0.0)
        assert 1_000 <= (caught.value.retry_after_ms or 0) <= 1_500
    with pytest.raises(Overloaded):
        guard.admit(RECOMMEND, HOME, Context({"vitrine-priority": "shadow"}), 0.0)
    for method, request in ((SUGGEST, pb.SuggestPriceRequest()), (ASK, pb.AskRequest())):
        with pytest.raises(Overloaded):
            guard.admit(method, request, Context(), 0.0)
    with pytest.raises(Overloaded), guard.one_of_a_batch():
        pass
    for _ in range(6):
        guard.admit(RECOMMEND, HOME, Context(), 0.0)
    with pytest.raises(Overloaded):
        guard.admit(RECOMMEND, HOME, Context(), 0.0)
    for _ in range(4):
        admitted = guard.admit(RECOMMEND, PRODUCT, Context(), 0.0)
    assert guard.is_full(RECOMMEND)
    assert not guard.is_full(MANY)
    guard.leave(admitted, "OK", answered=True)
    assert not guard.is_full(RECOMMEND)


def test_a_flood_from_one_machine_is_held_back_and_told_for_how_long() -> None:
    settings = AdmissionSettings(calls_per_s=10.0, burst_calls=3)
    guard = Guard(clock=lambda: 0.0)
    guard.stand(DoorSettings(admission=settings), Telemetry())
    for port in range(3):
        guard.admit(RECOMMEND, HOME, Context(address=f"ipv4:10.0.0.7:{port}"), 0.0)
    with pytest.raises(Overloaded) as caught:
        guard.admit(RECOMMEND, HOME, Context(address="ipv4:10.0.0.7:9"), 0.0)
    assert caught.value.retry_after_ms == 101
    guard.admit(RECOMMEND, HOME, Context(address="ipv4:10.0.0.8:9"), 0.0)


def test_a_request_that_is_too_large_is_named_and_a_wrong_one_takes_no_place() -> None:
    guard = a_guard(DoorSettings(admission=AdmissionSettings(recommend_kb=1)))
    large = pb.RecommendRequest(placement="home", query="x" * 2_000).SerializeToString()
    assert guard.too_large(RECOMMEND, large) == f"has {len(large)} bytes, at most 1024 are read"
    with pytest.raises(InvalidRequest, match="vitrine-priority: is 'root', must be one of"):
        guard.admit(RECOMMEND, HOME, Context({"vitrine-priority": "root"}), 0.0)
    assert guard.limit.under_way == 0


def test_what_merchandisers_do_is_audited_and_what_shoppers_see_is_not(tmp_path: Path) -> None:
    file, log = tmp_path / "callers.json", tmp_path / "audit.jsonl"
    mia = with_token(file, Scope.MERCHANDISER, Scope.SHOP, name="mia")
    audit = AuditLog(log)
    guard = a_guard(DoorSettings(callers="tokens", tokens_file=str(file)), audit)
    looked = [f"/vitrine.v1.Descriptions/{name}" for name in ("ListReviews", "ListVersions")]
    for method in (SUGGEST, RECOMMEND, *looked):
        request = pb.SuggestPriceRequest() if method == SUGGEST else HOME
        guard.leave(guard.admit(method, request, mia, 0.0), "OK", answered=True)
    audit.close()
    (line,) = [json.loads(each) for each in log.read_text().splitlines()]
    assert (line["who"], line["what"], line["outcome"]) == ("mia", "SuggestPrice", "OK")
    assert abs(line["time_ms"] / 1000.0 - time.time()) < 60.0
    assert stat.S_IMODE(log.stat().st_mode) == 0o600


def test_the_audit_log_is_only_added_to_and_never_follows_a_link(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    AuditLog(log).note("ada", "one", "OK")
    AuditLog(log).note("ada", "two\nlines", "OK", release="r1")
    lines = [json.loads(each) for each in log.read_text().splitlines()]
    assert [each["what"] for each in lines] == ["one", "two\nlines"]
    assert lines[1]["release"] == "r1"
    (tmp_path / "link").symlink_to(log)
    with pytest.raises(OSError, match="symbolic links"):
        AuditLog(tmp_path / "link").note("ada", "three", "OK")
