"""PostgreSQL: the versions store of a cluster. No message shows its address and password."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from zlib import crc32

import psycopg

from serving.adapters.version_sql import Rows
from shop.errors import DependencyUnavailable

_CONNECT_S = 5
_STATEMENT_MS = 5_000


class PostgresDatabase:
    """One connection, made anew where the server has gone away meanwhile."""

    def __init__(self, address: str) -> None:
        """`address` is a libpq URL or key=value string. Raises DependencyUnavailable."""
        self._address = address
        self._connection = self._connected()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commits at the end; a connection that was lost is made anew before the first word."""
        if self._connection.closed or self._connection.broken or not self._answers():
            self._connection.close()
            self._connection = self._connected()
        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise _unavailable(error) from error

    def run(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Our statements hold neither `%` nor a `?` that is no value."""
        try:
            cursor = self._connection.execute(statement.replace("?", "%s").encode(), tuple(values))
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise _unavailable(error) from error

    def lock(self, name: str) -> None:
        """Until the transaction ends."""
        self.run("SELECT pg_advisory_xact_lock(?)", (crc32(name.encode()),))

    def close(self) -> None:
        """Nothing can be asked any more."""
        self._connection.close()

    def _answers(self) -> bool:
        try:
            self._connection.execute("SELECT 1")
        except psycopg.Error:
            return False
        return True

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        try:
            return psycopg.connect(
                self._address,
                autocommit=True,
                connect_timeout=_CONNECT_S,
                options=f"-c statement_timeout={_STATEMENT_MS}",
            )
        except psycopg.Error as error:
            raise _unavailable(error) from error


def _unavailable(error: psycopg.Error) -> DependencyUnavailable:
    said = str(error).splitlines()
    # What the library says of a connection may repeat the address with its password.
    told = said[0] if said and "password" not in said[0].casefold() else type(error).__name__
    return DependencyUnavailable("versions", told)
