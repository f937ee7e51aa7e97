"""SQLite: the versions store of one machine, in one file, without a server."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from serving.adapters.version_sql import Rows
from shop.errors import DependencyUnavailable

_BUSY_S = 5.0  # another process may be writing


class SqliteDatabase:
    """One file. Made by whoever opens it first; readable by its owner alone."""

    def __init__(self, file: Path) -> None:
        """Raises DependencyUnavailable if the file cannot be opened."""
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            self._connection = sqlite3.connect(
                file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
            )
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = FULL")  # what was decided is on disk
            self._connection.execute("PRAGMA foreign_keys = ON")
        except (sqlite3.Error, OSError) as error:
            raise DependencyUnavailable("versions", f"{file}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One writer at a time, so that nothing between reading and writing is lost."""
        self.run("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def run(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Raises DependencyUnavailable, too, if the disk is full or the file damaged."""
        try:
            return self._connection.execute(statement, tuple(values)).fetchall()
        except sqlite3.Error as error:
            raise DependencyUnavailable("versions", str(error)) from error

    def lock(self, name: str) -> None:
        """The transaction has the whole file already."""

    def close(self) -> None:
        """Nothing can be asked any more."""
        self._connection.close()
