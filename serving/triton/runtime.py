"""Runtime: where Triton lies on this machine, checked before it is started.

`.triton/server` is the unpacked server wheel, `.triton/stub` the Python environment that Triton's
stub processes run models in (numpy 1, ONNX Runtime); `make setup` makes both. Several faults there
would show only as a load that hangs or as empty answers, so `find_runtime` looks for each of them
first and says how to mend it.
"""

import importlib.metadata
import json
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from shop.errors import DependencyUnavailable

_TRITON = "triton"
_MEND = "run `make setup`"
_PROJECT = Path(__file__).resolve().parents[2]
_OUR_BACKENDS = Path(__file__).resolve().parent / "backends"
KEY_FILE_VARIABLE = "VITRINE_RELEASE_KEY_FILE"  # read by our backends
_SHARED_WITH_BACKENDS = (
    "shop/__init__.py",
    "shop/errors.py",
    "shop/release.py",
    "shop/engine_record.py",
    "serving/__init__.py",
    "serving/triton/__init__.py",
    "serving/triton/model_requests.py",
    "serving/triton/named_engine.py",
)


@dataclass(frozen=True, slots=True)
class TritonRuntime:
    """A server that was found complete and startable."""

    server_file: Path
    caches_folder: Path
    backends_folder: Path  # python and our own, prepared
    stub_folder: Path  # virtual environment of the stubs
    library_path: str  # LD_LIBRARY_PATH of server and stubs


def find_runtime(root: Path = _PROJECT / ".triton") -> TritonRuntime:
    """The runtime under `root`, with its backends folder brought up to date.

    Raises DependencyUnavailable naming what is missing and the command that mends it.
    """
    server = root.absolute() / "server" / "pytriton" / "tritonserver"
    stub = root.absolute() / "stub"
    server_file = server / "bin" / "tritonserver"
    if not server_file.is_file():
        raise DependencyUnavailable(_TRITON, f"no server at {server_file}; {_MEND}")
    if not os.access(server_file, os.X_OK):
        raise DependencyUnavailable(
            _TRITON,
            f"{server_file} may not be executed; chmod +x it, or move it off a noexec mount",
        )
    version, library_folder = _python_of(stub)
    _check_packages(stub, version)
    library_path = os.pathsep.join(
        (str(root.absolute() / "server" / "nvidia_pytriton.libs"), library_folder)
    )
    backends = root.absolute() / "runtime" / "backends"
    stub_file = _prepare_backends(server, version, backends)
    _check_libraries(server_file, library_path)
    _check_libraries(stub_file, library_path)
    return TritonRuntime(server_file, server / "caches", backends, stub, library_path)


def server_environment(runtime: TritonRuntime, key_file: Path) -> dict[str, str]:
    """What server and stubs run with: our own environment, but for what would mislead a stub.

    A stub finds its packages by PATH and its libpython by LD_LIBRARY_PATH.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return inherited | {
        "PATH": f"{runtime.stub_folder / 'bin'}{os.pathsep}{os.defpath}",
        "LD_LIBRARY_PATH": runtime.library_path,
        "PYTHONDONTWRITEBYTECODE": "1",
        KEY_FILE_VARIABLE: str(key_file),
    }


def _python_of(stub: Path) -> tuple[str, str]:
    """Version ("3.11") and library folder of the stubs' Python."""
    python = stub / "bin" / "python"
    question = (
        "import json, sys, sysconfig; print(json.dumps(["
        "'%d.%d' % sys.version_info[:2], sysconfig.get_config_var('LIBDIR') or '']))"
    )
    try:
        answer = subprocess.run(
            [python, "-I", "-S", "-c", question],
            capture_output=True,
            check=True,
            timeout=30,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DependencyUnavailable(_TRITON, f"{python} does not run: {error}; {_MEND}") from error
    version, library_folder = json.loads(answer.stdout)
    return version, library_folder


def _check_packages(stub: Path, version: str) -> None:
    folder = stub / "lib" / f"python{version}" / "site-packages"
    installed = {
        distribution.name.lower(): distribution.version
        for distribution in importlib.metadata.distributions(path=[str(folder)])
    }
    for package in ("numpy", "onnxruntime"):
        if package not in installed:
            raise DependencyUnavailable(_TRITON, f"{stub} lacks {package}; {_MEND}")
    if not installed["numpy"].startswith("1."):
        # The stub was built against numpy 1: with numpy 2 every output comes back empty, silently.
        raise DependencyUnavailable(
            _TRITON, f"{stub} has numpy {installed['numpy']}, the stub needs numpy<2; {_MEND}"
        )


def _prepare_backends(server: Path, version: str, backends: Path) -> Path:
    """Copy the backends to where the server looks, if they changed; returns the stub's file."""
    stub_source = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub_source.is_file():
        have = sorted(folder.name for folder in (server / "python_backend_stubs").iterdir())
        raise DependencyUnavailable(
            _TRITON, f"no stub for Python {version}, only for {', '.join(have)}; {_MEND}"
        )
    python_backend = backends / "python"
    for source in (server / "backends" / "python").iterdir():
        if source.is_file():
            _copy_if_changed(source, python_backend / source.name)
    # The server changes the stub's mode, so it must be our own copy.
    stub_file = python_backend / stub_source.name
    _copy_if_changed(stub_source, stub_file)
    for source in _OUR_BACKENDS.glob("*/*.py"):
        _copy_if_changed(source, backends / source.relative_to(_OUR_BACKENDS))
        for shared in _SHARED_WITH_BACKENDS:
            _copy_if_changed(_PROJECT / shared, backends / source.parent.name / shared)
    return stub_file


def _copy_if_changed(source: Path, target: Path) -> None:
    """Replaced in one step, because another stack on this machine may be reading the old file."""
    if target.is_file() and target.read_bytes() == source.read_bytes():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
        part.write(source.read_bytes())
    shutil.copymode(source, part.name)
    os.replace(part.name, target)


def _check_libraries(file: Path, library_path: str) -> None:
    """A stub with a library missing would hang the model's load instead of failing it."""
    try:
        answer = subprocess.run(
            ["ldd", file],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
            env={"LD_LIBRARY_PATH": library_path, "PATH": os.defpath},
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DependencyUnavailable(_TRITON, f"ldd {file} failed: {error}") from error
    missing = sorted(
        line.split("=>")[0].strip() for line in answer.stdout.splitlines() if "not found" in line
    )
    if missing:
        raise DependencyUnavailable(_TRITON, f"{file.name} {_missing_libraries(missing)}")


def _missing_libraries(missing: list[str]) -> str:
    if any(name.startswith("libpython") for name in missing):
        fix = (
            "install Python's shared library (Debian: apt install libpython3-dev; pyenv: build "
            "with PYTHON_CONFIGURE_OPTS=--enable-shared) and make .triton/stub again"
        )
    else:
        fix = "install the packages that bring them, or " + _MEND
    return f"cannot start, missing {', '.join(missing)}: {fix}"
