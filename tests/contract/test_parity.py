"""Parity: ten thousand calls on real histories and a real log, computed again by training."""

import asyncio
import json
import time
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.adapters.feedback_log import FeedbackSettings, open_feedback_log
from serving.adapters.lmdb import LmdbHistories
from serving.gateway import Gateway
from serving.proto import recommendations_pb2 as pb
from serving.recommend.ports import LoadedRelease
from serving.service import Service, shop_now_ms
from serving.settings import DoorSettings
from serving.telemetry import Telemetry
from shop.events import EVENT_CODES, EventType
from shop.release import SCHEMA_FILE
from tests.contract.test_release_switch import a_whole_release, make_current, running
from tests.unit.feedback_writer import an_event
from tests.unit.logged_traffic import (
    KeepingRanker,
    KeepingTower,
    UnwatchedGateway,
    assert_replayed,
    shop_around,
)
from tests.unit.small_shop import a_context, a_schema, a_shop, an_ask
from training import replay_command
from training.logged import Log, read_imported

CALLS = 10_000
WRITER = "writer-0"


def some_histories(path: Path, now_ms: int) -> None:
    """What a release brings along for a few of the shoppers who come."""
    click, search = EVENT_CODES[EventType.CLICK], EVENT_CODES[EventType.SEARCH]
    count = 150
    rows = [
        {
            "user_id": f"u{shopper}",
            "segment": "loyal" if shopper % 2 else "",
            "country": "DE",
            "device": "mobile",
            "product_ids": [f"p{at % 60 + 1}" for at in range(count)],
            "event_codes": [click] * count,
            "times_ms": [now_ms - 3_600_000 * (count - at) for at in range(count)],
            "session_ids": [f"s{at % 3}" for at in range(count)],
            "promotions": [at % 3 for at in range(count)],
            "signal_codes": [search] * 2,
            "signal_times_ms": [now_ms - 10, now_ms - 5],
            "signal_session_ids": ["s0", "s1"],
            "signal_amounts": [0, 4],
        }
        for shopper in range(1, 20)
    ]
    pq.write_table(pa.Table.from_pylist(rows), path)


@pytest.mark.timeout(600)
def test_ten_thousand_logged_calls_are_computed_again_bit_for_bit(tmp_path: Path) -> None:
    shop = a_shop()
    tower = KeepingTower(item_vectors=shop.tower.item_vectors)
    ranker = KeepingRanker(judge=shop.ranker.judge)
    tables = replace(
        shop.deps.release.tables, schema=replace(a_schema(), time_zone="Europe/Berlin")
    )
    release = LoadedRelease(tables, tower, ranker, shop.index)
    offset_ms = -40 * 86_400_000  # a shop that lives in its own time
    some_histories(tmp_path / "histories.parquet", shop_now_ms(offset_ms))
    settings = FeedbackSettings()

    async def run() -> None:
        with (
            closing(
                LmdbHistories(tmp_path / "lmdb", map_bytes=1 << 28, max_shoppers=1_000)
            ) as histories,
            closing(open_feedback_log(tmp_path / "feedback", histories, settings)) as log,
        ):
            histories.import_histories(tmp_path / "histories.parquet", source="release")
            deps = replace(
                shop.deps,
                clock=time.monotonic,
                histories=histories,
                impressions=log,
                release=release,
            )
            service = Service(
                deps,
                log,
                bytes(32),
                Telemetry(),
                is_sound=lambda: True,
                clock_offset_ms=offset_ms,
            )

            @asynccontextmanager
            async def opened() -> AsyncIterator[Service]:
                yield service

            gateway = UnwatchedGateway.__new__(UnwatchedGateway)
            await gateway.__init__(opened, DoorSettings())  # type: ignore[misc]  # as Serve does
            await shop_around(gateway, calls=CALLS, now_ms=shop_now_ms(0))
            await Gateway.__del__(gateway)  # closes it

    asyncio.run(run())
    log = Log()
    segments = sorted((tmp_path / "feedback" / WRITER).glob("*.log"))
    log.read(WRITER, (segment.read_bytes() for segment in segments))
    imported = read_imported(tmp_path / "histories.parquet", log.shoppers)
    assert_replayed(log, tables, tower, ranker, calls=CALLS, imported=imported)


def test_the_settings_move_the_shop_s_clock(tmp_path: Path) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)
    years_ms = -10 * 365 * 86_400_000

    async def use() -> None:
        async with running(tmp_path, clock_offset_ms=years_ms) as (service, _):
            click = pb.Event(
                idempotency_key="k",
                type="click",
                user_id="ada",
                product_id="p1",
                time_ms=shop_now_ms(0),
            )
            events = service.decoder.events(pb.LogEventsRequest(events=[click]))
            await service.record(events, within_s=5.0)
            stored = await service.deps.histories.of("ada", timeout_s=1.0)
            assert stored is not None
            assert stored.times_ms.tolist() == [click.time_ms + years_ms]
            ask = service.decoder.ask(pb.RecommendRequest(placement="home"))
            assert 0 <= ask.context.now_ms - stored.times_ms[0] < 60_000

    asyncio.run(use())


def test_the_command_judges_the_log_of_a_stack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = a_whole_release(tmp_path, 1)
    make_current(tmp_path, release.name)

    async def use() -> None:
        async with running(tmp_path) as (service, _):
            await service.record([an_event("e", shopper="of-1", product_id="p2")], within_s=5.0)
            for shopper in ("of-1", "nobody", ""):
                ask = an_ask(
                    shopper=shopper,
                    request_id=f"by {shopper}",
                    context=a_context(now_ms=service.now_ms()),
                )
                await service.recommend(ask, start_s=time.monotonic(), total_s=5.0)

    asyncio.run(use())
    asked = Namespace(state_dir=tmp_path, release=None, filled_from=None, json=True)
    assert replay_command.run(asked) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == {"calls": 3, "judged": 3, "equal": 3, "unequal": []}

    schema = json.loads((release / SCHEMA_FILE).read_text())
    schema["history_length"] += 1  # another meaning of the features
    (release / SCHEMA_FILE).write_text(json.dumps(schema))
    asked.json = False
    assert replay_command.run(asked) == 1
    assert "differs: by of-1" in capsys.readouterr().out
