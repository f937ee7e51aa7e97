"""Log segments: append-only files that survive the death of their writer.

    <root>/NAME                      tells this log from those of other machines
    <root>/writer-0/LOCK             held for life by the one process that writes here
    <root>/writer-0/000000000001.log, 000000000002.log, …

A segment is written by one process in one life and never appended to by another. What a record is,
`shop/feedback.py` says.
"""

import contextlib
import fcntl
import os
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from shop.errors import DependencyUnavailable
from shop.feedback import MAGIC, whole_records

_PREFIX = "writer-"
_SUFFIX = ".log"
_MAX_WRITERS = 256


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in one writer's log: everything before it was dealt with."""

    segment: int
    offset: int


START = Position(0, 0)


@dataclass(frozen=True, slots=True)
class WriterFolder:
    """One writer's folder, locked by this process until `release`."""

    path: Path
    lock: IO[str]

    @property
    def name(self) -> str:
        """What its checkpoint is kept under."""
        return self.path.name

    def release(self) -> None:
        """Another process may write here."""
        self.lock.close()

    def next_segment(self) -> int:
        """The number after the last."""
        return max((number for number, _ in segments_of(self.path)), default=0) + 1


def log_name(root: Path) -> str:
    """The name of the log under `root`, for a store that keeps the checkpoints of many logs.

    Made on first use; of several processes that do so at once, all get the same.
    """
    file = root / "NAME"
    if not file.exists():
        root.mkdir(parents=True, exist_ok=True)
        own = root / f"NAME.{uuid.uuid4().hex}"
        own.write_text(f"{uuid.uuid4().hex}\n")
        with contextlib.suppress(FileExistsError):
            os.link(own, file)  # whole or not at all, and never over another's
        own.unlink()
    return file.read_text().strip()


def claim_writer(root: Path) -> WriterFolder:
    """The first folder that nobody writes to, so that a restarted writer finds its own again."""
    for number in range(_MAX_WRITERS):
        folder = _locked(root / f"{_PREFIX}{number}")
        if folder is not None:
            return folder
    raise DependencyUnavailable("feedback", f"{root} has {_MAX_WRITERS} writers already")


def abandoned_writers(root: Path) -> Iterator[WriterFolder]:
    """Folders whose writer is gone, each locked; the caller releases them."""
    for path in sorted(root.glob(f"{_PREFIX}*")):
        folder = _locked(path)
        if folder is not None:
            yield folder


def _locked(path: Path) -> WriterFolder | None:
    path.mkdir(parents=True, exist_ok=True)
    lock = (path / "LOCK").open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return WriterFolder(path, lock)


def segments_of(writer: Path) -> list[tuple[int, Path]]:
    """Numbered segments, oldest first."""
    return sorted((int(path.stem), path) for path in writer.glob(f"*{_SUFFIX}"))


def records_after(writer: Path, position: Position) -> Iterator[tuple[Position, bytes]]:
    """Whole records behind `position`, oldest first: where each ends, and its payload."""
    for number, path in segments_of(writer):
        if number < position.segment:
            continue
        start = position.offset if number == position.segment else 0
        for record in whole_records(path.read_bytes(), start):
            yield Position(number, record.end), record.payload


def read_log(root: Path) -> Iterator[bytes]:
    """Payloads of every writer's records, writer by writer, each in the order written."""
    for writer in sorted(root.glob(f"{_PREFIX}*")):
        for _, payload in records_after(writer, START):
            yield payload


class SegmentFile:
    """One segment being written. An OSError leaves it unusable but for `abandon`."""

    def __init__(self, writer: Path, number: int, opened_s: float) -> None:
        self.number = number
        self.opened_s = opened_s
        self._path = writer / f"{number:012d}{_SUFFIX}"
        self._file = self._path.open("xb", buffering=0)
        self._size_bytes = 0
        try:
            self._write(MAGIC)
            sync_folder(writer)  # or a crash could lose the file's very name
        except OSError:
            self._file.close()
            # A full disk still takes names: one for every group of lists that were shown meanwhile.
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise

    @property
    def size_bytes(self) -> int:
        """Written so far."""
        return self._size_bytes

    @property
    def end(self) -> Position:
        """Behind the last record."""
        return Position(self.number, self._size_bytes)

    def append(self, records: Sequence[bytes]) -> None:
        """Into the page cache: survives this process, not the machine."""
        self._write(b"".join(records))

    def _write(self, raw: bytes) -> None:
        view = memoryview(raw)
        while view:  # a full disk or a signal can make a write short
            written = self._file.write(view)
            view = view[written:]
        self._size_bytes += len(raw)

    def sync(self) -> None:
        """Onto the disk: survives the machine's power."""
        os.fdatasync(self._file.fileno())

    def close(self) -> None:
        """Synced, and never written to again. A segment without a record is removed."""
        if self._size_bytes <= len(MAGIC):
            self._file.close()
            self._path.unlink()
            return
        self.sync()
        self._file.close()

    def abandon(self, after: Position) -> None:
        """Gives up after an error, and cuts off what was appended behind `after`."""
        try:
            if after.offset > len(MAGIC):
                self._file.truncate(after.offset)
            else:
                self._path.unlink()
        finally:
            self._file.close()


def sync_folder(folder: Path) -> None:
    """The names of its files onto the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
