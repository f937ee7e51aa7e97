"""Engine files: a release's engines, in its own folder, under a record signed with its key.

`<release>/engines/` holds `engines.json` and one file for each model, GPU architecture and version
of TensorRT, with the builder's log beside it. The release's manifest was signed before any of them
existed; what ties them to it is the record: it names the release, the digest of the graph that each
engine was built from (which the manifest names too) and the digest of each file.
"""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from shop.engine_record import RECORD, EngineEntry, EngineRecord, read_record
from shop.errors import ReleaseRejected
from shop.release import Manifest

ENGINES = "engines"


@dataclass(frozen=True, slots=True)
class BuiltEngine:
    """One engine that was proved, and what its builder said."""

    entry: EngineEntry
    plan: bytes
    log: str


def put_engines(
    release_folder: Path, manifest: Manifest, key: bytes, built: Sequence[BuiltEngine]
) -> EngineRecord:
    """Keeps engines beside those that are there; returns the record, signed anew, of all.

    Another engine for the same model, architecture and TensorRT takes a former one's place.
    """
    there = read_engines(release_folder, manifest, key)
    folder = release_folder / ENGINES
    folder.mkdir(exist_ok=True)
    for each in built:
        replace_file(folder / each.entry.file, each.plan)
        replace_file(folder / f"{each.entry.file}.log.json", each.log.encode())
    new = [each.entry for each in built]
    kept = [entry for entry in there.engines if all(entry.fits != other.fits for other in new)]
    record = EngineRecord(manifest.release, manifest.version, (*kept, *new)).signed(key)
    replace_file(folder / RECORD, record.to_json().encode())
    return record


def read_engines(release_folder: Path, manifest: Manifest, key: bytes) -> EngineRecord:
    """What engines the release has, as signed; files are not read. Without any, an empty record.

    Raises ReleaseRejected if the record was not signed with `key`, is another release's, or names
    engines of other graphs than the release's.
    """
    path = release_folder / ENGINES / RECORD
    if not path.is_file():
        return EngineRecord(manifest.release, manifest.version, ())
    record = read_record(path.read_text(errors="replace"), key)
    if (record.release, record.version) != (manifest.release, manifest.version):
        raise ReleaseRejected(f"{path} holds the engines of {record.release}: delete the folder")
    for entry in record.engines:
        graph = manifest.files.get(f"{entry.model}.onnx")
        if graph is None or graph.sha256 != entry.source_sha256:
            raise ReleaseRejected(
                f"{manifest.release}: {entry.file} was built from another graph than the release's"
            )
    return record


def read_engine(release_folder: Path, release: str, entry: EngineEntry) -> bytes:
    """An engine's bytes. Raises ReleaseRejected unless they are those that were signed."""
    try:
        plan = (release_folder / ENGINES / entry.file).read_bytes()
    except OSError as error:
        raise ReleaseRejected(f"{release}: {entry.file} cannot be read: {error}") from error
    entry.check(release, len(plan), hashlib.sha256(plan).hexdigest())
    return plan


def replace_file(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(content)
    os.replace(part, path)
