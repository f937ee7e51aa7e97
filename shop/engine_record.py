"""Engine record: which engines were built of a release, for which GPUs, and signed like it.

An engine is a form of a release's model, made later and elsewhere: the release's own manifest
cannot name it. The record does, with the digest of the graph that it was built from, and the same
key signs it (HMAC-SHA256 over the canonical JSON without the signature). Reading files is left to
`export.engine_files` and Triton's backend.
"""

import hashlib
import hmac
import json
import re
from dataclasses import asdict, dataclass
from typing import Any

from shop.errors import ReleaseRejected

RECORD = "engines.json"
_FORMAT = 1
_FILE_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,127}")


@dataclass(frozen=True, slots=True)
class EngineEntry:
    """One engine file."""

    model: str
    file: str
    size_bytes: int
    sha256: str
    source_sha256: str  # of the graph in the release
    compute_capability: tuple[int, int]
    tensorrt_version: str
    precision: str
    lengths: tuple[int, ...]  # of candidates, one optimisation profile each
    relative_error: float  # against the graph, on real inputs
    ndcg_loss: float

    @property
    def fits(self) -> tuple[str, tuple[int, int], str]:
        """The model, GPU architecture and TensorRT that it is for; a record has one of each."""
        return self.model, self.compute_capability, self.tensorrt_version

    def check(self, release: str, size_bytes: int, sha256: str) -> None:
        """Raises ReleaseRejected unless the file on disk is the one that was signed."""
        if (self.size_bytes, self.sha256) != (size_bytes, sha256):
            raise ReleaseRejected(f"{release}: {self.file} is damaged or from another build")


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """All engines of one release in one folder."""

    release: str
    version: int
    engines: tuple[EngineEntry, ...]
    signature: str = ""

    def _body(self) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "release": self.release,
            "version": self.version,
            "engines": [asdict(entry) for entry in self.engines],
        }

    def signed(self, key: bytes) -> "EngineRecord":
        """The same record with its signature."""
        return EngineRecord(self.release, self.version, self.engines, _signature(self._body(), key))

    def to_json(self) -> str:
        """The text of `engines.json`."""
        return json.dumps(self._body() | {"signature": self.signature}, indent=1) + "\n"

    def one_for_each(self, tensorrt: str = "") -> tuple[EngineEntry, ...]:
        """One engine for each model and architecture, the last built: what Triton chooses from.

        Of version `tensorrt` alone, if that is not ""; "10.13" is any 10.13.
        """
        chosen = {
            (entry.model, entry.compute_capability): entry
            for entry in self.engines
            if _is_version(entry.tensorrt_version, tensorrt)
        }
        return tuple(chosen.values())

    def engine_for(self, model: str, version: int, capability: tuple[int, int]) -> EngineEntry:
        """The engine for a GPU. Raises ReleaseRejected, saying which there are."""
        if version != self.version:
            raise ReleaseRejected(f"engines of version {self.version} lie in folder {version}")
        there = [entry for entry in self.engines if entry.model == model]
        for entry in there:
            if entry.compute_capability == capability:
                return entry
        known = ", ".join(architecture_of(entry.compute_capability) for entry in there) or "none"
        raise ReleaseRejected(
            f"{self.release}: no engine of {model} for {architecture_of(capability)}, only for"
            f" {known};"
            " build it on such a machine"
        )


def read_record(text: str, key: bytes) -> EngineRecord:
    """The record, once form and signature hold. Raises ReleaseRejected."""
    try:
        raw = json.loads(text)
        if raw["format"] != _FORMAT:
            raise ReleaseRejected(f"engine record format {raw['format']!r}: build engines anew")
        record = EngineRecord(
            str(raw["release"]),
            int(raw["version"]),
            tuple(_entry(entry) for entry in raw["engines"]),
            str(raw["signature"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ReleaseRejected(f"{RECORD} cannot be read: {error!r}") from error
    expected = _signature(record._body(), key)
    if not hmac.compare_digest(expected.encode(), record.signature.encode(errors="replace")):
        raise ReleaseRejected(f"{RECORD}: signature does not match; not signed by this shop")
    return record


def _entry(raw: dict[str, Any]) -> EngineEntry:
    major, minor = raw["compute_capability"]
    lengths = tuple(int(length) for length in raw["lengths"])
    entry = EngineEntry(
        **(raw | {"compute_capability": (int(major), int(minor)), "lengths": lengths})
    )
    if not _FILE_NAME.fullmatch(entry.file):  # no separators: it can never leave the folder
        raise ValueError(f"file name {entry.file!r} is not allowed")
    return entry


def architecture_of(capability: tuple[int, int]) -> str:
    """As NVIDIA names it: sm_90."""
    return f"sm_{capability[0]}{capability[1]}"


def _is_version(version: str, wanted: str) -> bool:
    """Whether it is the wanted one or one of its patches; nothing is wanted of "" in particular."""
    return not wanted or version == wanted or version.startswith(f"{wanted}.")


def _signature(body: dict[str, Any], key: bytes) -> str:
    raw = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    return hmac.new(key, raw, hashlib.sha256).hexdigest()
