"""A merchandiser's day on the whole stack: review, publish, take back; no model, no new text."""

import asyncio
import json
import time
from collections import Counter
from contextlib import closing
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path

import grpc
import psutil
import pytest

from loadtest.hostile_descriptions import DESCRIPTIONS
from loadtest.hostile_messages import HostileMessages, Real
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_sql import SqlVersions
from serving.describe.versions import Action, Decision
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from tests.contract.test_hostile_messages import answer
from tests.contract.test_version_stores import a_version, first
from tests.e2e.running_stack import RunningStack, eventually
from tests.unit.written_pages import OFFER, a_letter

VISIBLE_WITHIN_S = 1.0


@pytest.fixture
def stub(stack: RunningStack) -> rpc.DescriptionsStub:
    channel = grpc.insecure_channel(stack.state.addresses["descriptions"])
    stub = rpc.DescriptionsStub(channel)
    assert eventually(lambda: _answers(stub)), "the descriptions' door did not open"
    return stub


def _answers(stub: rpc.DescriptionsStub) -> bool:
    try:
        stub.ListReviews(pb.ListReviewsRequest(), timeout=5)
    except grpc.RpcError:
        return False
    return True


def _keep(stack: RunningStack, product_id: str, *version_ids: str, last: Action) -> None:
    """Versions as a writer would leave them: all published but the last."""
    file = stack.state_dir / "descriptions" / "versions.sqlite"
    with closing(SqliteDatabase(file)) as database:
        store = SqlVersions(database)
        for version_id in version_ids:
            version = a_version(version_id, product_id)
            action = last if version_id == version_ids[-1] else Action.PUBLISHED
            decision = replace(first(version, action), at_ms=time.time_ns() // 1_000_000)
            asyncio.run(store.add(version, decision))


def _shown(stub: rpc.DescriptionsStub, product_id: str) -> str:
    reply = stub.GetDescription(pb.GetDescriptionRequest(product_id=product_id), timeout=10)
    return str(reply.version.version_id)


def test_without_a_language_model_nothing_is_written_and_what_is_published_is_shown(
    stack: RunningStack, stub: rpc.DescriptionsStub
) -> None:
    _keep(stack, "P000001", "one", last=Action.PUBLISHED)
    assert _shown(stub, "P000001") == "one"
    if stack.state.addresses.get("writer"):
        pytest.skip("a language model runs here")
    with pytest.raises(grpc.RpcError) as refused:
        list(
            stub.GenerateDescription(
                pb.GenerateDescriptionRequest(product_id="P000001", actor="ada"), timeout=30
            )
        )
    assert refused.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "no language model answers; is one set up" in (refused.value.details() or "")
    assert _shown(stub, "P000001") == "one"


def test_a_text_is_approved_and_taken_back_within_a_second(
    stack: RunningStack, stub: rpc.DescriptionsStub
) -> None:
    _keep(stack, "P000002", "old", "new", last=Action.QUEUED)
    queue = stack.cli_json("review", "list")
    assert "new" in [entry["version"]["version_id"] for entry in queue["entries"]]
    assert _shown(stub, "P000002") == "old"
    approved = stack.cli("review", "approve", "new", "--actor", "bob")
    assert approved.returncode == 0, approved.stderr
    assert _shown(stub, "P000002") == "new"
    began = time.monotonic()
    stub.Rollback(pb.RollbackRequest(product_id="P000002", actor="bob"), timeout=10)
    assert _shown(stub, "P000002") == "old"
    assert time.monotonic() - began <= VISIBLE_WITHIN_S
    shown = stack.cli("describe", "P000002")
    assert "Halden Studio" in shown.stdout
    versions = stack.cli_json("review", "versions", "P000002")
    actions = [each["action"] for each in versions["decisions"]]
    assert actions == ["rolled_back", "approved", "queued", "published"]


def test_a_campaign_and_a_category_page_live_through_the_command_line(
    stack: RunningStack, stub: rpc.DescriptionsStub, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.json"
    summary = "For every room of yours, until 30 November."
    letter.write_text(json.dumps(asdict(a_letter(bullets=(), summary=summary))))
    offer = f"offer={OFFER.stated[0].value}"
    made = stack.cli_json(
        "review", "submit", "campaign", "spring", "--text", str(letter), "--state", offer
    )
    assert made["state"] == "VERSION_IN_REVIEW", made["faults"]
    queue = stack.cli_json("review", "list", "--kind", "campaign")
    assert [each["version"]["product_id"] for each in queue["entries"]] == ["spring"]
    assert stack.cli("review", "approve", made["version_id"]).returncode == 0
    shown = stack.cli_json("describe", "spring", "--kind", "campaign")
    assert shown["text"]["title"] == a_letter().title
    page = pb.SubmitPageRequest(
        kind=pb.PAGE_CATEGORY, product_id="no-such-category", actor="ada",
        text=pb.PageText(title="Boats for every lake", opening="Boats, and nothing but boats."),
    )  # fmt: skip
    with pytest.raises(grpc.RpcError) as refused:
        stub.SubmitPage(page, timeout=30)
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


def test_losing_the_descriptions_costs_no_recommendation(
    stack: RunningStack, stub: rpc.DescriptionsStub
) -> None:
    _keep(stack, "P000003", "kept", last=Action.PUBLISHED)
    port = int(stack.state.addresses["descriptions"].rpartition(":")[2])
    (holder,) = [process for process in psutil.process_iter() if port in _ports(process)]
    holder.kill()
    assert stack.home(stack.known_shopper).items
    assert eventually(lambda: _answers(stub))
    assert _shown(stub, "P000003") == "kept"


def test_a_list_tells_which_version_of_its_text_each_product_shows(
    stack: RunningStack, stub: rpc.DescriptionsStub
) -> None:
    product_id = stack.home(stack.known_shopper).items[0].product_id
    _keep(stack, product_id, "shown-in-lists", last=Action.PUBLISHED)

    def is_told() -> bool:
        told = {each.product_id: each.description_version
                for each in stack.home(stack.known_shopper).items}  # fmt: skip
        return told.get(product_id) == "shown-in-lists"

    def is_told_of_their_own_list() -> bool:
        (item,) = stack.client.rerank([product_id], placement="search").items
        return item.description_version == "shown-in-lists"

    assert eventually(is_told)
    assert eventually(is_told_of_their_own_list)


def test_hostile_bytes_are_answered_with_a_type_and_publish_nothing(
    stack: RunningStack, stub: rpc.DescriptionsStub
) -> None:
    _keep(stack, "P000005", "kept through it", last=Action.PUBLISHED)
    told, real = Counter[str](), Real(products=("P000005", "P000006", "P000007"))
    with grpc.insecure_channel(stack.state.addresses["descriptions"]) as channel:
        for each in islice(HostileMessages(12, real, DESCRIPTIONS), 1_500):
            told[answer(channel, each, DESCRIPTIONS.service.full_name)] += 1
    assert set(told) <= {
        *("OK", "INVALID_ARGUMENT", "NOT_FOUND", "UNAVAILABLE", "RESOURCE_EXHAUSTED"),
    }  # fmt: skip
    assert told["INVALID_ARGUMENT"] > 500
    assert _shown(stub, "P000005") == "kept through it"


def _ports(process: psutil.Process) -> set[int]:
    """That it listens at."""
    try:
        found = process.net_connections(kind="tcp")
    except psutil.Error:
        return set()
    return {each.laddr.port for each in found if each.status == psutil.CONN_LISTEN}


def test_a_decision_of_another_day_is_still_there(stack: RunningStack) -> None:
    _keep(stack, "P000004", "first", last=Action.QUEUED)
    file = stack.state_dir / "descriptions" / "versions.sqlite"
    with closing(SqliteDatabase(file)) as database:
        back = Decision("first", "P000004", Action.REJECTED, "ada", "dull", 2_000)
        asyncio.run(SqlVersions(database).decide(back))
    versions = stack.cli_json("review", "versions", "P000004")
    assert versions["versions"][0]["state"] == "VERSION_REJECTED"
