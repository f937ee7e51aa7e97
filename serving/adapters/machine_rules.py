"""Machine rules: the rule book that all replicas of one machine go by, in its state folder.

    epoch sha256 from_ms\\n   then the book as it was written

Written in one step, under a lock that readers do not need.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from serving.adapters.rule_files import keep_copy
from serving.rules_sharing import SharedBook, sha256_of
from shop.errors import DependencyUnavailable
from shop.rulebook import MAX_BOOK_BYTES

_DEPENDENCY = "rules"
_MAX_HEAD_BYTES = 120  # two numbers of at most 15 digits, a digest, two spaces
_MAX_DIGITS = 15


class MachineRules:
    """Is a `SharedRules`, for threads and processes that see the same disk."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, known: SharedBook | None) -> SharedBook | None:
        """One line as long as it is the known one. Raises DependencyError."""
        try:
            with self._path.open("rb") as file:
                return self._book_in(file, known)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._lost(error) from error

    def publish(self, raw: bytes, sha256: str, *, from_ms: int) -> None:
        """Raises DependencyError."""
        with self._alone():
            there = self._there()
            if there is None or there.sha256 != sha256:
                # A moment, so that it rises even if what was there is lost.
                epoch = from_ms if there is None else max(from_ms, there.epoch + 1)
                self._write(SharedBook(epoch, sha256, from_ms, raw))

    def restore(self, book: SharedBook) -> None:
        """Raises DependencyError."""
        with self._alone():
            there = self._there()
            if there is None or there.epoch < book.epoch:
                self._write(book)

    def _book_in(self, file: BinaryIO, known: SharedBook | None) -> SharedBook:
        words = file.readline(_MAX_HEAD_BYTES).split()
        if len(words) != 3 or any(
            not each.isdigit() or len(each) > _MAX_DIGITS for each in (words[0], words[2])
        ):
            raise self._damaged()
        epoch, sha256, from_ms = int(words[0]), words[1].decode(errors="replace"), int(words[2])
        if known is not None and (epoch, sha256) == (known.epoch, known.sha256):
            return known
        raw = file.read(MAX_BOOK_BYTES + 1)
        if len(raw) > MAX_BOOK_BYTES or sha256_of(raw) != sha256:
            raise self._damaged()
        return SharedBook(epoch, sha256, from_ms, raw)

    def _there(self) -> SharedBook | None:
        """What is there; what is damaged is as good as nothing to who puts a sound one there."""
        try:
            return self.read(None)
        except DependencyUnavailable:
            return None

    def _write(self, book: SharedBook) -> None:
        head = f"{book.epoch} {book.sha256} {book.from_ms}\n".encode()
        try:
            keep_copy(head + book.raw, self._path)
        except OSError as error:
            raise self._lost(error) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(self._path.with_name(f"{self._path.name}.lock"), os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise self._lost(error) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)  # and with it the lock is given up

    def _damaged(self) -> DependencyUnavailable:
        return DependencyUnavailable(_DEPENDENCY, f"{self._path}: the rule book there is damaged")

    def _lost(self, error: OSError) -> DependencyUnavailable:
        return DependencyUnavailable(_DEPENDENCY, f"{self._path}: {error.strerror or error}")
