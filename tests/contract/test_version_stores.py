"""The versions store, the same on SQLite and on a real PostgreSQL."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from serving.adapters.photo_sql import SqlPhotos
from serving.adapters.photos import read_photo
from serving.adapters.postgres import PostgresDatabase
from serving.adapters.sqlite import SqliteDatabase
from serving.adapters.version_records import from_body, to_body
from serving.adapters.version_sql import SqlVersions
from serving.describe.versions import (
    Action,
    Conflict,
    Decision,
    Impact,
    Kept,
    Scores,
    State,
    Version,
)
from serving.shown_texts import ShownTexts
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.pages import Measure, PageKind
from shop.errors import DependencyUnavailable
from tests.contract.running_postgres import RunningPostgres, needs_postgres
from tests.unit.described_products import a_page, a_shelf
from tests.unit.drawn_photos import a_photo, as_file

OpenStore = Callable[[], SqlVersions]


@pytest.fixture(scope="module")
def postgres() -> Iterator[RunningPostgres]:
    with RunningPostgres() as server:
        yield server


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=needs_postgres)])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OpenStore]:
    opened: list[SqliteDatabase | PostgresDatabase] = []

    def store() -> SqlVersions:
        opened.append(
            SqliteDatabase(tmp_path / "versions.sqlite")
            if request.param == "sqlite"
            else PostgresDatabase(request.getfixturevalue("postgres").address)
        )
        return SqlVersions(opened[-1])

    store()
    if request.param == "postgres":
        with opened[0].transaction():
            opened[0].run(
                "TRUNCATE photo_products, photos, review_queue, pages, decisions, outbox, versions"
            )
    yield store
    for database in opened:
        database.close()


def a_version(version_id: str, product_id: str = "P1", **changed: object) -> Version:
    made = Version(
        version_id=version_id,
        product_id=product_id,
        text=a_page(),
        facts=a_shelf(),
        prompt='FACTS\n"width": "80 cm"? %s\nPAGE\n',
        prompt_version="page-1",
        model="m1",
        adapter="",
        seed=7,
        attempts=1,
        scores=Scores(0.9, 0.8, 6.0, 0.85),
        faults=(Fault(FaultKind.KEYWORD, "oak", "is to be used once"),),
        impact=Impact(10.0, 5.0, 0.2),
        actor="ada",
        created_ms=1_000,
    )
    return replace(made, **changed)


def first(version: Version, action: Action) -> Decision:
    return Decision(version.version_id, version.product_id, action, "ada", "because", 1_000)


def run(work: Coroutine[object, object, object]) -> object:
    return asyncio.run(work)  # type: ignore[arg-type]


async def _add(store: SqlVersions, version: Version, action: Action) -> Kept:
    return await store.add(version, first(version, action))


def test_a_version_comes_back_as_it_was(open_store: OpenStore) -> None:
    async def work() -> None:
        version = a_version("a")
        kept = await _add(open_store(), version, Action.PUBLISHED)
        again = await open_store().published("P1")
        assert again == kept
        assert again.version == version
        assert (again.number, again.state) == (1, State.PUBLISHED)

    run(work())


def test_rolling_back_points_at_the_earlier_version_and_loses_nothing(
    open_store: OpenStore,
) -> None:
    async def work() -> None:
        store = open_store()
        await _add(store, a_version("a"), Action.PUBLISHED)
        await _add(store, a_version("b"), Action.PUBLISHED)
        back = Decision("a", "P1", Action.ROLLED_BACK, "bob", "", 2_000)
        assert (await store.decide(back)).state is State.PUBLISHED
        shown = await open_store().published("P1")
        assert shown is not None
        assert shown.version.version_id == "a"
        versions, decisions = await store.history("P1")
        assert [(k.version.version_id, k.state) for k in versions] == [
            ("b", State.SUPERSEDED),
            ("a", State.PUBLISHED),
        ]
        assert [d.action for d in decisions] == [
            Action.ROLLED_BACK,
            Action.PUBLISHED,
            Action.PUBLISHED,
        ]

    run(work())


def test_what_was_never_shown_cannot_be_rolled_back_to(open_store: OpenStore) -> None:
    async def work() -> None:
        store = open_store()
        await _add(store, a_version("a"), Action.PUBLISHED)
        await _add(store, a_version("b"), Action.REJECTED)
        with pytest.raises(Conflict):
            await store.decide(Decision("b", "P1", Action.ROLLED_BACK, "bob", "", 2_000))

    run(work())


def test_the_queue_is_in_order_of_impact_and_paged(open_store: OpenStore) -> None:
    async def work() -> None:
        store = open_store()
        for number in range(5):
            impact = Impact(float(number), 1.0, 1.0)
            version = a_version(f"v{number}", f"P{number}", impact=impact)
            await _add(store, version, Action.QUEUED)
        page, waiting = await store.waiting(limit=2, after=None)
        assert waiting == 5
        assert [k.version.version_id for k in page] == ["v4", "v3"]
        page, _ = await store.waiting(limit=9, after="v3")
        assert [k.version.version_id for k in page] == ["v2", "v1", "v0"]
        assert {k.state for k in page} == {State.IN_REVIEW}

    run(work())


def test_pages_of_different_kinds_share_a_queue_and_nothing_else(open_store: OpenStore) -> None:
    async def work() -> None:
        store = open_store()
        letter = a_version("letter", "P1", kind=PageKind.CAMPAIGN, impact=Impact(99.0, 1.0, 1.0))
        letter = replace(letter, measures=(Measure("spam points", 0.5),))
        await store.add(a_version("text"), first(a_version("text"), Action.QUEUED))
        queued = replace(first(letter, Action.QUEUED), kind=PageKind.CAMPAIGN)
        kept = await store.add(letter, queued)
        assert (kept.number, kept.version) == (1, letter)
        both, _ = await store.waiting(limit=9, after=None)
        assert [k.version.version_id for k in both] == ["letter", "text"]
        page, waiting = await store.waiting(limit=9, after="letter", kind=PageKind.PRODUCT)
        assert ([k.version.version_id for k in page], waiting) == (["text"], 1)
        await store.decide(replace(queued, action=Action.APPROVED))
        assert await store.published("P1") is None
        shown = await open_store().published("P1", PageKind.CAMPAIGN)
        assert shown is not None
        assert shown.version == letter
        _, decisions = await store.history("P1", PageKind.CAMPAIGN)
        assert [d.action for d in decisions] == [Action.APPROVED, Action.QUEUED]
        assert [d.action for d in (await store.history("P1"))[1]] == [Action.QUEUED]
        told = [json.loads(message.body) for message in await store.due(now_ms=3_000, limit=9)]
        assert {(each["type"], each["product_id"]) for each in told} == {
            ("description.queued", "P1"),
            ("campaign.queued", "P1"),
            ("campaign.approved", "P1"),
        }
        with pytest.raises(Conflict):
            await store.decide(Decision("letter", "P1", Action.ROLLED_BACK, "ada", "", 2_000))

    run(work())


def test_photos_are_kept_once_and_look_alikes_of_other_products_are_found(
    open_store: OpenStore,
) -> None:
    async def work() -> None:
        photos = SqlPhotos(open_store()._database)
        one = read_photo(as_file(a_photo(1)), thumbnail_side=112)
        darker = read_photo(as_file((a_photo(1) * 0.9).astype("uint8")), thumbnail_side=112)
        other = read_photo(as_file(a_photo(9)), thumbnail_side=112)
        for _ in range(2):
            await photos.keep(one, "P1")
        await photos.keep(one, "P3")
        assert await photos.content(one.digest) == one.content
        assert await photos.alike(darker, "P1") is not None
        found = await photos.alike(darker, "P2")
        assert found is not None
        assert found.product_id == "P1"
        assert found.bits <= 8
        assert await photos.alike(other, "P2") is None

    run(work())


def test_lists_learn_which_texts_are_shown_and_of_what_was_taken_back(
    open_store: OpenStore,
) -> None:
    async def work() -> None:
        store = open_store()
        texts = ShownTexts(lambda: store._database)
        texts.look()
        assert texts.versions == {}
        await _add(store, a_version("a"), Action.PUBLISHED)
        await _add(store, a_version("b"), Action.PUBLISHED)
        letter = a_version("letter", "P2", kind=PageKind.CAMPAIGN)
        decision = replace(first(letter, Action.PUBLISHED), kind=PageKind.CAMPAIGN)
        await store.add(letter, decision)
        texts.look()
        assert texts.versions == {"P1": "b"}
        await store.decide(Decision("a", "P1", Action.ROLLED_BACK, "bob", "", 90_000_000))
        texts.look()
        assert texts.versions == {"P1": "a"}
        await _add(store, a_version("c", "P3", created_ms=90_000_001), Action.QUEUED)
        texts.look()
        assert texts.versions == {"P1": "a"}

    run(work())


def test_a_store_that_is_not_there_yet_or_is_lost_leaves_what_was_known(tmp_path: Path) -> None:
    texts = ShownTexts(lambda: None)
    texts.look()
    assert texts.versions == {}
    database = SqliteDatabase(tmp_path / "empty.sqlite")  # nobody has made the tables
    connected = iter([database, SqliteDatabase(tmp_path / "full.sqlite")])
    texts = ShownTexts(lambda: next(connected))
    texts.versions["P1"] = "a"
    with pytest.raises(DependencyUnavailable):
        texts.look()
    assert texts.versions == {"P1": "a"}
    store = SqlVersions(SqliteDatabase(tmp_path / "full.sqlite"))
    run(_add(store, a_version("b"), Action.PUBLISHED))
    texts.look()  # by a new connection
    assert texts.versions == {"P1": "b"}
    texts.close()


def test_records_of_the_time_when_there_were_only_products_are_read() -> None:
    body = json.loads(to_body(a_version("old")))
    for newer in ("kind", "measures"):
        del body[newer]
    for newer in ("title", "summary"):
        del body["text"][newer]
    assert from_body(json.dumps(body)) == a_version("old")


def test_a_version_is_decided_about_once(open_store: OpenStore) -> None:
    async def work() -> None:
        one, other = open_store(), open_store()
        await _add(one, a_version("a"), Action.QUEUED)
        await one.decide(Decision("a", "P1", Action.APPROVED, "ada", "", 2_000))
        with pytest.raises(Conflict):
            await other.decide(Decision("a", "P1", Action.REJECTED, "bob", "", 2_001))
        shown = await other.published("P1")
        assert shown is not None
        assert shown.version.version_id == "a"

    run(work())


def test_a_newer_version_takes_the_older_out_of_the_queue(open_store: OpenStore) -> None:
    async def work() -> None:
        store = open_store()
        await _add(store, a_version("a"), Action.QUEUED)
        await _add(store, a_version("b"), Action.QUEUED)
        page, waiting = await store.waiting(limit=9, after=None)
        assert (waiting, [k.version.version_id for k in page]) == (1, ["b"])
        old = await store.version("a")
        assert old is not None
        assert old.state is State.SUPERSEDED

    run(work())


def test_versions_added_at_once_are_all_kept_and_counted(open_store: OpenStore) -> None:
    stores = [open_store() for _ in range(4)]

    def add(at: int) -> None:
        run(_add(stores[at % 4], a_version(f"v{at}"), Action.PUBLISHED))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(add, range(24)))
    versions, decisions = asyncio.run(stores[0].history("P1"))
    assert sorted(kept.number for kept in versions) == list(range(1, 25))
    assert len(decisions) == 24


def test_every_decision_lies_in_the_outbox_until_it_is_delivered(open_store: OpenStore) -> None:
    async def work() -> None:
        store = open_store()
        await _add(store, a_version("a"), Action.QUEUED)
        await store.decide(Decision("a", "P1", Action.APPROVED, "ada", "", 2_000))
        due = await store.due(now_ms=3_000, limit=9)
        assert [message.created_ms for message in due] == [1_000, 2_000]
        await store.delivered(due[0].message_id, now_ms=3_000)
        await store.postponed(due[1].message_id, until_ms=9_000)
        assert await store.due(now_ms=8_999, limit=9) == []
        again = await open_store().due(now_ms=9_000, limit=9)
        assert [(m.message_id, m.attempts) for m in again] == [(due[1].message_id, 1)]

    run(work())


def test_opening_a_store_again_changes_nothing(open_store: OpenStore) -> None:
    async def work() -> None:
        await _add(open_store(), a_version("a"), Action.PUBLISHED)
        assert await open_store().published("P1") is not None

    run(work())


def test_a_file_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DependencyUnavailable):
        SqliteDatabase(tmp_path / "file" / "versions.sqlite")


@needs_postgres
def test_the_store_comes_back_when_the_server_does(postgres: RunningPostgres) -> None:
    database = PostgresDatabase(postgres.address)
    store = SqlVersions(database)
    asyncio.run(_add(store, a_version("back", "P9"), Action.PUBLISHED))
    postgres.stop()
    with pytest.raises(DependencyUnavailable):
        asyncio.run(store.published("P9"))
    postgres.start()
    shown = asyncio.run(store.published("P9"))
    assert shown is not None
    assert shown.version.version_id == "back"
    database.close()


@needs_postgres
def test_a_wrong_address_tells_no_password(postgres: RunningPostgres) -> None:
    address = postgres.address.replace("postgres@", "nobody:hunter2@", 1)
    with pytest.raises(DependencyUnavailable) as refused:
        PostgresDatabase(address)
    assert "hunter2" not in str(refused.value)
