"""Build: what `kubectl kustomize` makes of a folder, as objects."""

import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
K8S = ROOT / "k8s"
OVERLAYS = ("cpu-local", "single-gpu", "multi-gpu")
# Components that no overlay includes, and what each is tried on. `single-gpu` includes the Gateway,
# which the operator's own upgrade replaces.
VARIANTS: dict[str, tuple[str, ...]] = {
    "hpa": ("gpu", "shop-external", "hpa"),
    "dra": ("gpu", "shop-external", "dra"),
    "mig": ("gpu", "shop-external", "mig"),
    "incremental-upgrade": ("shop-external", "incremental-upgrade"),
    "release-image": ("shop-external", "release-image"),
    "release-s3": ("shop-external", "release-s3"),
    "postgres": ("shop-external", "postgres-external", "descriptions", "writer", "console"),
}

Manifest = dict[str, Any]
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast


class BuildFailed(Exception):
    """kustomize refused; the message is its own."""


def kubectl() -> str | None:
    """The program, if there is one that knows components (1.21 and later)."""
    return shutil.which("kubectl")


def build(folder: Path) -> list[Manifest]:
    """The objects of one kustomization. Raises BuildFailed."""
    program = kubectl()
    if program is None:
        raise BuildFailed("there is no kubectl on this machine")
    done = subprocess.run(
        [program, "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise BuildFailed(f"{folder.name}: {done.stderr.strip()}")
    return [each for each in yaml.load_all(done.stdout, Loader=_LOADER) if each]


def build_overlay(name: str) -> list[Manifest]:
    """One of OVERLAYS."""
    return build(K8S / "overlays" / name)


def build_variant(name: str) -> list[Manifest]:
    """The base with the components of one of VARIANTS, and what every installation has."""
    parts = ("restricted", "network-policies", *VARIANTS[name])
    with tempfile.TemporaryDirectory(dir=K8S, prefix=".variant-") as folder:
        kustomization = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "namespace": "vitrine",
            "resources": ["../base"],
            "components": [f"../components/{part}" for part in parts],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
        return build(Path(folder))


def unbuilt_components() -> set[str]:
    """Components that neither an overlay nor a variant tries."""
    built = {part for parts in VARIANTS.values() for part in parts}
    for name in OVERLAYS:
        text = (K8S / "overlays" / name / "kustomization.yaml").read_text()
        built |= {Path(part).name for part in yaml.safe_load(text).get("components", ())}
    return {each.name for each in (K8S / "components").iterdir()} - built
