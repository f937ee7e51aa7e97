"""Webhooks reach a real HTTP server: signed, once each where all is well, again where it is not."""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_sql import SqlVersions
from serving.adapters.webhook import HttpWebhook
from serving.describe.versions import Action
from serving.describe.webhooks import FRESH_FOR_S, Signature, deliver_due, wait_after
from serving.stack.ports import free_port
from shop.errors import SettingsRejected
from tests.contract.test_version_stores import a_version, first

SIGNATURE = Signature(b"k" * 32)
NOW_MS = 1_800_000_000_000


@dataclass
class Receiver:
    """What a shop's own system heard, and what it answers next."""

    url: str = ""
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)  # then 200


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            found.heard.append(({k.lower(): v for k, v in self.headers.items()}, body))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("location", "http://127.0.0.1:1/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found.url = f"http://127.0.0.1:{server.server_port}/hook?shop=1"
    yield found
    server.shutdown()
    server.server_close()


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[SqlVersions]:
    with closing(SqliteDatabase(tmp_path / "versions.sqlite")) as database:
        store = SqlVersions(database)
        version = a_version("a")
        asyncio.run(store.add(version, first(version, Action.QUEUED)))
        yield store


def _deliver(outbox: SqlVersions, url: str, now_ms: int = NOW_MS) -> int:
    return asyncio.run(deliver_due(outbox, HttpWebhook(url), SIGNATURE, now_ms=now_ms))


def test_a_decision_is_told_once_and_signed(outbox: SqlVersions, receiver: Receiver) -> None:
    assert _deliver(outbox, receiver.url) == 1
    assert _deliver(outbox, receiver.url, NOW_MS + 9_999_999) == 0
    headers, body = receiver.heard[0]
    assert json.loads(body)["type"] == "description.queued"
    assert json.loads(body)["id"] == headers["webhook-id"]
    assert SIGNATURE.is_genuine(headers, body, now_s=NOW_MS // 1000)


def test_what_was_changed_replayed_or_signed_by_others_is_not_genuine(
    outbox: SqlVersions, receiver: Receiver
) -> None:
    _deliver(outbox, receiver.url)
    headers, body = receiver.heard[0]
    now_s = NOW_MS // 1000
    assert not SIGNATURE.is_genuine(headers, body + b" ", now_s=now_s)
    assert not SIGNATURE.is_genuine(headers | {"webhook-id": "x"}, body, now_s=now_s)
    assert not SIGNATURE.is_genuine(headers, body, now_s=now_s + FRESH_FOR_S + 1)
    assert not SIGNATURE.is_genuine(headers | {"webhook-timestamp": "²"}, body, now_s=now_s)
    assert not Signature(b"other" * 8).is_genuine(headers, body, now_s=now_s)
    assert not SIGNATURE.is_genuine({}, body, now_s=now_s)


@pytest.mark.parametrize("answer", [500, 404, 302])
def test_what_was_not_taken_is_sent_again_with_the_same_id(
    outbox: SqlVersions, receiver: Receiver, answer: int
) -> None:
    receiver.answers = [answer]
    assert _deliver(outbox, receiver.url) == 0
    assert _deliver(outbox, receiver.url, NOW_MS + wait_after(0) - 1) == 0
    assert _deliver(outbox, receiver.url, NOW_MS + wait_after(0)) == 1
    ids = [headers["webhook-id"] for headers, _ in receiver.heard]
    assert ids[0] == ids[1]


def test_a_receiver_that_is_away_loses_nothing(outbox: SqlVersions, receiver: Receiver) -> None:
    assert _deliver(outbox, f"http://127.0.0.1:{free_port()}/") == 0
    assert _deliver(outbox, receiver.url, NOW_MS + wait_after(0)) == 1


def test_waits_double_up_to_an_hour() -> None:
    assert [wait_after(n) for n in (0, 1, 2)] == [1_000, 2_000, 4_000]
    assert wait_after(500) == 3_600_000


@pytest.mark.parametrize("url", ["", "ftp://example.test", "file:///etc/passwd", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SettingsRejected):
        HttpWebhook(url)
