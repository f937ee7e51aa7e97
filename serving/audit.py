"""Audit: who did what of which only operators and merchandisers may, when, and how it ended.

JSON lines that are only ever added to, readable by their owner, one write and one sync each; never
a token or a secret.
"""

import json
import logging
import os
import pwd
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

logger = logging.getLogger(__name__)

_MAX_TEXT = 200


def this_user(behind: str | None) -> str:
    """Of this machine, and who is behind it by `sudo`, if anybody is."""
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}" + (f" (sudo by {behind})" if behind else "")


class AuditLog:
    """Of one state folder. Any number of processes may write: a line is one append."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._writer: ThreadPoolExecutor | None = None

    def note(self, who: str, what: str, outcome: str, **details: str) -> None:
        """On disk when this returns. Raises OSError if that cannot be."""
        line = {
            "time_ms": time.time_ns() // 1_000_000,
            "who": who[:_MAX_TEXT],
            "what": what[:_MAX_TEXT],
            "outcome": outcome[:_MAX_TEXT],
            **{name: value[:_MAX_TEXT] for name, value in details.items()},
        }
        self._file.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW
        descriptor = os.open(self._file, flags, 0o600)
        try:
            os.write(descriptor, (json.dumps(line, ensure_ascii=False) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def note_soon(self, who: str, what: str, outcome: str) -> None:
        """The same off the event loop; what cannot be written is logged."""
        if self._writer is None:
            self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._writer.submit(self._note_or_log, who, what, outcome)

    def close(self) -> None:
        """Returns once everything is on disk."""
        if self._writer is not None:
            self._writer.shutdown()

    def _note_or_log(self, who: str, what: str, outcome: str) -> None:
        try:
            self.note(who, what, outcome)
        except OSError as error:
            logger.error("not audited: %s by %s, %s: %s", what, who, outcome, error)
