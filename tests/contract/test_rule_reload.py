"""A rule book on a real disk, taken up by a gateway that is serving: whole, or not at all."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from serving.adapters.memory import MemoryEventStore
from serving.gateway import Gateway
from serving.proto import recommendations_pb2 as pb
from serving.recommend.context_ports import TrendingTerm, Trends
from serving.recommend.surroundings import Surroundings
from serving.rulebooks import RuleBooks, check_start
from serving.rules_state import RulesState, rules_state_file
from serving.service import Service
from serving.settings import DoorSettings, FeedSettings, RulesSettings, Settings
from serving.telemetry import Telemetry
from shop.errors import RuleBookRejected, SettingsRejected
from tests.unit.rule_books import HEAD, toml_of
from tests.unit.small_shop import a_shop
from tests.unit.test_gateway import Context

PIN = 'kind = "pin"\nproduct = "p40"\nposition = 1'
EXCLUDE = 'kind = "exclude"\nproducts = ["p1"]'
UNKNOWN = 'kind = "exclude"\ncategories = ["lamp"]'


class _Gateway(Gateway):
    def __del__(self) -> None:  # type: ignore[override]  # nobody awaits it here
        pass


class Serving:
    """A gateway with twins behind it and a rule file before it."""

    def __init__(
        self, settings: Settings, telemetry: Telemetry, gateway: Gateway, around: Surroundings
    ) -> None:
        self.settings = settings
        self.gateway = gateway
        self.around = around
        self._telemetry = telemetry

    async def first(self) -> str:
        """The product at the top of the home page."""
        reply = await self.gateway.Recommend(pb.RecommendRequest(placement="home"), Context())
        return str(reply.items[0].product_id)

    async def leads(self, product: str) -> bool:
        """Whether it comes to the top within some seconds."""
        return await self.eventually(lambda: self._leads(product))

    async def _leads(self, product: str) -> bool:
        return await self.first() == product

    async def eventually(self, holds: Callable[[], Awaitable[bool]]) -> bool:
        until = time.monotonic() + 10.0
        while time.monotonic() < until:
            if await holds():
                return True
            await asyncio.sleep(0.005)
        return await holds()

    def state(self) -> RulesState:
        state = RulesState.read(rules_state_file(self.settings.state_dir))
        assert state is not None
        return state

    async def is_refused(self) -> bool:
        async def told() -> bool:
            return bool(self.state().faults)

        return await self.eventually(told)

    def metric(self, name: str, **labels: str) -> float | None:
        return self._telemetry.registry.get_sample_value(name, labels)

    def write(self, *rules: str) -> None:
        self.put(toml_of(*rules))

    def put(self, text: str) -> None:
        part = self.settings.rules_file.with_suffix(".part")
        part.write_text(text)
        os.replace(part, self.settings.rules_file)


def settings_in(folder: Path, **rules: Any) -> Settings:
    return Settings(state_dir=folder, rules=RulesSettings(look_every_s=0.01, **rules))


def serving(
    folder: Path,
    use: Callable[[Serving], Awaitable[None]],
    *,
    feeds: FeedSettings = FeedSettings(),  # noqa: B008  frozen
) -> None:
    shop = a_shop()
    settings, telemetry = replace(settings_in(folder), feeds=feeds), Telemetry()
    deps = replace(shop.deps, clock=time.monotonic)

    @asynccontextmanager
    async def opened() -> AsyncIterator[Service]:
        books = RuleBooks(settings, telemetry)
        await books.open(deps)
        store = MemoryEventStore(histories=shop.histories)
        yield Service(deps, store, bytes(32), telemetry, lambda: True, rule_books=books)

    async def run() -> None:
        gateway = _Gateway.__new__(_Gateway)
        await gateway.__init__(opened, DoorSettings())  # type: ignore[misc]  # as Serve does
        await use(Serving(settings, telemetry, gateway, deps.surroundings))
        gateway.check_health()
        await Gateway.__del__(gateway)

    asyncio.run(run())


def test_a_change_of_what_people_look_for_is_taken_up_while_a_rule_asks_for_it(
    tmp_path: Path,
) -> None:
    def people_look_for(serving: Serving, *terms: str) -> None:
        serving.around.take_trends(Trends(tuple(TrendingTerm(term, 9.0) for term in terms), 0.0))

    async def use(serving: Serving) -> None:
        serving.write('kind = "boost"\nfactor = 100\ntrending = true')
        assert await serving.eventually(lambda: has_rules(serving))
        people_look_for(serving, "rugs")  # p2, p6, …
        assert await serving.leads("p2")
        assert "people look for: rug" in serving.state().notes[0]
        people_look_for(serving, "mugs")
        assert await serving.leads("p3")
        people_look_for(serving)
        assert await serving.leads("p1")

    async def has_rules(serving: Serving) -> bool:
        return serving.metric("vitrine_rule_book", version="v1") == 1.0

    serving(tmp_path, use, feeds=FeedSettings(trends="127.0.0.1:9"))


def test_a_book_that_asks_what_no_feed_tells_says_so(tmp_path: Path) -> None:
    async def use(serving: Serving) -> None:
        serving.write(f'{PIN}\nwhen = {{ weather = "rain", trending = "rugs" }}')

        async def is_noted() -> bool:
            state = RulesState.read(rules_state_file(serving.settings.state_dir))
            return state is not None and len(state.notes) == 2

        assert await serving.eventually(is_noted)
        assert "feeds.weather is not set" in serving.state().notes[0]
        assert "feeds.trends is not set" in serving.state().notes[1]

    serving(tmp_path, use)


def test_a_book_that_changes_is_taken_up_and_a_faulty_one_is_not(tmp_path: Path) -> None:
    async def use(serving: Serving) -> None:
        assert await serving.first() == "p1"
        serving.write(PIN)
        assert await serving.leads("p40")
        assert serving.metric("vitrine_rule_book", version="v1") == 1.0

        serving.put(toml_of(PIN, EXCLUDE, UNKNOWN).replace('"v1"', '"v2"'))
        assert await serving.is_refused()
        assert await serving.first() == "p40"
        state = serving.state()
        assert (state.version, state.rules) == ("v1", 1)
        assert "'lamp' is no category of this catalogue; did you mean 'lamps'?" in state.faults[0]
        assert serving.metric("vitrine_rule_book_failures_total") == 1.0

        serving.put(toml_of(EXCLUDE).replace('"v1"', '"v3"'))
        assert await serving.leads("p2")
        assert serving.state().faults == ()
        assert serving.metric("vitrine_rule_book", version="v3") == 1.0
        assert serving.metric("vitrine_rule_book", version="v1") is None

    serving(tmp_path, use)


def test_a_book_that_goes_missing_stays_in_force_and_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(toml_of(PIN))

    async def use(serving: Serving) -> None:
        assert await serving.first() == "p40"
        serving.settings.rules_file.unlink()
        assert await serving.is_refused()
        assert "is gone" in serving.state().faults[0]
        assert await serving.first() == "p40"
        serving.put(HEAD)
        assert await serving.leads("p1")

    serving(tmp_path, use)


def test_a_file_is_read_only_when_it_has_come_to_rest(tmp_path: Path) -> None:
    async def use(serving: Serving) -> None:
        text = toml_of(PIN, EXCLUDE, UNKNOWN)
        half = text.index("[[rules]]", text.index("[[rules]]") + 1)
        with serving.settings.rules_file.open("w") as file:
            until = time.monotonic() + 0.3
            while time.monotonic() < until:  # a writer that is never still for two looks
                file.seek(0)
                file.write(text[:half])
                file.flush()
                os.utime(serving.settings.rules_file, ns=(time.time_ns(), time.time_ns()))
                assert await serving.first() == "p1"
            file.write(text[half:])
        assert await serving.is_refused()
        assert await serving.first() == "p1"

    serving(tmp_path, use)


@pytest.mark.parametrize("odd", ["folder", "pipe", "long"])
def test_what_is_no_readable_file_is_refused_and_holds_nobody_up(tmp_path: Path, odd: str) -> None:
    async def use(serving: Serving) -> None:
        path = serving.settings.rules_file
        if odd == "folder":
            path.mkdir()
        elif odd == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(b"#" * 3_000_000)
        assert await serving.is_refused()
        assert await serving.first() == "p1"

    serving(tmp_path, use)


def test_after_a_restart_the_last_accepted_book_stands_in_for_a_faulty_file(tmp_path: Path) -> None:
    async def write(serving: Serving) -> None:
        serving.write(PIN)
        assert await serving.leads("p40")

    async def find(serving: Serving) -> None:
        assert await serving.first() == "p40"
        assert serving.state().faults
        assert serving.metric("vitrine_rule_book_failures_total") == 1.0

    serving(tmp_path, write)
    (tmp_path / "rules.toml").write_text("half a bo")
    check_start(settings_in(tmp_path))
    serving(tmp_path, find)


def test_a_faulty_book_without_an_earlier_one_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(toml_of('kind = "exclude"'))
    with pytest.raises(RuleBookRejected, match="say which products it is for"):
        check_start(settings_in(tmp_path))

    async def never(serving: Serving) -> None:
        raise AssertionError("it started")

    with pytest.raises(RuleBookRejected):
        serving(tmp_path, never)


def test_a_file_that_was_named_must_be_there(tmp_path: Path) -> None:
    check_start(settings_in(tmp_path))
    with pytest.raises(SettingsRejected, match=r"rules\.file = 'shop\.toml'"):
        check_start(settings_in(tmp_path, file=Path("shop.toml")))


def test_the_next_release_goes_by_the_same_book(tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(toml_of(PIN))
    shop, other = a_shop(), a_shop(50)

    async def run() -> None:
        books = RuleBooks(settings_in(tmp_path), Telemetry())
        await books.open(shop.deps)
        await books.fit(other.deps)

    asyncio.run(run())
    for each in (shop, other):
        assert each.deps.rules.book.version == "v1"
        assert each.deps.rules.fitted is not None
    assert json.loads(rules_state_file(tmp_path).read_text())["version"] == "v1"
