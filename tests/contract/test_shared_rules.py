"""One rule book for the replicas of several machines, agreed upon through a real Redis."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from serving.adapters.redis_rules import RedisRules
from serving.rules_sharing import sha256_of
from shop.errors import DependencyError
from tests.contract.rule_replicas import Replica, eventually, replica, run, settings_in
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.rule_books import toml_of

pytestmark = needs_redis
PIN = 'kind = "pin"\nproduct = "p40"\nposition = 1'
EXCLUDE = 'kind = "exclude"\nproducts = ["p1"]'


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis() as opened:
        yield opened


@asynccontextmanager
async def machine(folder: Path, server: RunningRedis) -> AsyncIterator[Replica]:
    with closing(RedisRules(server.settings)) as shared:
        async with replica(folder, shared) as opened:
            yield opened


def test_a_book_changed_on_one_machine_holds_on_all_from_the_same_moment(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a, machine(tmp_path / "b", server) as b:
            assert (a.rules, b.rules) == (0, 0)
            a.write(PIN, EXCLUDE)
            await eventually(lambda: 2 in a.turned_at_ms and 2 in b.turned_at_ms)
            with closing(RedisRules(server.settings)) as shared:
                book = shared.read(None)
            assert book is not None
            for each in (a, b):
                assert each.turned_at_ms[2] >= book.from_ms
                assert each.settings.accepted_rules_file.read_bytes() == book.raw
            b.write(PIN)
            await eventually(lambda: a.rules == b.rules == 1)

    run(use)


def test_who_comes_later_goes_by_what_the_others_do_not_by_an_old_file(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a:
            async with machine(tmp_path / "b", server) as b:
                b.write(PIN)
                await eventually(lambda: a.rules == b.rules == 1)
            a.write(PIN, EXCLUDE)
            await eventually(lambda: a.rules == 2)
            async with machine(tmp_path / "b", server) as b:  # its file has one rule
                assert b.rules == 2
                looked = b.looks
                await eventually(lambda: b.looks > looked + 5)
                assert (a.rules, b.rules) == (2, 2)
            settings_in(tmp_path / "b").rules_file.write_text(toml_of())  # while it is away
            async with machine(tmp_path / "b", server) as b:
                await eventually(lambda: a.rules == b.rules == 0)

    run(use)


def test_a_faulty_file_is_told_and_never_published(server: RunningRedis, tmp_path: Path) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a, machine(tmp_path / "b", server) as b:
            a.write(PIN)
            await eventually(lambda: a.rules == b.rules == 1)
            a.write('kind = "exclude"\ncategories = ["nonesuch"]')
            await eventually(lambda: bool(a.faults))
            assert (a.rules, b.rules) == (1, 1)
            assert not b.faults

    run(use)


def test_while_redis_is_away_the_book_before_stays_and_a_change_waits(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a, machine(tmp_path / "b", server) as b:
            a.write(PIN)
            await eventually(lambda: a.rules == b.rules == 1)
            server.kill()
            a.write(PIN, EXCLUDE)
            await eventually(lambda: any("shared" in fault for fault in a.faults))
            assert (a.rules, b.rules) == (1, 1)
            async with machine(tmp_path / "a2", server) as blind:
                assert blind.rules == 0  # it never went by any
            server.start()  # with nothing in it
            await eventually(lambda: a.rules == b.rules == 2)
            await eventually(lambda: not a.faults and not b.faults)

    run(use)


def test_a_start_without_redis_goes_by_what_was_last_accepted(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a, machine(tmp_path / "b", server) as b:
            a.write(PIN)
            await eventually(lambda: a.rules == b.rules == 1)
        server.kill()
        async with machine(tmp_path / "b", server) as b:
            assert b.rules == 1

    run(use)


def test_what_redis_lost_is_put_back_by_who_goes_by_it(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a:
            a.write(PIN)
            await eventually(lambda: a.rules == 1)
            with redis.Redis.from_url(server.url) as client:
                client.flushall()
            with closing(RedisRules(server.settings)) as shared:
                await eventually(lambda: shared.read(None) is not None)
            async with machine(tmp_path / "b", server) as b:
                assert b.rules == 1

    run(use)


def test_a_damaged_or_foreign_book_in_redis_changes_nothing(
    server: RunningRedis, tmp_path: Path
) -> None:
    async def use() -> None:
        async with machine(tmp_path / "a", server) as a:
            a.write(PIN)
            await eventually(lambda: a.rules == 1)
            with redis.Redis.from_url(server.url) as client:
                client.hset("vitrine:rules", mapping={"epoch": 9, "raw": b"no book at all"})
                await eventually(lambda: any("damaged" in fault for fault in a.faults))
                raw = b"no book at all"
                client.hset("vitrine:rules", mapping={"sha256": sha256_of(raw), "from_ms": 1})
                await eventually(lambda: any("TOML" in fault for fault in a.faults))
            assert a.rules == 1

    run(use)


def test_epochs_rise_and_an_older_book_never_comes_back(server: RunningRedis) -> None:
    with closing(RedisRules(server.settings)) as rules:
        for text in (b"one", b"two", b"two"):
            rules.publish(text, sha256_of(text), from_ms=1)
        second = rules.read(None)
        assert second is not None
        assert (second.epoch, second.raw) == (2, b"two")
        assert rules.read(second) is second
        rules.restore(replace(second, epoch=1, raw=b"one", sha256=sha256_of(b"one")))
        assert rules.read(second) is second
        with redis.Redis.from_url(server.url) as client:
            client.hset("vitrine:rules", "epoch", "many")
        with pytest.raises(DependencyError):
            rules.read(second)
