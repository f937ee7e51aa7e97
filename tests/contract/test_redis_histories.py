"""Histories on Redis: several replicas at once, and a server that stalls, dies and comes back."""

import asyncio
import logging
import pickle
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from serving.adapters.log_segments import START, Position
from serving.adapters.redis import RedisHistories
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.ports import StoredHistory
from serving.stack.ports import free_port
from shop.errors import (
    DependencyError,
    DependencyTimeout,
    DependencyUnavailable,
    SettingsRejected,
)
from tests.contract.history_stores import DAY_MS, RedisStores
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.feedback_writer import an_event

pytestmark = needs_redis
ROOT = Path(__file__).resolve().parents[2]
BUDGET_S = 0.008  # StageBudgets.history_ms
PATIENCE_S = 10.0
WRITERS, EACH = 4, 40  # 160 events: within the 200 that a history keeps


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis() as running:
        yield running


@pytest.fixture
def stores(server: RunningRedis) -> Iterator[RedisStores]:
    with RedisStores(server.url) as opened:
        yield opened


def add(store: RedisHistories, *names: str) -> None:
    with store.writing() as changes:
        changes.apply([an_event("k", shopper=name, product_id=f"of-{name}") for name in names])


async def eventually_read(store: RedisHistories, shopper: str) -> StoredHistory | None:
    """What is read once reading works again."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await store.of(shopper, timeout_s=BUDGET_S)
        except DependencyError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(0)


def test_replicas_that_write_one_shopper_at_once_lose_and_double_nothing(
    server: RunningRedis, stores: RedisStores
) -> None:
    store = stores.open()
    writers = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "tests.contract.redis_writer"),
                *(server.url, f"w{number}", str(EACH)),
            ],
            cwd=ROOT,
        )
        for number in range(WRITERS)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * WRITERS
    ada, bob = stores.history_of(store, "ada"), stores.history_of(store, "bob")
    assert ada is not None
    assert sorted(ada.product_ids) == sorted(
        f"w{writer}-{number}" for writer in range(WRITERS) for number in range(EACH)
    )
    assert ada.times_ms.tolist() == sorted(ada.times_ms.tolist())
    assert bob is not None
    assert bob.product_ids == tuple(f"s{number}" for number in range(EACH))


def test_a_change_made_from_what_is_no_longer_there_is_made_again(stores: RedisStores) -> None:
    slow, quick = stores.open(), stores.open()
    with slow.writing() as changes:
        changes.first_seen([an_event("a"), an_event("shared")])
        with quick.writing() as quicker:
            quicker.apply([an_event("b", product_id="from-b"), an_event("shared")])
        changes.apply([an_event("a", product_id="from-a"), an_event("shared", product_id="twice")])
    history = stores.history_of(slow, "ada")
    assert history is not None
    assert sorted(history.product_ids) == ["from-a", "from-b", "lamp-1"]


def test_an_event_brought_by_a_quicker_replica_stays_out_even_if_its_history_is_gone(
    server: RunningRedis, stores: RedisStores
) -> None:
    slow, quick = stores.open(), stores.open()
    with slow.writing() as changes:
        changes.first_seen([an_event("shared"), an_event("own")])
        with quick.writing() as quicker:
            quicker.apply([an_event("shared")])
        with redis.Redis.from_url(server.url) as client:
            client.delete("vitrine:history:ada")  # as when it had to make room
        changes.apply([an_event("shared"), an_event("own", product_id="own")])
    history = stores.history_of(slow, "ada")
    assert history is not None
    assert history.product_ids == ("own",)


def test_checkpoints_of_two_machines_do_not_meet(stores: RedisStores) -> None:
    here, there = stores.open(log="log-1"), stores.open(log="log-2")
    with here.writing() as changes:
        changes.checkpoint("writer-0", Position(7, 8))
    assert there.applied("writer-0") == START
    assert here.applied("writer-0") == Position(7, 8)


def test_a_damaged_checkpoint_is_told_and_all_is_applied_again(
    server: RunningRedis, stores: RedisStores, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis.from_url(server.url) as client:
        client.set("vitrine:applied:log-1/writer-0", b"not 16 bytes")
    assert stores.open().applied("writer-0") == START
    assert "damaged" in caplog.text


def test_two_shops_share_a_server_by_their_prefixes(server: RunningRedis) -> None:
    def shop(prefix: str) -> RedisHistories:
        settings = RedisSettings(url=server.url, prefix=prefix)
        return RedisHistories(settings, log="l", max_shoppers=9, now_ms=lambda: DAY_MS)

    async def both() -> None:
        ours, theirs = shop("ours:"), shop("theirs:")
        add(ours, "ada")
        assert await theirs.of("ada", timeout_s=5.0) is None
        assert (ours.shopper_count(), theirs.shopper_count()) == (1, 0)
        await ours.aclose()
        await theirs.aclose()

    asyncio.run(both())
    with redis.Redis.from_url(server.url) as client:
        assert all(bytes(key).startswith(b"ours:") for key in client.scan_iter())


def test_all_that_is_kept_of_keys_alone_expires(server: RunningRedis, stores: RedisStores) -> None:
    add(stores.open(), "ada")
    with redis.Redis.from_url(server.url) as client:
        assert 7 * 86_400 < int(client.ttl("vitrine:keys:ada")) <= 8 * 86_400
        assert client.ttl("vitrine:history:ada") == -1


def test_a_stalled_server_costs_a_read_its_budget_and_no_more(
    server: RunningRedis, stores: RedisStores
) -> None:
    store = stores.open()
    add(store, "ada")

    async def read_while_it_stalls() -> list[float]:
        assert await store.of("ada", timeout_s=5.0) is not None  # a connection is there
        server.pause()
        took = []
        for _ in range(20):  # with the connection, and with new ones that are not answered
            started = time.perf_counter()
            with pytest.raises(DependencyTimeout):
                await store.of("ada", timeout_s=BUDGET_S)
            took.append(time.perf_counter() - started)
        server.go_on()
        found = await eventually_read(store, "ada")
        assert found is not None
        assert found.product_ids == ("of-ada",)
        return took

    took = stores.run(read_while_it_stalls())
    assert sorted(took)[len(took) // 2] < 5 * BUDGET_S
    assert max(took) < 1.0  # this machine may be busy


def test_a_stalled_server_costs_the_writer_its_time_out_and_no_more(
    server: RunningRedis, stores: RedisStores
) -> None:
    store = stores.open()
    add(store, "ada")
    server.pause()
    started = time.perf_counter()
    with pytest.raises(DependencyTimeout):
        add(store, "bob")
    assert time.perf_counter() - started < 2.0
    server.go_on()
    add(store, "bob")  # what was sent before may have been done: doing it again is safe
    assert stores.run(eventually_read(store, "bob")) is not None


def test_readers_who_gave_up_never_get_or_leave_an_answer_for_another(
    stores: RedisStores,
) -> None:
    store = stores.open()
    names = [f"u{number}" for number in range(40)]
    add(store, *names)
    chance = random.Random(7)

    async def one(name: str, timeout_s: float) -> bool:
        try:
            history = await store.of(name, timeout_s=timeout_s)
        except DependencyTimeout:
            return False
        assert history is not None
        assert history.product_ids == (f"of-{name}",)
        return True

    async def many() -> tuple[int, int]:
        answered = cancelled = 0
        for _ in range(100):
            tasks = [
                asyncio.create_task(one(name, chance.uniform(0.0, 0.006)))
                for name in chance.sample(names, 12)
            ]
            for _ in range(chance.randrange(6)):
                await asyncio.sleep(0)
            for task in tasks[:3]:  # as when a client hangs up
                task.cancel()
            for found in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(found, asyncio.CancelledError):
                    cancelled += 1
                elif isinstance(found, BaseException):
                    raise found
                else:
                    answered += found
        return answered, cancelled

    answered, cancelled = stores.run(many())
    assert answered > 0
    assert cancelled > 0
    assert stores.run(one("u3", 5.0))


def test_a_server_killed_under_reads_raises_nothing_foreign_and_is_found_again(
    server: RunningRedis, stores: RedisStores
) -> None:
    store = stores.open()
    add(store, "ada")

    async def reads_through_its_death() -> tuple[int, int]:
        answered = refused = 0

        async def reader() -> None:
            nonlocal answered, refused
            until = time.monotonic() + PATIENCE_S
            while refused < 200 and time.monotonic() < until:
                try:
                    await store.of("ada", timeout_s=BUDGET_S)
                    answered += 1
                    if answered == 200:
                        server.kill()
                except DependencyError:
                    refused += 1

        await asyncio.gather(*(reader() for _ in range(8)))
        return answered, refused

    answered, refused = stores.run(reads_through_its_death())
    assert answered >= 200
    assert refused >= 200
    with pytest.raises(DependencyUnavailable):
        add(store, "bob")
    server.start()
    assert stores.run(eventually_read(store, "ada")) is None  # nothing was on its disk
    add(store, "ada")
    assert stores.run(eventually_read(store, "ada")) is not None


def test_a_restarted_server_costs_no_read(server: RunningRedis, stores: RedisStores) -> None:
    store = stores.open()

    async def read() -> None:
        assert await store.of("ada", timeout_s=5.0) is None

    stores.run(read())
    server.kill()
    server.start()
    stores.run(read())  # on the connection of before, which is dead
    add(store, "ada")


PASSWORD = "S3cret-not-to-be-seen"


def test_a_password_opens_the_server_and_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with RunningRedis("--requirepass", PASSWORD) as server:
        for password in (PASSWORD, f"{PASSWORD}-wrong", ""):
            url = server.url.replace("://", f"://:{password}@") if password else server.url
            settings = RedisSettings(url=url)
            with RedisStores(url) as stores:
                store = stores.open()
                if password == PASSWORD:
                    add(store, "ada")
                    assert stores.history_of(store, "ada") is not None
                    continue
                with pytest.raises(DependencyUnavailable) as refused:
                    stores.history_of(store, "ada")
                with pytest.raises(DependencyUnavailable) as not_written:
                    add(store, "ada")
                shown = f"{refused.value!r}{not_written.value!r}{settings!r}{store!r}"
                assert PASSWORD not in shown + caplog.text
            assert pickle.loads(pickle.dumps(settings)) == settings  # on its way to a replica


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate")
def test_by_tls_only_a_server_whose_certificate_is_trusted_is_spoken_to(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-nodes", "-newkey", "ec", "-days", "1"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=redis"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate),
        ],
        check=True,
        capture_output=True,
    )
    port = free_port()
    options = ("--tls-port", str(port), "--tls-auth-clients", "no")
    files = ("--tls-cert-file", str(certificate), "--tls-key-file", str(key))
    with RunningRedis(*options, *files, "--tls-ca-cert-file", str(certificate)):
        url = f"rediss://127.0.0.1:{port}/0"
        with RedisStores(f"{url}?ssl_ca_certs={certificate}") as stores:
            store = stores.open()
            add(store, "ada")
            assert stores.history_of(store, "ada") is not None
        with RedisStores(url) as stores:
            store = stores.open()
            with pytest.raises(DependencyUnavailable):
                stores.history_of(store, "ada")
            with pytest.raises(DependencyUnavailable):
                add(store, "ada")


def test_a_url_with_an_option_that_is_none_is_refused_without_showing_it() -> None:
    settings = RedisSettings(url=f"redis://:{PASSWORD}@127.0.0.1:1/0?socket_timeout=soon")
    with pytest.raises(SettingsRejected) as refused:
        RedisHistories(settings, log="l", max_shoppers=1)
    assert PASSWORD not in repr(refused.value)


def test_a_full_server_refuses_writes_and_still_answers_reads() -> None:
    with (
        RunningRedis("--maxmemory", "3mb", "--maxmemory-policy", "noeviction") as server,
        RedisStores(server.url) as stores,
    ):
        store = stores.open(max_shoppers=10**6)
        add(store, "ada")

        def fill() -> None:
            for number in range(1_000):
                add(store, *(f"u{number}-{n}" for n in range(100)))

        with pytest.raises(DependencyUnavailable, match=r"OOM|maxmemory"):
            fill()
        assert stores.history_of(store, "ada") is not None
