"""Engine repository: what a Triton with TensorRT loads from, filled and emptied by promotion.

`<repository>/<model>/config.pbtxt`, and in `<model>/<version>/` one engine for each architecture
and `engines.json`, its signed record. Triton picks by compute capability, and its configuration
names files for all versions of a model at once, so a file's name here says the architecture and
nothing else: two releases whose engines were built by different versions of TensorRT can lie beside
each other, as a promotion needs it.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from export.engine_files import read_engine, replace_file
from export.gpu_config import gpu_model_config
from serving.triton.repository import CONFIG, MODEL
from shop.engine_record import RECORD, EngineEntry, EngineRecord, architecture_of, read_record
from shop.errors import ReleaseRejected
from shop.features import FeatureSchema
from shop.release import (
    SCHEMA_FILE,
    TEXT_ENCODER_CONFIG_FILE,
    TEXT_ENCODER_FILE,
    Manifest,
    check_file,
)
from shop.tensors import MODELS, TEXT_ENCODER


def served_architectures(repository: Path, key: bytes) -> frozenset[str]:
    """Of which there is an engine of some model of some version; none where nothing is served.

    Raises ReleaseRejected if a record there is damaged.
    """
    records = [
        read_record(path.read_text(errors="replace"), key)
        for path in sorted(repository.glob(f"*/*/{RECORD}"))
    ]
    return frozenset(
        architecture_of(entry.compute_capability) for each in records for entry in each.engines
    )


def check_covers(
    release: str, engines: Sequence[EngineEntry], served: frozenset[str], *, tensorrt: str = ""
) -> None:
    """Raises ReleaseRejected if a GPU that is served now would find no engine among these."""
    there = {(entry.model, architecture_of(entry.compute_capability)) for entry in engines}
    missing = [
        f"{model} for {architecture}"
        for architecture in sorted(served)
        for model in MODELS
        if (model, architecture) not in there
    ]
    if missing:
        of_version = f" by TensorRT {tensorrt}" if tensorrt else ""
        raise ReleaseRejected(
            f"{release} has no engine{of_version} of {', '.join(missing)}, which are served now:"
            f" build them where such a GPU is (vitrine engines {release}), or say --fewer-engines"
        )


def install_engines(
    release_folder: Path,
    manifest: Manifest,
    engines: Sequence[EngineEntry],
    repository: Path,
    key: bytes,
) -> None:
    """Puts a release's engines into the repository; configurations come last.

    `engines`: at most one for each model and architecture, of `read_engines`. Raises
    ReleaseRejected if a file is not the one that was signed; nothing was put in then.
    """
    plans = {entry: read_engine(release_folder, manifest.release, entry) for entry in engines}
    schema = _schema(release_folder, manifest)
    installed: dict[str, tuple[EngineEntry, ...]] = {}
    for model in MODELS:
        own = {_renamed(entry): plan for entry, plan in plans.items() if entry.model == model}
        if not own:
            raise ReleaseRejected(f"{manifest.release} has no engine of {model}")
        installed[model] = tuple(own)
        signed = EngineRecord(manifest.release, manifest.version, installed[model]).signed(key)
        files = {entry.file: plan for entry, plan in own.items()}
        files[RECORD] = signed.to_json().encode()
        _place(repository / model / str(manifest.version), files)
    _place_text_encoder(release_folder, manifest, repository)
    for model, entries in installed.items():
        config = gpu_model_config(model, schema, entries).encode()
        _configure(repository / model / CONFIG, config)


def _renamed(entry: EngineEntry) -> EngineEntry:
    architecture = architecture_of(entry.compute_capability)
    return replace(entry, file=f"{entry.model}.{architecture}.plan")


def _schema(release_folder: Path, manifest: Manifest) -> FeatureSchema:
    raw = _checked(release_folder, manifest, SCHEMA_FILE)
    return FeatureSchema.from_json(json.loads(raw))


def _checked(release_folder: Path, manifest: Manifest, name: str) -> bytes:
    content = (release_folder / name).read_bytes()
    check_file(manifest, name, len(content), hashlib.sha256(content).hexdigest())
    return content


def _place_text_encoder(release_folder: Path, manifest: Manifest, repository: Path) -> None:
    """A searchable release's text encoder as it is, in ONNX: 0.1 ms of CPU is worth no engine."""
    if not manifest.has_model(TEXT_ENCODER):
        return
    model = _checked(release_folder, manifest, TEXT_ENCODER_FILE)
    config = _checked(release_folder, manifest, TEXT_ENCODER_CONFIG_FILE)
    _place(repository / TEXT_ENCODER / str(manifest.version), {MODEL: model})
    _configure(repository / TEXT_ENCODER / CONFIG, config)


def _place(target: Path, files: dict[str, bytes]) -> None:
    """A version's folder, whole or not at all; left alone where it holds just that."""
    if target.is_dir() and files == {path.name: path.read_bytes() for path in target.iterdir()}:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    part = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    part.chmod(0o755)
    for name, content in files.items():
        (part / name).write_bytes(content)
    if target.exists():
        shutil.rmtree(target)
    part.rename(target)


def _configure(path: Path, content: bytes) -> None:
    if not (path.is_file() and path.read_bytes() == content):
        replace_file(path, content)
