"""Release: user tower, ranker, index and tables that were built together and are used together.

A release is a folder. Its `manifest.json` lists every file with size and SHA-256 and is signed
(HMAC-SHA256 over the canonical JSON without the signature). This module judges manifests; reading
files is left to `export.release` and the serving adapters, so that both judge alike.
"""

import hashlib
import hmac
import json
import re
from dataclasses import dataclass
from typing import Any

from shop.errors import ReleaseRejected

RELEASE_FORMAT = 2  # 2: with the tables of the candidate sources
MANIFEST = "manifest.json"

# File names inside a release folder.
CATALOGUE_FILE = "catalogue.parquet"
SCHEMA_FILE = "schema.json"
VECTORS_FILE = "item_vectors.npy"
INDEX_FILE = "index.faiss"
NEIGHBOURS_FILE = "neighbours.npz"
POPULARITY_FILE = "popularity.npz"
SOURCES_FILE = "sources.npz"
HISTORIES_FILE = "histories.parquet"
USER_TOWER_FILE = "user_tower.onnx"
RANKER_FILE = "ranker.onnx"
USER_TOWER_CONFIG_FILE = "user_tower.pbtxt"  # Triton's, written from this release's schema
RANKER_CONFIG_FILE = "ranker.pbtxt"
REQUIRED_FILES = (
    CATALOGUE_FILE,
    SCHEMA_FILE,
    VECTORS_FILE,
    INDEX_FILE,
    NEIGHBOURS_FILE,
    POPULARITY_FILE,
    SOURCES_FILE,
    HISTORIES_FILE,
    USER_TOWER_FILE,
    RANKER_FILE,
    USER_TOWER_CONFIG_FILE,
    RANKER_CONFIG_FILE,
)
# All of them or none: a catalogue without titles cannot be searched.
TEXT_ENCODER_FILE = "text_encoder.onnx"
TEXT_ENCODER_CONFIG_FILE = "text_encoder.pbtxt"
TEXT_INDEX_FILE = "text_index.faiss"
SEARCH_VOCABULARY_FILE = "search_vocabulary.json"
SEARCH_FILES = (
    TEXT_ENCODER_FILE,
    TEXT_ENCODER_CONFIG_FILE,
    TEXT_INDEX_FILE,
    SEARCH_VOCABULARY_FILE,
)
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
_RELEASE_ID = re.compile(r"[a-z0-9][a-z0-9-]{2,63}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of a release."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a release is made of. `version` is the number Triton knows its models by."""

    release: str
    version: int
    created_ms: int
    snapshot: str  # id of the data snapshot it learnt from
    files: dict[str, FileEntry]
    metrics: dict[str, float]
    signature: str = ""

    def has_model(self, model: str) -> bool:
        """Whether this release brings a model of this name for Triton."""
        return f"{model}.onnx" in self.files

    @property
    def is_searchable(self) -> bool:
        """Whether it answers queries: it has a text encoder and what belongs to it."""
        return TEXT_ENCODER_FILE in self.files

    def unsigned_bytes(self) -> bytes:
        """The canonical JSON that the signature covers."""
        return json.dumps(self._body(), sort_keys=True, separators=(",", ":")).encode()

    def _body(self) -> dict[str, Any]:
        return {
            "format": RELEASE_FORMAT,
            "release": self.release,
            "version": self.version,
            "created_ms": self.created_ms,
            "snapshot": self.snapshot,
            "files": {
                name: {"size_bytes": entry.size_bytes, "sha256": entry.sha256}
                for name, entry in sorted(self.files.items())
            },
            "metrics": dict(sorted(self.metrics.items())),
        }

    def to_json(self) -> str:
        """The text of `manifest.json`."""
        return json.dumps(self._body() | {"signature": self.signature}, indent=2) + "\n"

    def signed(self, key: bytes) -> "Manifest":
        """The same manifest with its signature."""
        return Manifest(
            self.release,
            self.version,
            self.created_ms,
            self.snapshot,
            self.files,
            self.metrics,
            hmac.new(key, self.unsigned_bytes(), hashlib.sha256).hexdigest(),
        )


def read_manifest(text: str, key: bytes) -> Manifest:
    """The manifest, once its form and signature hold. Raises ReleaseRejected, saying why not."""
    try:
        raw = json.loads(text)
        if raw["format"] != RELEASE_FORMAT:
            raise ReleaseRejected(
                f"release format {raw['format']!r}, needed is {RELEASE_FORMAT}: export it again"
            )
        manifest = Manifest(
            release=str(raw["release"]),
            version=int(raw["version"]),
            created_ms=int(raw["created_ms"]),
            snapshot=str(raw["snapshot"]),
            files={
                str(name): FileEntry(int(entry["size_bytes"]), str(entry["sha256"]))
                for name, entry in raw["files"].items()
            },
            metrics={str(name): float(value) for name, value in raw["metrics"].items()},
            signature=str(raw["signature"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ReleaseRejected(f"{MANIFEST} cannot be read: {error!r}") from error
    _check_names(manifest)
    expected = hmac.new(key, manifest.unsigned_bytes(), hashlib.sha256).hexdigest()
    # As bytes: compare_digest raises on text that is not ASCII, and the text here is anyone's.
    if not hmac.compare_digest(expected.encode(), manifest.signature.encode(errors="replace")):
        raise ReleaseRejected(
            f"{manifest.release}: signature does not match; not signed by this shop"
        )
    return manifest


def is_release_id(text: str) -> bool:
    """Whether a release may be called so: no separators, so that it can name a folder."""
    return _RELEASE_ID.fullmatch(text) is not None


def _check_names(manifest: Manifest) -> None:
    if not is_release_id(manifest.release):
        raise ReleaseRejected(f"release id {manifest.release!r} is not [a-z0-9-]")
    if manifest.version < 1:
        raise ReleaseRejected(f"{manifest.release}: version {manifest.version} is not positive")
    for name in manifest.files:
        if not _FILE_NAME.fullmatch(name):  # no separators: a name can never leave the folder
            raise ReleaseRejected(f"{manifest.release}: file name {name!r} is not allowed")
    needed: tuple[str, ...] = REQUIRED_FILES
    if any(name in manifest.files for name in SEARCH_FILES):
        needed += SEARCH_FILES
    missing = [name for name in needed if name not in manifest.files]
    if missing:
        raise ReleaseRejected(f"{manifest.release}: missing {', '.join(missing)}")


def check_file(manifest: Manifest, name: str, size_bytes: int, sha256: str) -> None:
    """Raises ReleaseRejected unless the file on disk is the one that was signed."""
    entry = manifest.files.get(name)
    if entry is None:
        raise ReleaseRejected(f"{manifest.release}: {name} is not in the manifest")
    if (entry.size_bytes, entry.sha256) != (size_bytes, sha256):
        raise ReleaseRejected(f"{manifest.release}: {name} is damaged or from another release")
