"""Faults of the installation that Triton itself would answer with silence or with empty tensors."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from serving.triton.runtime import find_runtime
from shop.errors import DependencyUnavailable

PROJECT = Path(__file__).resolve().parents[2]
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the runtime's parts that matter, free to be damaged."""
    real = PROJECT / ".triton"
    server = tmp_path / "server" / "pytriton" / "tritonserver"
    shutil.copytree(real / "server" / "pytriton" / "tritonserver" / "bin", server / "bin")
    for part in ("backends", "caches", "python_backend_stubs"):
        (server / part).symlink_to(real / "server" / "pytriton" / "tritonserver" / part)
    libraries = tmp_path / "server" / "nvidia_pytriton.libs"
    libraries.symlink_to(real / "server" / "nvidia_pytriton.libs")
    packages = tmp_path / "stub" / "lib" / f"python{VERSION}" / "site-packages"
    for package in ("numpy-1.26.4", "onnxruntime-1.32.0"):
        _install(packages, package)
    (tmp_path / "stub" / "bin").mkdir()
    (tmp_path / "stub" / "bin" / "python").symlink_to(real / "stub" / "bin" / "python")
    return tmp_path


def _install(packages: Path, package: str) -> None:
    name, version = package.split("-")
    folder = packages / f"{package}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def _packages(root: Path) -> Path:
    return root / "stub" / "lib" / f"python{VERSION}" / "site-packages"


def test_complete_runtime_is_found_with_its_backends_prepared(root: Path) -> None:
    runtime = find_runtime(root)
    backends = runtime.backends_folder
    assert (backends / "onnxruntime" / "model.py").is_file()
    assert (backends / "onnxruntime" / "shop" / "release.py").is_file()
    assert os.access(backends / "python" / "triton_python_backend_stub", os.X_OK)


def test_backends_follow_the_code_they_were_copied_from(root: Path) -> None:
    model = find_runtime(root).backends_folder / "onnxruntime" / "model.py"
    before = model.stat().st_mtime_ns
    find_runtime(root)
    assert model.stat().st_mtime_ns == before, "what has not changed is left alone"
    model.write_text("an older one")
    find_runtime(root)
    ours = PROJECT / "serving" / "triton" / "backends" / "onnxruntime" / "model.py"
    assert model.read_text() == ours.read_text()


def test_numpy_2_in_the_stub_is_refused(root: Path) -> None:
    shutil.rmtree(_packages(root) / "numpy-1.26.4.dist-info")
    _install(_packages(root), "numpy-2.3.5")
    with pytest.raises(DependencyUnavailable, match=r"numpy 2\.3\.5.*needs numpy<2.*make setup"):
        find_runtime(root)


def test_stub_without_onnxruntime_is_refused(root: Path) -> None:
    shutil.rmtree(_packages(root) / "onnxruntime-1.32.0.dist-info")
    with pytest.raises(DependencyUnavailable, match=r"lacks onnxruntime.*make setup"):
        find_runtime(root)


def test_missing_server_is_named_with_the_command_that_brings_it(tmp_path: Path) -> None:
    with pytest.raises(DependencyUnavailable, match=r"no server at .*make setup"):
        find_runtime(tmp_path)


def test_server_that_may_not_be_executed_is_refused(root: Path) -> None:
    server = root / "server" / "pytriton" / "tritonserver" / "bin" / "tritonserver"
    server.chmod(0o644)
    with pytest.raises(DependencyUnavailable, match="may not be executed"):
        find_runtime(root)


def test_stub_environment_that_does_not_run_is_refused(root: Path) -> None:
    (root / "stub" / "bin" / "python").unlink()
    with pytest.raises(DependencyUnavailable, match=r"does not run.*make setup"):
        find_runtime(root)


def test_missing_libraries_are_named(root: Path) -> None:
    (root / "server" / "nvidia_pytriton.libs").unlink()
    with pytest.raises(DependencyUnavailable, match=r"tritonserver cannot start, missing lib\w+"):
        find_runtime(root)
