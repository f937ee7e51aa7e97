"""Log lines are JSON, traces and all, and the files do not fill the disk."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.logging_setup import JsonLines, _TurnedFile, log_to_file


@pytest.fixture
def root_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, raising = list(root.handlers), root.level, logging.raiseExceptions
    yield
    for handler in root.handlers:
        if handler not in handlers:
            handler.close()
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)


def test_a_line_has_its_fields_and_its_trace(tmp_path: Path, root_as_it_was: None) -> None:
    file = tmp_path / "logs" / "door.jsonl"
    log_to_file(file, "info")
    log = logging.getLogger("serving.requests")
    log.info("%s done", "Recommend", extra={"fields": {"ms": 1.5, "query": "Lämpchen\n"}})
    log.debug("not this")
    try:
        raise KeyError("a bug")
    except KeyError:
        log.exception("failed")
    first, second = [json.loads(line) for line in file.read_text().splitlines()]
    assert (first["message"], first["ms"], first["query"]) == ("Recommend done", 1.5, "Lämpchen\n")
    assert second["level"] == "error"
    assert "KeyError: 'a bug'" in second["trace"]


def test_a_full_file_is_turned_over_and_old_ones_are_removed(tmp_path: Path) -> None:
    handler = _TurnedFile(tmp_path / "door.jsonl", maxBytes=500, backupCount=2)
    handler.setFormatter(JsonLines())
    for number in range(100):
        handler.emit(logging.LogRecord("x", logging.INFO, "", 0, f"line {number}", None, None))
    handler.close()
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["door.jsonl", "door.jsonl.1", "door.jsonl.2"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 3 * 700
