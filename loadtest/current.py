"""The release that a state folder serves, for those who measure it from outside."""

from pathlib import Path

from serving.adapters.key_files import read_key
from serving.adapters.release_files import current_release, read_release_manifest
from serving.stack.folder import StateFolder
from shop.release import Manifest


def current_folder(state_dir: Path) -> Path:
    """Raises NotFound if no release was promoted."""
    releases = StateFolder(state_dir).releases
    return releases / current_release(releases)


def current_manifest(state_dir: Path) -> Manifest:
    """Raises NotFound or ReleaseRejected."""
    key = read_key(StateFolder(state_dir).keys / "release.key")
    return read_release_manifest(current_folder(state_dir), key)
