"""One rule book for the replicas of several machines, agreed upon through a real Redis."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from serving.adapters.redis_rules import RedisRules
from serving.adapters.redis_settings import RedisSettings
from serving.recommend.call import Deps
from serving.rulebooks import RuleBooks
from serving.rules_sharing import RuleSharing, sha256_of
from serving.rules_state import RulesState, rules_state_file
from serving.settings import RulesSettings, Settings
from serving.telemetry import Telemetry
from shop.errors import DependencyError
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.unit.rule_books import toml_of
from tests.unit.small_shop import a_shop

pytestmark = needs_redis
PATIENCE_S = 20.0
LEAD_MS = 400
PIN = 'kind = "pin"\nproduct = "p40"\nposition = 1'
EXCLUDE = 'kind = "exclude"\nproducts = ["p1"]'


@pytest.fixture
def server() -> Iterator[RunningRedis]:
    with RunningRedis() as opened:
        yield opened


class Machine:
    """A replica on a machine with a disk of its own."""

    def __init__(self, folder: Path, books: RuleBooks, deps: Deps, settings: Settings) -> None:
        self.folder, self.books, self.deps, self.settings = folder, books, deps, settings
        self.looks = 0
        self.turned_at_ms: dict[int, float] = {}  # by the number of rules in force

    @property
    def rules(self) -> int:
        """How many hold."""
        return len(self.deps.rules.book.rules)

    @property
    def faults(self) -> tuple[str, ...]:
        state = RulesState.read(rules_state_file(self.folder))
        return () if state is None else state.faults

    def write(self, *rules: str) -> None:
        part = self.settings.rules_file.with_suffix(".part")
        part.write_text(toml_of(*rules))
        os.replace(part, self.settings.rules_file)

    async def look_for_ever(self) -> None:
        while True:
            await self.books.look(self.deps)
            self.looks += 1
            self.turned_at_ms.setdefault(self.rules, time.time() * 1000.0)


def settings_in(folder: Path) -> Settings:
    folder.mkdir(exist_ok=True)
    rules = RulesSettings(look_every_s=0.02, store="redis")
    return Settings(state_dir=folder, rules=rules, redis=RedisSettings(url="redis://unused:1/0"))


@asynccontextmanager
async def machine(folder: Path, server: RunningRedis) -> AsyncIterator[Machine]:
    settings = settings_in(folder)
    with closing(RedisRules(server.settings)) as shared:
        sharing = RuleSharing(
            shared,
            settings.offered_rules_file,
            lambda: time.time_ns() // 1_000_000,
            lead_ms=LEAD_MS,
        )
        books = RuleBooks(settings, Telemetry(), sharing=sharing)
        deps = replace(a_shop().deps, clock=time.monotonic)
        await books.open(deps)
        opened = Machine(folder, books, deps, settings)
        looking = asyncio.create_task(opened.look_for_ever())
        try:
            yield opened
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)


async def eventually(holds: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def run(use: Callable[[], Awaitable[None]]) -> None:
    async def inside() -> None:
        await use()

    asyncio.run(inside())


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
