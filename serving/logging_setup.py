"""Logging: JSON lines at the root, in a file per process that cannot fill the disk."""

import json
import logging
import logging.handlers
import sys
import traceback
from pathlib import Path
from typing import Any

_FILE_BYTES = (
    20 << 20
)  # a day of 150 requests a second is 4 GB; what is kept shows the last half hour
_KEPT_FILES = 5
_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
REQUESTS = logging.getLogger("serving.requests")  # one line per request, written by the gateway


class JsonLines(logging.Formatter):
    """A record as one line of JSON; what is in its `fields` stands beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        line: dict[str, Any] = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            # Not `formatException`, which prints: Ray replaces print() in its workers.
            line["trace"] = "".join(traceback.format_exception(*record.exc_info))
        return _ENCODER.encode(line)


class _TurnedFile(logging.handlers.RotatingFileHandler):
    """Turns over after the line that fills the file, without asking the disk about it each time."""

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802
        """Whether the next line goes to a new file."""
        return self.stream is not None and self.stream.tell() >= self.maxBytes


def log_to_file(file: Path, level: str) -> None:
    """Everything that this process logs goes to `file`, which is kept small by turning it over."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _replace_handlers(
        _TurnedFile(file, maxBytes=_FILE_BYTES, backupCount=_KEPT_FILES, encoding="utf-8"),
        level,
    )


def log_to_stderr(level: str) -> None:
    """Everything that this process logs goes to standard error, for whoever started it."""
    _replace_handlers(logging.StreamHandler(sys.stderr), level)


def _replace_handlers(handler: logging.Handler, level: str) -> None:
    handler.setFormatter(JsonLines())
    # Where in the code a line was written, and by which thread, is in no line of ours; finding it
    # out took a fifth of the time (the switch is the logging HOWTO's, "Optimization").
    logging._srcfile = None
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    logging.raiseExceptions = False  # a full disk must not fail the request that it logs
