"""Replicas that look at their rule files for ever, and agree on one book by what they are given."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from serving.recommend.call import Deps
from serving.rulebooks import RuleBooks
from serving.rules_sharing import RuleSharing, SharedRules
from serving.rules_state import RulesState, rules_state_file
from serving.settings import RulesSettings, Settings
from serving.telemetry import Telemetry
from tests.unit.rule_books import toml_of
from tests.unit.small_shop import a_shop

PATIENCE_S = 20.0
LEAD_MS = 400


class Replica:
    """One that looks at the rule file of its state folder."""

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
        """Of the file, as the folder's status tells them."""
        state = RulesState.read(rules_state_file(self.folder))
        return () if state is None else state.faults

    def write(self, *rules: str) -> None:
        """A new book in the folder."""
        part = self.settings.rules_file.with_suffix(".part")
        part.write_text(toml_of(*rules))
        os.replace(part, self.settings.rules_file)

    async def look_for_ever(self) -> None:
        """Until cancelled."""
        while True:
            await self.books.look(self.deps)
            self.looks += 1
            self.turned_at_ms.setdefault(self.rules, time.time() * 1000.0)


def settings_in(folder: Path, look_every_s: float = 0.02) -> Settings:
    """With a folder that exists."""
    folder.mkdir(exist_ok=True)
    return Settings(state_dir=folder, rules=RulesSettings(look_every_s=look_every_s))


@asynccontextmanager
async def replica(
    folder: Path, shared: SharedRules, look_every_s: float = 0.02
) -> AsyncIterator[Replica]:
    """One that runs while the context lasts."""
    settings = settings_in(folder, look_every_s)
    sharing = RuleSharing(
        shared, settings.offered_rules_file, lambda: time.time_ns() // 1_000_000, lead_ms=LEAD_MS
    )
    books = RuleBooks(settings, Telemetry(), sharing=sharing)
    deps = replace(a_shop().deps, clock=time.monotonic)
    await books.open(deps)
    opened = Replica(folder, books, deps, settings)
    looking = asyncio.create_task(opened.look_for_ever())
    try:
        yield opened
    finally:
        looking.cancel()
        await asyncio.gather(looking, return_exceptions=True)


async def eventually(holds: Callable[[], bool]) -> None:
    """Fails if it does not within a while."""
    until = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < until
        await asyncio.sleep(0.01)


def run(use: Callable[[], Awaitable[None]]) -> None:
    """In an event loop of its own."""

    async def inside() -> None:
        await use()

    asyncio.run(inside())
