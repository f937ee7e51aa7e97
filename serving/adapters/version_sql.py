"""Version SQL: the versions store on any DB-API connection; `sqlite.py` and `postgres.py` connect.

Statements are written with `?` and mean the same in both. Every call is one transaction, in a
thread, one at a time: a store answers in a millisecond, and reviews are made by people.
"""

import asyncio
import json
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from serving.adapters.page_keys import TOLD_AS, page_key
from serving.adapters.version_records import from_body, to_body
from serving.adapters.version_schema import MIGRATIONS
from serving.describe.versions import (
    PUBLISHING,
    Action,
    Conflict,
    Decision,
    Kept,
    OutMessage,
    State,
    Version,
)
from shop.descriptions.pages import PageKind
from shop.errors import DependencyUnavailable

_Result = TypeVar("_Result")
Rows = list[tuple[Any, ...]]


class Database(Protocol):
    """One connection, and how its system differs."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits at the end, rolls back if the body raises. Raises DependencyUnavailable."""
        ...

    def run(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Rows of a statement with `?` for values; none if it returns none."""
        ...

    def lock(self, name: str) -> None:
        """Nobody else passes here with this name until the transaction ends."""
        ...


class SqlVersions:
    """Versions, decisions, the review queue and the outbox in one database."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._one_at_a_time = threading.Lock()
        with database.transaction():
            _migrate(database)

    async def published(self, product_id: str, kind: PageKind = PageKind.PRODUCT) -> Kept | None:
        """What the page shows."""
        key = page_key(product_id, kind)
        found = await self._do(
            lambda: self._kept("JOIN pages p USING (version_id) WHERE p.product_id = ?", key)
        )
        return found[0] if found else None

    async def version(self, version_id: str) -> Kept | None:
        """One version by its id."""
        found = await self._do(lambda: self._kept("WHERE v.version_id = ?", version_id))
        return found[0] if found else None

    async def history(
        self, product_id: str, kind: PageKind = PageKind.PRODUCT
    ) -> tuple[Sequence[Kept], Sequence[Decision]]:
        """Versions and decisions of a page, newest first."""
        key = page_key(product_id, kind)

        def read() -> tuple[Sequence[Kept], Sequence[Decision]]:
            kept = self._kept("WHERE v.product_id = ? ORDER BY v.number DESC", key)
            rows = self._database.run(
                "SELECT version_id, action, actor, reason, at_ms FROM decisions"
                " WHERE product_id = ? ORDER BY sequence DESC",
                (key,),
            )
            return kept, [
                Decision(r[0], product_id, Action(r[1]), r[2], r[3], r[4], kind) for r in rows
            ]

        return await self._do(read)

    async def waiting(
        self, *, limit: int, after: str | None, kind: PageKind | None = None
    ) -> tuple[Sequence[Kept], int]:
        """The queue, greatest impact first, and how many wait in all."""
        wanted: list[tuple[str, object]] = [("q.kind = ?", kind.value)] if kind else []
        which = wanted.copy()
        if after is not None:
            behind = (
                "(q.impact, q.version_id) < (SELECT impact, version_id FROM review_queue"
                " WHERE version_id = ?)"
            )
            which.append((behind, after))

        def read() -> tuple[Sequence[Kept], int]:
            kept = self._kept(
                f"JOIN review_queue q USING (version_id){_where(which)}"
                " ORDER BY q.impact DESC, q.version_id DESC LIMIT ?",
                *(value for _, value in which),
                limit,
            )
            in_all = self._database.run(
                f"SELECT count(*) FROM review_queue q{_where(wanted)}",
                [value for _, value in wanted],
            )
            return kept, int(in_all[0][0])

        return await self._do(read)

    async def add(self, version: Version, decision: Decision) -> Kept:
        """Keeps a version and the first decision about it."""

        def write() -> Kept:
            run, key = self._database.run, page_key(version.product_id, version.kind)
            self._database.lock(key)
            last = run("SELECT max(number) FROM versions WHERE product_id = ?", (key,))
            number = (last[0][0] or 0) + 1
            run(
                "INSERT INTO versions (version_id, product_id, number, body, actor, model,"
                " created_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *(version.version_id, key, number, to_body(version)),
                    *(version.actor, version.model, version.created_ms),
                ),
            )
            if decision.action is not Action.REJECTED:
                self._supersede(decision)
            if decision.action is Action.QUEUED:
                run(
                    "INSERT INTO review_queue (version_id, product_id, impact, kind)"
                    " VALUES (?, ?, ?, ?)",
                    (version.version_id, key, version.impact.total, version.kind.value),
                )
            return self._record(decision)

        return await self._do(write)

    async def decide(self, decision: Decision) -> Kept:
        """Adds a decision and moves pointer and queue by it. Raises Conflict."""

        def write() -> Kept:
            run, key = self._database.run, _key_of(decision)
            self._database.lock(key)
            if decision.action is Action.ROLLED_BACK:
                if not self._was_shown(decision):
                    raise Conflict("it was never published")
            elif not run(
                "DELETE FROM review_queue WHERE version_id = ? AND product_id = ?"
                " RETURNING version_id",
                (decision.version_id, key),
            ):
                raise Conflict("it does not wait for review")
            return self._record(decision)

        return await self._do(write)

    async def due(self, *, now_ms: int, limit: int) -> Sequence[OutMessage]:
        """Undelivered messages whose time has come, oldest first."""
        rows = await self._do(
            lambda: self._database.run(
                "SELECT message_id, body, created_ms, attempts FROM outbox"
                " WHERE delivered_ms IS NULL AND next_ms <= ?"
                " ORDER BY created_ms, message_id LIMIT ?",
                (now_ms, limit),
            )
        )
        return [OutMessage(*row) for row in rows]

    async def delivered(self, message_id: str, *, now_ms: int) -> None:
        """It will not be sent again."""
        await self._do(
            lambda: self._database.run(
                "UPDATE outbox SET delivered_ms = ?, attempts = attempts + 1 WHERE message_id = ?",
                (now_ms, message_id),
            )
        )

    async def postponed(self, message_id: str, *, until_ms: int) -> None:
        """It is tried again then."""
        await self._do(
            lambda: self._database.run(
                "UPDATE outbox SET next_ms = ?, attempts = attempts + 1 WHERE message_id = ?",
                (until_ms, message_id),
            )
        )

    async def _do(self, work: Callable[[], _Result]) -> _Result:
        def in_transaction() -> _Result:
            with self._one_at_a_time, self._database.transaction():
                return work()

        return await asyncio.to_thread(in_transaction)

    def _kept(self, which: str, *values: object) -> list[Kept]:
        rows = self._database.run(
            "SELECT v.body, v.number,"
            " (SELECT count(*) FROM pages s WHERE s.version_id = v.version_id),"
            " (SELECT count(*) FROM review_queue w WHERE w.version_id = v.version_id),"
            " (SELECT d.action FROM decisions d WHERE d.version_id = v.version_id"
            "  ORDER BY d.sequence DESC LIMIT 1)"
            f" FROM versions v {which}",
            values,
        )
        return [Kept(from_body(r[0]), r[1], _state(bool(r[2]), bool(r[3]), r[4])) for r in rows]

    def _supersede(self, decision: Decision) -> None:
        """Older versions of the page that still wait are no longer worth a look."""
        gone = self._database.run(
            "DELETE FROM review_queue WHERE product_id = ? RETURNING version_id",
            (_key_of(decision),),
        )
        by = f"by {decision.version_id}"
        for (version_id,) in gone:
            self._add_decision(
                replace(decision, version_id=version_id, action=Action.SUPERSEDED, reason=by)
            )

    def _record(self, decision: Decision) -> Kept:
        self._add_decision(decision)
        if decision.action in PUBLISHING:
            self._database.run(
                "INSERT INTO pages (product_id, version_id, at_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (product_id) DO UPDATE SET version_id = excluded.version_id,"
                " at_ms = excluded.at_ms",
                (_key_of(decision), decision.version_id, decision.at_ms),
            )
        return self._kept("WHERE v.version_id = ?", decision.version_id)[0]

    def _add_decision(self, decision: Decision) -> None:
        run = self._database.run
        run(
            "INSERT INTO decisions (product_id, sequence, version_id, action, actor, reason, at_ms)"
            " SELECT ?, coalesce(max(sequence), 0) + 1, ?, ?, ?, ?, ? FROM decisions"
            " WHERE product_id = ?",
            (
                *(_key_of(decision), decision.version_id, decision.action.value),
                *(decision.actor, decision.reason, decision.at_ms, _key_of(decision)),
            ),
        )
        message_id = uuid.uuid4().hex
        body = {
            "id": message_id,
            "type": f"{TOLD_AS[decision.kind]}.{decision.action}",
            "kind": decision.kind.value,
            "product_id": decision.product_id,
            "version_id": decision.version_id,
            "actor": decision.actor,
            "reason": decision.reason,
            "at_ms": decision.at_ms,
        }
        run(
            "INSERT INTO outbox (message_id, body, created_ms, attempts, next_ms)"
            " VALUES (?, ?, ?, 0, ?)",
            (message_id, json.dumps(body, ensure_ascii=False), decision.at_ms, decision.at_ms),
        )

    def _was_shown(self, decision: Decision) -> bool:
        rows = self._database.run(
            "SELECT action FROM decisions WHERE version_id = ? AND product_id = ?",
            (decision.version_id, _key_of(decision)),
        )
        return any(Action(row[0]) in PUBLISHING for row in rows)


def _key_of(decision: Decision) -> str:
    return page_key(decision.product_id, decision.kind)


def _where(conditions: Sequence[tuple[str, object]]) -> str:
    return f" WHERE {' AND '.join(condition for condition, _ in conditions)}" if conditions else ""


def _state(is_shown: bool, waits: bool, last: str) -> State:
    if is_shown:
        return State.PUBLISHED
    if waits:
        return State.IN_REVIEW
    return State.REJECTED if last == Action.REJECTED else State.SUPERSEDED


def _migrate(database: Database) -> None:
    database.lock("migrations")
    database.run("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY)")
    done = database.run("SELECT count(*) FROM migrations")[0][0]
    if done > len(MIGRATIONS):
        raise DependencyUnavailable(
            "versions", f"its schema is of a newer Vitrine ({done} migrations)"
        )
    for number, statements in enumerate(MIGRATIONS[done:], start=done + 1):
        for statement in statements:
            database.run(statement)
        database.run("INSERT INTO migrations (number) VALUES (?)", (number,))
