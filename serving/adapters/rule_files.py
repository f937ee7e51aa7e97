"""Rule files: the rule book on disk, read only when it changed and has come to rest."""

import hashlib
import os
import stat
import zoneinfo
from dataclasses import dataclass
from datetime import tzinfo
from pathlib import Path

from shop.errors import RuleBookRejected
from shop.rulebook import MAX_BOOK_BYTES

_Signature = tuple[int, int, int, int]  # device, inode, size, modification time


@dataclass(frozen=True, slots=True)
class RuleText:
    """What a rule file holds."""

    raw: bytes  # at most a byte more than a book may have
    sha256: str


class RuleFile:
    """One path, looked at again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: _Signature | None = None  # at the last look
        self._settled: _Signature | None = None  # what was read last
        self._sha256 = ""

    def read(self) -> RuleText:
        """Raises FileNotFoundError, or RuleBookRejected for what is no readable file."""
        self._settled = self._seen = self._signature()
        text = self._read()
        self._sha256 = text.sha256
        return text

    def changed(self) -> RuleText | None:
        """The file, if it is another than was read last; None otherwise.

        A file is read when two looks found it alike: whoever writes it in place would be read in
        the middle of a word, or, worse, between two rules. Raises as `read` does; a file that is
        not there is found missing once.
        """
        try:
            now = self._signature()
        except FileNotFoundError:
            is_news, self._seen, self._settled = self._settled is not None, None, None
            self._sha256 = ""
            if is_news:
                raise
            return None
        if now == self._settled:
            return None
        if now != self._seen:
            self._seen = now
            return None
        self._settled = now
        text = self._read()
        is_same, self._sha256 = text.sha256 == self._sha256, text.sha256
        return None if is_same else text

    def _signature(self) -> _Signature:
        try:
            found = self.path.stat()
        except FileNotFoundError:
            raise
        except OSError as error:
            raise self._unreadable(error) from error
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns

    def _read(self) -> RuleText:
        try:
            # Without O_NONBLOCK a named pipe would hold this thread up for ever.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(descriptor, "rb") as file:
                if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                    raise OSError("is no regular file")
                raw = file.read(MAX_BOOK_BYTES + 1)
        except OSError as error:
            raise self._unreadable(error) from error
        return RuleText(raw, hashlib.sha256(raw).hexdigest())

    def _unreadable(self, error: OSError) -> RuleBookRejected:
        return RuleBookRejected(str(self.path), (f"cannot be read: {error.strerror or error}",))


def keep_copy(raw: bytes, path: Path) -> None:
    """Write `raw` to `path` in one step. Raises OSError."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.write_bytes(raw)
    os.replace(part, path)


def zone_named(name: str) -> tzinfo | None:
    """The time zone of this name, from the system's table; None if there is none."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):  # a folder's name is an OSError
        return None
