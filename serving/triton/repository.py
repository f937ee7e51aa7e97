"""Repository: the folder that Triton loads from, one numbered version per release.

`<state>/model_repository/<model>/config.pbtxt` and `<model>/<version>/{model.onnx, manifest.json}`,
all copied from release folders; the version is the release's number, its manifest lies beside the
model so that the backend can check what it loads. The folder holds what is to be served and nothing
else: promotion puts a version in and takes old ones out, the supervisor follows. A Triton image
with ONNX Runtime built in can load from it directly, in poll mode.

The served folder is assembled in the state folder instead of using git's `model_repository/`
itself, because several stacks on one machine serve different releases, and because the
configuration belongs to the release: history length and heads are part of its tensors' shapes.
"""

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shop.release import MANIFEST, Manifest
from shop.tensors import ALL_MODELS, MODELS

CONFIG = "config.pbtxt"
MODEL = "model.onnx"


@dataclass(frozen=True, slots=True)
class InstalledVersion:
    """One version that is complete for every model of MODELS, and what its files looked like."""

    version: int
    fingerprint: tuple[tuple[str, int, int], ...]  # path, size, modification time in ns


def install_version(release_folder: Path, manifest: Manifest, repository: Path) -> None:
    """Put a verified release's models in; each appears whole or not at all.

    The configurations come last: until then nothing changes for the versions that are there.
    """
    # A version counts once every model of MODELS has it: what only some releases have comes first.
    models = [model for model in reversed(ALL_MODELS) if manifest.has_model(model)]
    for model in models:
        (repository / model).mkdir(parents=True, exist_ok=True)
        _place(release_folder, model, repository / model / str(manifest.version))
    for model in models:
        config = (release_folder / f"{model}.pbtxt").read_bytes()
        if not _holds(repository / model / CONFIG, config):
            part = repository / model / f"{CONFIG}.part"
            part.write_bytes(config)
            os.replace(part, repository / model / CONFIG)


def _holds(path: Path, content: bytes) -> bool:
    return path.is_file() and path.read_bytes() == content


def _place(release_folder: Path, model: str, target: Path) -> None:
    pairs = {MODEL: release_folder / f"{model}.onnx", MANIFEST: release_folder / MANIFEST}
    if all(_holds(target / name, source.read_bytes()) for name, source in pairs.items()):
        return
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    part.chmod(0o755)
    for name, source in pairs.items():
        shutil.copyfile(source, part / name)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)


def keep_versions(repository: Path, versions: frozenset[int]) -> None:
    """Take every other version out of the repository."""
    for folder in repository.glob("*/*"):
        if folder.is_dir() and not (folder.name.isdigit() and int(folder.name) in versions):
            shutil.rmtree(folder)


def remove_version(repository: Path, version: int) -> None:
    """Take one version out of the repository; nothing happens if it is not there."""
    for model in ALL_MODELS:
        shutil.rmtree(repository / model / str(version), ignore_errors=True)


def installed_versions(repository: Path) -> tuple[InstalledVersion, ...]:
    """The versions that every model of MODELS has, ascending; none that is being put in."""
    numbers = [
        {
            int(folder.name)
            for folder in (repository / model).glob("*")
            if folder.name.isdecimal() and (folder / MANIFEST).is_file()
        }
        for model in MODELS
    ]
    return tuple(
        InstalledVersion(version, _fingerprint(repository, version))
        for version in sorted(set.intersection(*numbers))
    )


def _fingerprint(repository: Path, version: int) -> tuple[tuple[str, int, int], ...]:
    paths = [
        path
        for model in ALL_MODELS
        for path in (
            repository / model / CONFIG,
            repository / model / str(version) / MODEL,
            repository / model / str(version) / MANIFEST,
        )
    ]
    return tuple(look for path in paths if (look := _look(path)) is not None)


def _look(path: Path) -> tuple[str, int, int] | None:
    """None if it is not there, perhaps since a moment ago: versions are taken out meanwhile."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return str(path), stat.st_size, stat.st_mtime_ns
