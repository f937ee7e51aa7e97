"""Promote: which release is active, and how another becomes it without a failed call.

A release is verified, put into Triton's repository, and made current only when a running Triton
answers with it; the one before stays loaded until the next promotion, so that replicas can finish
with it and a rollback needs no loading. Its engines go the same way, into a repository of their
own. `CURRENT` is replaced in one step; `promotions.jsonl` keeps who followed whom.
"""

import json
import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from export.engine_files import read_engines
from export.engine_repository import check_covers, install_engines, served_architectures
from export.fleet import wait_until_everywhere
from serving.adapters.release_files import (
    CURRENT,
    current_release,
    read_release_manifest,
    verify_release,
)
from serving.triton.repository import (
    install_version,
    installed_versions,
    keep_versions,
    remove_version,
)
from serving.triton.status import LOADING, TritonStatus, read_status
from shop.engine_record import EngineEntry
from shop.errors import NotFound, ReleaseRejected
from shop.release import Manifest

logger = logging.getLogger(__name__)

PROMOTIONS = "promotions.jsonl"
_READY_WITHIN_S = 30.0  # loading takes 1 to 3 s on two cores
_STATUS_FRESH_MS = 10_000  # an older status is of a supervisor that is gone
_LOOK_EVERY_S = 0.1
_SURELY_REFUSED_S = 3.0  # a version that is being mended is ready by then


@dataclass(frozen=True, slots=True)
class EngineShelf:
    """Where a Triton with TensorRT loads engines from, and which of them it is to get."""

    repository: Path
    tensorrt: str = ""  # the version that runs them; "": whichever they were built by last
    may_be_fewer: bool = False  # also where a GPU that is served now would find none


@dataclass(frozen=True, slots=True)
class Shelf:
    """Where releases lie, where Triton loads from, and what its supervisor reports."""

    releases_root: Path
    repository: Path
    status_file: Path
    fleet: str = ""  # host:port of a cluster's Tritons; "": the supervisor's status tells
    engines: EngineShelf | None = None  # None: no Triton of this shop runs engines


@dataclass(frozen=True, slots=True)
class Promotion:
    """One change of the active release."""

    time_ms: int
    release: str
    before: str  # "" for the first


@dataclass(frozen=True, slots=True)
class ReleaseEntry:
    """One release folder as it lies on disk."""

    release: str
    version: int  # 0 where the manifest cannot be trusted
    created_ms: int
    snapshot: str
    is_current: bool
    fault: str  # "" if the manifest is in order
    metrics: dict[str, float]


def promote(
    release: str, shelf: Shelf, key: bytes, *, ready_within_s: float = _READY_WITHIN_S
) -> Manifest:
    """Make `release` the active one; returns when it is.

    Raises NotFound, or ReleaseRejected if it is damaged, lacks an engine that is needed, or Triton
    does not answer with it; the active release then stays what it was.
    """
    manifest = verify_release(_folder(release, shelf), key)
    engines = _engines_to_install(manifest, shelf, key)
    before = _current_or_none(shelf)
    was_there = manifest.version in {v.version for v in installed_versions(shelf.repository)}
    folder = shelf.releases_root / release
    for repository in engines.repositories:
        install_engines(folder, manifest, engines.entries, repository, key)
    install_version(folder, manifest, shelf.repository)
    try:
        if shelf.fleet:
            wait_until_everywhere(shelf.fleet, manifest, within_s=ready_within_s)
        else:
            _wait_until_served(manifest, shelf.status_file, ready_within_s)
    except ReleaseRejected:
        if not was_there:
            for repository in (shelf.repository, *engines.repositories):
                remove_version(repository, manifest.version)
        raise
    if before == release:
        return manifest
    _replace_text(shelf.releases_root / CURRENT, f"{release}\n")
    _append(shelf, Promotion(time.time_ns() // 1_000_000, release, before or ""))
    kept = _versions(before, shelf, key) | {manifest.version}
    for repository in (shelf.repository, *engines.repositories):
        keep_versions(repository, kept)
    return manifest


@dataclass(frozen=True, slots=True)
class _Engines:
    """What a release brings along, and where to: nowhere if it has none."""

    entries: tuple[EngineEntry, ...] = ()
    repositories: tuple[Path, ...] = ()


def _engines_to_install(manifest: Manifest, shelf: Shelf, key: bytes) -> _Engines:
    if shelf.engines is None:
        return _Engines()
    repository, tensorrt = shelf.engines.repository, shelf.engines.tensorrt
    record = read_engines(shelf.releases_root / manifest.release, manifest, key)
    chosen = record.one_for_each(tensorrt)
    try:
        served = served_architectures(repository, key)
        check_covers(manifest.release, chosen, served, tensorrt=tensorrt)
    except ReleaseRejected as refused:
        if not shelf.engines.may_be_fewer:
            raise
        logger.warning("promoted all the same: %s", refused)
    return _Engines(chosen, (repository,)) if chosen else _Engines()


def rollback(shelf: Shelf, key: bytes, release: str | None = None) -> Manifest:
    """Make an earlier release active again: `release`, else the one before the present one.

    Raises NotFound if there is none before, ReleaseRejected as `promote` does.
    """
    if release is None:
        history = promotions(shelf)
        if not history or not history[-1].before:
            raise NotFound("no release was active before this one; see: vitrine releases")
        release = history[-1].before
    return promote(release, shelf, key)


def promotions(shelf: Shelf) -> list[Promotion]:
    """Every change of the active release, oldest first."""
    path = shelf.releases_root / PROMOTIONS
    lines = path.read_text().splitlines() if path.exists() else []
    return [Promotion(**json.loads(line)) for line in lines]


def list_releases(shelf: Shelf, key: bytes) -> list[ReleaseEntry]:
    """Every release folder, newest version first; files are not read, only manifests."""
    current = _current_or_none(shelf)
    entries = [
        _entry(folder, key, is_current=folder.name == current)
        for folder in shelf.releases_root.glob("[a-z0-9]*")
        if folder.is_dir()
    ]
    return sorted(entries, key=lambda entry: (-entry.version, entry.release))


def prune_releases(shelf: Shelf, key: bytes, keep_count: int) -> list[str]:
    """Delete all but the newest `keep_count`, the active one and the one before; returns which."""
    history = promotions(shelf)
    needed = {history[-1].release, history[-1].before} if history else set()
    sound = [entry for entry in list_releases(shelf, key) if not entry.fault]
    doomed = [e.release for e in sound[max(1, keep_count) :] if e.release not in needed]
    for release in doomed:
        shutil.rmtree(shelf.releases_root / release)
    return doomed


def _folder(release: str, shelf: Shelf) -> Path:
    folder = shelf.releases_root / release
    if folder.parent != shelf.releases_root or not folder.is_dir():
        raise NotFound(f"there is no release {release}; see: vitrine releases")
    return folder


def _entry(folder: Path, key: bytes, *, is_current: bool) -> ReleaseEntry:
    try:
        manifest = read_release_manifest(folder, key)
    except (ReleaseRejected, NotFound) as error:
        return ReleaseEntry(folder.name, 0, 0, "", is_current, str(error), {})
    return ReleaseEntry(
        manifest.release,
        manifest.version,
        manifest.created_ms,
        manifest.snapshot,
        is_current,
        "",
        manifest.metrics,
    )


def _current_or_none(shelf: Shelf) -> str | None:
    try:
        return current_release(shelf.releases_root)
    except NotFound:
        return None


def _versions(release: str | None, shelf: Shelf, key: bytes) -> frozenset[int]:
    """The version of `release`, if it is there and sound."""
    if release is None:
        return frozenset()
    try:
        return frozenset({read_release_manifest(shelf.releases_root / release, key).version})
    except (NotFound, ReleaseRejected):
        return frozenset()


def _wait_until_served(manifest: Manifest, status_file: Path, within_s: float) -> None:
    """Returns at once where no Triton runs: it will load what it finds when it starts."""
    give_up_s = time.monotonic() + within_s
    refused_looks = 0
    while (status := _fresh_status(status_file)) is not None:
        if status.is_ready(manifest.version):
            return
        reasons = _reasons(status, manifest.version)
        refused_looks = refused_looks + 1 if reasons and LOADING not in reasons else 0
        if time.monotonic() > give_up_s or refused_looks * _LOOK_EVERY_S > _SURELY_REFUSED_S:
            raise ReleaseRejected(
                f"{manifest.release} is not answered by Triton: "
                + ("; ".join(sorted(reasons)) or "it was not loaded")
            )
        time.sleep(_LOOK_EVERY_S)


def _reasons(status: TritonStatus, version: int) -> set[str]:
    return {m.reason for m in status.models if m.version == version and not m.is_ready}


def _fresh_status(status_file: Path) -> TritonStatus | None:
    status = read_status(status_file)
    if status is None:
        return None
    # One from the future was written before the clock was set back.
    age_ms = abs(time.time_ns() // 1_000_000 - status.updated_ms)
    return status if age_ms <= _STATUS_FRESH_MS else None


def _replace_text(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    with part.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())  # a power cut must not leave an empty pointer
    os.replace(part, path)


def _append(shelf: Shelf, promotion: Promotion) -> None:
    with (shelf.releases_root / PROMOTIONS).open("a") as file:
        file.write(json.dumps(asdict(promotion)) + "\n")
