"""Rolling: releases to roll to, good and bad, and how a running stack takes to each.

All are made from the one being served and signed with this shop's key, under names of their own; at
the end the folder is as it was.
"""

import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from export.command import RELEASE_KEY, shelf_of
from export.promote import PROMOTIONS, Shelf, list_releases, promote
from loadtest.benchmarks.stack import BenchmarkFailed, vitrine
from loadtest.victims import wait_until
from serving.adapters.key_files import read_key
from serving.adapters.release_files import (
    CURRENT,
    current_release,
    file_sha256,
    read_release_manifest,
)
from serving.stack.folder import StateFolder
from serving.triton.repository import remove_version
from shop.release import MANIFEST, RANKER_FILE, USER_TOWER_FILE, FileEntry, Manifest

EVERYWHERE_WITHIN_S = 60.0
# Longer than a replica tries to make a good list with a release that it was pointed to.
_TAKEN_BACK_AFTER_S = 15.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Change:
    """One change of the release, or what was made of an attempt."""

    what: str
    is_good: bool  # a change that has to happen; else one that must not
    release: str  # that every replica should serve afterwards
    everywhere_after_s: float  # infinite: not within the patience
    told: str  # by the command line; "" where it had nothing to say
    as_it_should: bool


@dataclass(frozen=True, slots=True)
class Roller:
    """A running stack and its releases."""

    state_dir: Path
    shelf: Shelf
    first: str
    other: str
    damaged: str
    sick: str

    def promote(self, release: str) -> Change:
        """By the command line; as it should if every replica serves it then."""
        return self._moved(f"promote {release}", ("promote", release), release)

    def rollback(self, to: str) -> Change:
        """Likewise; `to` is the release that was there before."""
        return self._moved("rollback", ("rollback",), to)

    def refused(self, release: str) -> Change:
        """A promotion that has to fail, and to leave all as it was."""
        before = current_release(self.shelf.releases_root)
        code, told = self._vitrine("promote", release)
        stays = current_release(self.shelf.releases_root) == before
        after_s = self._everywhere(before)
        return Change(f"promote {release}", False, before, after_s, told, code == 1 and stays)

    def taken_back(self, release: str) -> Change:
        """The pointer put on a release that makes no lists, past every check, and set back."""
        pointer = self.shelf.releases_root / CURRENT
        before = current_release(self.shelf.releases_root)
        pointer.write_text(f"{release}\n")
        until = time.monotonic() + _TAKEN_BACK_AFTER_S
        held = True
        while held and time.monotonic() < until:
            held = served(self.state_dir) == {before}
            time.sleep(0.2)
        pointer.write_text(f"{before}\n")
        after_s = self._everywhere(before)
        return Change(f"{CURRENT} set to {release}", False, before, after_s, "", held)

    def _moved(self, what: str, words: tuple[str, ...], release: str) -> Change:
        code, told = self._vitrine(*words)
        after_s = self._everywhere(release)
        return Change(
            what, True, release, after_s, told, code == 0 and after_s < EVERYWHERE_WITHIN_S
        )

    def _vitrine(self, *words: str) -> tuple[int, str]:
        argv = vitrine(*words, "--state-dir", str(self.state_dir))
        ran = subprocess.run(argv, capture_output=True, text=True, check=False)
        return ran.returncode, (ran.stderr.strip().splitlines() or [""])[-1]

    def _everywhere(self, release: str) -> float:
        began = time.monotonic()
        is_there = wait_until(
            lambda: served(self.state_dir) == {release}, within_s=EVERYWHERE_WITHIN_S
        )
        return time.monotonic() - began if is_there else float("inf")


def served(state_dir: Path) -> set[str]:
    """The releases that the gateway's replicas serve, as their metrics say."""
    found = set()
    for file in sorted(StateFolder(state_dir).run.glob("metrics-*")):
        with _OPENER.open(f"http://{file.read_text().strip()}/metrics", timeout=10) as page:
            lines = page.read().decode().splitlines()
        named = [line for line in lines if line.startswith("vitrine_release{")]
        found |= {line.split('"')[1] for line in named}
    return found


@contextmanager
def a_roller(state_dir: Path) -> Iterator[Roller]:
    """With a second good release, one that is damaged, and one whose ranker is no ranker."""
    shelf, key = shelf_of(state_dir), read_key(StateFolder(state_dir).keys / RELEASE_KEY)
    first = current_release(shelf.releases_root)
    if served(state_dir) != {first}:
        raise BenchmarkFailed(f"not every replica serves {first}; see `vitrine status`")
    number = 1 + max(entry.version for entry in list_releases(shelf, key))
    history = shelf.releases_root / PROMOTIONS
    kept = history.read_bytes() if history.exists() else b""
    made: list[Manifest] = []
    try:
        makers = (("other", _as_it_is), ("damaged", _as_it_is), ("sick", _with_no_ranker))
        for at, (name, change) in enumerate(makers):
            made.append(
                _copied(shelf, first, f"r{number + at:04d}-{name}", number + at, key, change)
            )
        _damage(shelf.releases_root / made[1].release / RANKER_FILE)
        yield Roller(state_dir, shelf, first, *(each.release for each in made))
    finally:
        promote(first, shelf, key)
        wait_until(lambda: served(state_dir) == {first}, within_s=EVERYWHERE_WITHIN_S)
        history.write_bytes(kept)
        for each in made:
            remove_version(shelf.repository, each.version)
            shutil.rmtree(shelf.releases_root / each.release)


def _copied(
    shelf: Shelf, of: str, name: str, version: int, key: bytes, change: Callable[[Path], None]
) -> Manifest:
    folder = shelf.releases_root / name
    shutil.copytree(shelf.releases_root / of, folder)
    change(folder)
    manifest = read_release_manifest(shelf.releases_root / of, key)
    files = {
        file: FileEntry((folder / file).stat().st_size, file_sha256(folder / file))
        for file in manifest.files
    }
    signed = replace(manifest, release=name, version=version, files=files).signed(key)
    (folder / MANIFEST).write_text(signed.to_json())
    return signed


def _as_it_is(folder: Path) -> None:
    """Nothing is changed."""


def _with_no_ranker(folder: Path) -> None:
    """Its ranker is the user tower: a sound file, rightly signed, with other tensors."""
    shutil.copyfile(folder / USER_TOWER_FILE, folder / RANKER_FILE)


def _damage(file: Path) -> None:
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 2] ^= 1
    file.write_bytes(raw)
