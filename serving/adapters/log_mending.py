"""Log mending: what is done with a segment that its writer, or the disk, left damaged.

A record cut short at the end was never acknowledged and is cut off. Anything else that cannot be
read may hold acknowledged events: the file is kept as it is under another name, for whoever can
read more of it, and a new one with every whole record takes its place.
"""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from serving.adapters.history_store import HistoryWrites
from serving.adapters.log_segments import Position, WriterFolder, segments_of, sync_folder
from shop.feedback import MAGIC, Record, is_cut_short, whole_records

logger = logging.getLogger(__name__)

_ASIDE = ".damaged"


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A segment as it lies there."""

    raw: bytes
    records: list[Record]
    end: int  # behind the last whole record
    damaged_at: int | None  # the first byte that is neither readable nor the torn end


def mend_segments(writer: WriterFolder, histories: HistoryWrites) -> None:
    """Every segment that is still to be replayed can be read to its end, and keeps its records.

    Earlier ones are left alone: whoever reads them passes over what is damaged.
    """
    applied = histories.applied(writer.name)
    for number, path in segments_of(writer.path):
        if number < applied.segment:
            continue
        found = _examined(path.read_bytes())
        if found.damaged_at is not None:
            # What stood behind the damage moves forward. What is replayed twice is known by its
            # key, what is skipped would be lost: so the checkpoint goes back before the file does.
            if applied > Position(number, found.damaged_at):
                with histories.writing() as changes:
                    changes.checkpoint(writer.name, Position(number, found.damaged_at))
                histories.sync()
            _replace(path, found)
        elif found.end < len(found.raw) or not found.records:
            _cut(path, found)


def _examined(raw: bytes) -> _Found:
    records = list(whole_records(raw))
    damaged_at = None if raw.startswith(MAGIC) or not records else 0
    end = min(len(MAGIC), len(raw))
    for record in records:
        if damaged_at is None and record.begin != end:
            damaged_at = end
        end = record.end
    if not records and not raw.startswith(MAGIC):
        end = 0
        if not MAGIC.startswith(raw) and any(raw):
            damaged_at = 0
    elif damaged_at is None and not is_cut_short(raw, end):
        damaged_at = end if end < len(raw) else None
    return _Found(raw, records, end, damaged_at)


def _cut(path: Path, found: _Found) -> None:
    logger.warning(
        "%s: removed %d bytes of a record cut short", _name(path), len(found.raw) - found.end
    )
    if not found.records:
        path.unlink()  # its writer died before its first record
        return
    with path.open("r+b") as file:
        file.truncate(found.end)
        os.fsync(file.fileno())


def _replace(path: Path, found: _Found) -> None:
    aside = _kept_aside(path)
    whole = MAGIC + b"".join(found.raw[each.begin : each.end] for each in found.records)
    if found.records:
        mended = path.with_suffix(".mending")
        with mended.open("wb") as file:
            file.write(whole)
            file.flush()
            os.fsync(file.fileno())
        os.replace(mended, path)
    else:
        path.unlink()
    sync_folder(path.parent)
    logger.error(
        "%s was damaged at byte %d: kept aside as %s; %d records recovered, %d bytes unreadable",
        _name(path),
        found.damaged_at,
        aside.name,
        len(found.records),
        len(found.raw) - len(whole),
    )


def _kept_aside(path: Path) -> Path:
    """A second name for the file, so that no crash leaves it without one."""
    aside, number = path.with_suffix(_ASIDE), 1
    while aside.exists():
        if aside.samefile(path):  # a mending that was cut short had got this far
            return aside
        number += 1
        aside = path.with_suffix(f"{_ASIDE}{number}")
    os.link(path, aside)
    return aside


def _name(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"
