"""Served: the private copy of the repository that the server really loads.

Triton loads all versions of a model or, if one of them fails, none. So what promotion has put into
the repository is looked at first, and only versions that are sound, unmixed and made for the
present configuration are copied to where the server sees them. What is served is what was checked:
a model file that is damaged later, on either side, is replaced by the other one.
"""

import hashlib
import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from serving.triton.repository import CONFIG, MODEL, installed_versions
from shop.errors import ReleaseRejected
from shop.release import MANIFEST, Manifest, check_file, read_manifest
from shop.tensors import ALL_MODELS, MODELS


@dataclass(frozen=True, slots=True)
class ServedVersions:
    """What came of the versions in the repository."""

    releases: dict[int, str]  # served: version → release
    refused: dict[int, str]  # not served: version → why
    models: dict[int, tuple[str, ...]] = field(default_factory=dict)  # served: version → its models


def serve_sound_versions(
    repository: Path, served: Path, key: bytes, hidden: frozenset[int] = frozenset()
) -> ServedVersions:
    """Make `served` hold the sound versions of `repository` and nothing else.

    `hidden` versions are left out too: Triton could not load them. Unchanged files are not touched,
    so that Triton does not load them again.
    """
    releases: dict[int, str] = {}
    models: dict[int, tuple[str, ...]] = {}
    refused: dict[int, str] = {}
    sound: dict[int, dict[Path, bytes]] = {}
    for version in (v.version for v in installed_versions(repository)):
        try:
            manifest = _manifest_of(repository, version, key)
            sound[version] = _checked_files(repository, served, manifest)
            releases[version], models[version] = manifest.release, _models_of(manifest)
        except (ReleaseRejected, OSError) as error:
            refused[version] = str(error)
    for version in hidden & sound.keys():
        del sound[version]
    _remove_others(served, frozenset(sound))
    for files in sound.values():
        for path, content in files.items():
            _write_if_different(served / path, content)
    return ServedVersions(releases, refused, models)


def model_file(served: Path, model: str, version: int) -> Path:
    """The file that the server loads, by which its stubs can be told apart."""
    return served / model / str(version) / MODEL


def _models_of(manifest: Manifest) -> tuple[str, ...]:
    return tuple(model for model in ALL_MODELS if manifest.has_model(model))


def _manifest_of(repository: Path, version: int, key: bytes) -> Manifest:
    texts = {(repository / model / str(version) / MANIFEST).read_text() for model in MODELS}
    if len(texts) != 1:
        raise ReleaseRejected(f"version {version} mixes models of two releases; promote it again")
    manifest = read_manifest(texts.pop(), key)
    if manifest.version != version:
        raise ReleaseRejected(
            f"{manifest.release} is version {manifest.version}, but lies in folder {version}"
        )
    return manifest


def _checked_files(repository: Path, served: Path, manifest: Manifest) -> dict[Path, bytes]:
    """What to serve of a release, by path below the folder; configuration and models as signed."""
    files: dict[Path, bytes] = {}
    own = (repository / MODELS[0] / str(manifest.version) / MANIFEST).read_bytes()
    for model in _models_of(manifest):
        config = (repository / model / CONFIG).read_bytes()
        if _sha256(config) != manifest.files[f"{model}.pbtxt"].sha256:
            raise ReleaseRejected(
                f"{manifest.release} has another configuration than the release promoted last; "
                "Triton has one for all versions of a model"
            )
        folder = Path(model) / str(manifest.version)
        if (repository / folder / MANIFEST).read_bytes() != own:
            raise ReleaseRejected(f"{model} {manifest.version} is another release's; promote again")
        files |= {
            Path(model) / CONFIG: config,
            folder / MANIFEST: (repository / folder / MANIFEST).read_bytes(),
            folder / MODEL: _signed_model(
                manifest, model, repository / folder / MODEL, served / folder / MODEL
            ),
        }
    return files


def _signed_model(manifest: Manifest, model: str, installed: Path, served: Path) -> bytes:
    """The installed file; where that was damaged later, the copy that is being served already."""
    try:
        return _as_signed(manifest, model, installed)
    except (ReleaseRejected, OSError):
        if not served.is_file():
            raise
        return _as_signed(manifest, model, served)


def _as_signed(manifest: Manifest, model: str, path: Path) -> bytes:
    content = path.read_bytes()
    check_file(manifest, f"{model}.onnx", len(content), _sha256(content))
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _remove_others(served: Path, versions: frozenset[int]) -> None:
    for folder in served.glob("*/*"):
        if folder.is_dir() and not (folder.name.isdigit() and int(folder.name) in versions):
            shutil.rmtree(folder)


def _write_if_different(path: Path, content: bytes) -> None:
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as part:
        part.write(content)
    os.replace(part.name, path)
