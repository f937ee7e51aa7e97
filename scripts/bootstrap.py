"""Set up all that Vitrine needs on this machine, inside the project folder. Standard library only.

Makes `.venv` (the application, from requirements/app.lock, and vLLM beside it, from
requirements/writer.lock), `.triton/server` (Triton itself),
`.triton/stub` (the environment of Triton's python backend) and the protobuf modules. Each step is
skipped while its inputs have not changed. `--check` only says what is missing. `--for-tests` also
sees to Redis, PostgreSQL, Chromium and `.tools` (promtool and checkov, for the Kubernetes
manifests), `--storefront` builds examples/storefront-node: only tests need these, and set-up goes
on without them where they cannot be had. `--peers` makes `.peers`, where `vitrine bench peers` runs
what it compares with.

Package indexes, proxies and caches are pip's own business: PIP_INDEX_URL, PIP_EXTRA_INDEX_URL and
pip.conf are honoured. Where pip would choose the CUDA build of torch and the CPU build is wanted,
pass PyTorch's CPU index in PIP_EXTRA_INDEX_URL.
"""

import argparse
import ctypes
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
TRITON = ROOT / ".triton"
TOOLS = ROOT / ".tools"
PEERS = ROOT / ".peers"
LOCKS = ROOT / "requirements"
PROTOS = sorted((ROOT / "serving" / "proto").glob("*.proto"))
STAMPS = VENV / ".stamps"
STOREFRONT = ROOT / "examples" / "storefront-node"
SUPPORTED = ((3, 11), (3, 12))
OLDEST_NODE = 18  # Debian 12's
_NODE = {"node": "nodejs", "npm": "npm"}  # program and Debian's package
NEEDED_MB = 7_500  # 3.6 GB environment, 0.4 GB Triton, the world and its models, and pip's cache


class SetupFailed(Exception):
    """Set-up cannot go on; the message names the fix."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="say what is missing, change nothing")
    parser.add_argument("--storefront", action="store_true", help="build the example in Node, too")
    parser.add_argument(
        "--for-tests", action="store_true", help="see to servers and tools that tests use, too"
    )
    parser.add_argument("--peers", action="store_true", help="make the peers' environment, too")
    arguments = parser.parse_args()
    steps: list[tuple[str, Callable[[], str], Callable[[], None]]] = [
        ("application environment (2-3 GB, a minute or two)", _app_inputs, _make_app),
        ("vLLM (1.4 GB)", _writer_inputs, _make_writer),
        ("Vitrine itself", _package_inputs, _make_package),
        ("Triton server", _server_inputs, _make_server),
        ("Triton's Python environment", _stub_inputs, _make_stub),
        ("protobuf modules", _proto_inputs, _make_protos),
    ]
    if arguments.peers:
        steps.append(("peers' environment (1.5 GB, a minute or two)", _peers_inputs, _make_peers))
    try:
        _check_machine()
        _look_for_kubectl(may_install=not arguments.check)
        if arguments.for_tests:
            _look_for_redis(may_install=not arguments.check)
            _look_for_browser(may_install=not arguments.check)
            _look_for_postgres(may_install=not arguments.check)
            _look_for_spam_filter(may_install=not arguments.check)
        missing = [(name, key(), make) for name, key, make in steps if not _is_done(name, key())]
        if arguments.check:
            for name, _, _ in missing:
                print(f"missing: {name}")
            return 1 if missing else 0
        for at, (name, fingerprint, make) in enumerate(missing, start=1):
            print(f"[{at}/{len(missing)}] {name} …", flush=True)
            started = time.monotonic()
            make()
            _mark_done(name, fingerprint)
            print(f"[{at}/{len(missing)}] {name}: {time.monotonic() - started:.0f} s", flush=True)
    except SetupFailed as failure:
        print(f"set-up failed: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up interrupted; run it again to go on", file=sys.stderr)
        return 130
    if arguments.for_tests:
        _try("promtool", "the alerts' own tests are skipped", _make_promtool)
        _try("checkov", "the policy checks are skipped", _make_checkov)
    if arguments.storefront:
        _try_storefront()
    return 0


def _try(name: str, without: str, make: Callable[[], None]) -> None:
    """Tools that only tests need must not keep the rest from running."""
    try:
        make()
    except (SetupFailed, OSError) as failure:
        print(f"{name} cannot be had, {without}: {failure}", file=sys.stderr)


def _make_promtool() -> None:
    """Out of Debian's package, which would start a Prometheus if it were installed."""
    target = TOOLS / "bin" / "promtool"
    if target.exists() or shutil.which("promtool"):
        return
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise SetupFailed("it comes from Debian's package prometheus")
    with tempfile.TemporaryDirectory() as folder:
        _run(["apt-get", "download", "-qq", "prometheus"], "apt-get download", Path(folder))
        (package,) = Path(folder).glob("*.deb")
        _run(["dpkg-deb", "-x", str(package), f"{folder}/out"], "dpkg-deb")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(f"{folder}/out/usr/bin/promtool", target)


def _make_checkov() -> None:
    """In an environment of its own: it pins other versions of what the application uses."""
    lock = LOCKS / "checkov.lock"
    name, fingerprint = "checkov", _digest(lock)
    if (TOOLS / "checkov" / "bin" / "checkov").exists() and _is_done(name, fingerprint):
        return
    print("checkov, for the manifests (0.4 GB) …", flush=True)
    _make_venv(TOOLS / "checkov")
    _pip(TOOLS / "checkov", "--no-deps", "-r", str(lock))
    _mark_done(name, fingerprint)


def _try_storefront() -> None:
    """An example must not keep the rest from running."""
    try:
        _make_storefront()
    except SetupFailed as failure:
        print(
            f"the Node storefront is not built, its tests are skipped: {failure}", file=sys.stderr
        )


def _check_machine() -> None:
    if sys.version_info[:2] not in SUPPORTED:
        raise SetupFailed(
            f"Python {sys.version_info.major}.{sys.version_info.minor} runs this; 3.11 or 3.12 is"
            " needed. Install python3.11 and pass it on: make PYTHON=python3.11 …"
        )
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise SetupFailed("Triton's wheel is for Linux on x86-64; this machine is another")
    free_mb = shutil.disk_usage(ROOT).free // 1_000_000
    if not VENV.exists() and free_mb < NEEDED_MB:
        raise SetupFailed(f"{free_mb} MB free here, about {NEEDED_MB} MB are needed")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    packages = []
    if importlib.util.find_spec("ensurepip") is None:
        packages.append(f"python{version}-venv")
    if not _has_libpython(version):
        packages.append(f"libpython{version}")
    if packages:
        _install_system(packages)


def _look_for_kubectl(*, may_install: bool) -> None:
    """`make check` builds the Kubernetes manifests with `kubectl kustomize`.

    From whatever package source this machine has it; Debian 12's own (kubernetes-client 1.20) is
    too old to know components.
    """
    if shutil.which("kubectl"):
        return
    try:
        if not may_install or shutil.which("apt-cache") is None:
            raise SetupFailed("system packages are missing: kubectl")
        known = subprocess.run(
            ["apt-cache", "show", "kubectl"], capture_output=True, check=False
        ).returncode
        if known:
            raise SetupFailed("no package source of this machine has kubectl 1.21 or later")
        _install_system(["kubectl"])
    except SetupFailed as failure:
        print(f"{failure}; without it the manifests in k8s/ go unchecked", flush=True)


def _look_for_redis(*, may_install: bool) -> None:
    """Tests start a Redis server of their own.

    The package redis-tools holds the program, as redis-check-rdb: it is a server if it is called
    redis-server. The package of that name adds a link, and a service that runs from then on.
    """
    if shutil.which("redis-server") or shutil.which("redis-check-rdb"):
        return
    try:
        if not may_install:
            raise SetupFailed("system packages are missing: redis-tools")
        _install_system(["redis-tools"])
    except SetupFailed as failure:
        print(f"{failure}; without it the tests on Redis are skipped", flush=True)


def _look_for_postgres(*, may_install: bool) -> None:
    """Tests start a PostgreSQL server of their own; Debian keeps its programs off the path."""
    if any(Path("/usr/lib/postgresql").glob("*/bin/postgres")):
        return
    try:
        if not may_install:
            raise SetupFailed("system packages are missing: postgresql")
        _install_system(["postgresql"])
    except SetupFailed as failure:
        print(f"{failure}; without it the tests on PostgreSQL are skipped", flush=True)


def _look_for_browser(*, may_install: bool) -> None:
    """Tests look at the console in Chromium, as Debian packages it."""
    if any(shutil.which(name) for name in ("chromium", "chromium-browser", "google-chrome")):
        return
    try:
        if not may_install:
            raise SetupFailed("system packages are missing: chromium")
        _install_system(["chromium"])
    except SetupFailed as failure:
        print(f"{failure}; without it the console's tests are skipped", flush=True)


def _look_for_spam_filter(*, may_install: bool) -> None:
    """Campaigns are read by SpamAssassin where there is one; tests ask the real one."""
    if shutil.which("spamassassin"):
        return
    try:
        if not may_install:
            raise SetupFailed("system packages are missing: spamassassin")
        _install_system(["spamassassin"])
    except SetupFailed as failure:
        print(f"{failure}; without it the spam filter's tests are skipped", flush=True)


def _has_libpython(version: str) -> bool:
    """Triton's python backend links libpython; a static Python has none beside it."""
    name = f"libpython{version}.so.1.0"
    if (Path(sysconfig.get_config_var("LIBDIR") or "/usr/lib") / name).exists():
        return True
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True


def _install_system(packages: list[str]) -> None:
    command = f"apt-get install -y --no-install-recommends {' '.join(packages)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise SetupFailed(f"system packages are missing; as root: {command}")
    print(f"system packages missing: {command}", flush=True)
    _run(["apt-get", "update", "-qq"], "apt-get")
    _run(command.split(), "apt-get")


def _digest(*paths: Path) -> str:
    digest = hashlib.sha256(sys.version.encode())
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _app_inputs() -> str:
    return _digest(LOCKS / "app.lock")


def _writer_inputs() -> str:
    return _digest(LOCKS / "app.lock", LOCKS / "writer.lock")


def _package_inputs() -> str:
    return _digest(LOCKS / "app.lock", ROOT / "pyproject.toml")


def _server_inputs() -> str:
    return _digest(LOCKS / "triton-server.lock")


def _stub_inputs() -> str:
    return _digest(LOCKS / "triton-stub.lock")


def _peers_inputs() -> str:
    return _digest(LOCKS / "peers.lock")


def _proto_inputs() -> str:
    return _digest(LOCKS / "app.lock", *PROTOS)


def _stamp(name: str) -> Path:
    return STAMPS / hashlib.sha256(name.encode()).hexdigest()[:16]


def _is_done(name: str, fingerprint: str) -> bool:
    stamp = _stamp(name)
    return stamp.exists() and stamp.read_text() == fingerprint and _results_exist(name)


def _results_exist(name: str) -> bool:
    needed = {
        "Triton server": [TRITON / "server"],
        "Triton's Python environment": [TRITON / "stub" / "bin" / "python"],
        "peers' environment (1.5 GB, a minute or two)": [PEERS / "bin" / "python"],
        "protobuf modules": [path.with_name(f"{path.stem}_pb2_grpc.py") for path in PROTOS],
    }.get(name, [VENV / "bin" / "python"])
    return all(path.exists() for path in needed)


def _mark_done(name: str, fingerprint: str) -> None:
    STAMPS.mkdir(parents=True, exist_ok=True)
    _stamp(name).write_text(fingerprint)


def _make_app() -> None:
    _make_venv(VENV)
    _pip(VENV, "-r", str(LOCKS / "app.lock"))


def _make_writer() -> None:
    """Without what its packages ask for: the lock is complete, and says what it leaves out."""
    _pip(VENV, "--no-deps", "-r", str(LOCKS / "writer.lock"))


def _make_package() -> None:
    _pip(VENV, "--no-deps", "--no-build-isolation", "-e", str(ROOT))


def _make_server() -> None:
    shutil.rmtree(TRITON / "server", ignore_errors=True)
    lock = LOCKS / "triton-server.lock"
    _pip(VENV, "--no-deps", "--target", str(TRITON / "server"), "-r", str(lock))


def _make_stub() -> None:
    _make_venv(TRITON / "stub")
    _pip(TRITON / "stub", "-r", str(LOCKS / "triton-stub.lock"))


def _make_peers() -> None:
    _make_venv(PEERS)
    _pip(PEERS, "--no-deps", "-r", str(LOCKS / "peers.lock"))


def _make_protos() -> None:
    outputs = [f"--{kind}=." for kind in ("python_out", "grpc_python_out", "pyi_out")]
    names = [str(path.relative_to(ROOT)) for path in PROTOS]
    _run([str(VENV / "bin" / "python"), "-m", "grpc_tools.protoc", "-I", ".", *outputs, *names])


def _make_storefront() -> None:
    """Node's packages if the lock changed (some seconds), and always the build (one)."""
    missing = [package for program, package in _NODE.items() if shutil.which(program) is None]
    if missing:
        _install_system(missing)
    asked = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False)
    version = asked.stdout.strip()
    if not version.startswith("v") or int(version[1:].split(".")[0]) < OLDEST_NODE:
        raise SetupFailed(f"Node is {version or 'broken'}, at least {OLDEST_NODE} is needed")
    name, fingerprint = "storefront packages", _digest(STOREFRONT / "package-lock.json")
    if not (_is_done(name, fingerprint) and (STOREFRONT / "node_modules").exists()):
        print("Node packages of the storefront …", flush=True)
        _run(["npm", "ci", "--loglevel", "error"], "npm ci", STOREFRONT)
        _mark_done(name, fingerprint)
    _run(["npm", "run", "--silent", "build"], "npm run build", STOREFRONT)


def _make_venv(folder: Path) -> None:
    if (folder / "bin" / "python").exists():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    _run([sys.executable, "-m", "venv", str(folder)])


def _pip(venv: Path, *arguments: str) -> None:
    bar = "on" if sys.stderr.isatty() else "off"
    options = ["--quiet", "--disable-pip-version-check", "--progress-bar", bar]
    _run([str(venv / "bin" / "python"), "-m", "pip", "install", *options, *arguments])


def _run(command: list[str], name: str | None = None, folder: Path = ROOT) -> None:
    result = subprocess.run(command, cwd=folder, check=False)
    if result.returncode:
        raise SetupFailed(f"{name or ' '.join(command[:6])} ended with {result.returncode}")


if __name__ == "__main__":
    raise SystemExit(main())
