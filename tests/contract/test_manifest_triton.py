"""Triton as the manifest starts it, by its own arguments, and the canary beside it; for real."""

import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from export.fleet import wait_until_everywhere
from export.promote import Shelf, promote
from k8s.checks.monitoring import TRITON_METRICS
from serving.adapters.release_files import current_release, read_release_manifest
from serving.stack.ports import free_port
from serving.stack.processes import tied_to_parent
from serving.triton.process import remove_shared_memory
from serving.triton.repository import remove_version
from serving.triton.runtime import find_runtime, server_environment
from shop.errors import ReleaseRejected
from tests.contract.running_triton import a_state
from tests.contract.small_release import KEY
from tests.design.built_manifests import a_cluster, needs_kubectl

pytestmark = needs_kubectl
PATIENCE_S = 60.0
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Pod:
    """One Triton with its canary."""

    state: Path
    http: int
    metrics: int
    canary: int

    def says(self, port: int, path: str) -> tuple[int, str]:
        """Status and text; 0 where nobody answers."""
        try:
            with _OPENER.open(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (urllib.error.URLError, OSError):
            return 0, ""

    def becomes(self, path: str, status: int) -> bool:
        """Whether the canary says so within a minute."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            if self.says(self.canary, path)[0] == status:
                return True
            time.sleep(0.1)
        return False


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    state = a_state(tmp_path_factory.mktemp("pod") / "store", versions=(1,))
    ports = {name: free_port() for name in ("http", "grpc", "metrics")}
    canary = free_port()
    runtime = find_runtime()
    prefix = f"vitrine_pod_{canary}_"
    own = [
        str(runtime.server_file),
        *_manifest_arguments(state, ports),
        f"--backend-directory={runtime.backends_folder}",
        f"--cache-directory={runtime.caches_folder}",
        f"--backend-config=python,shm-region-prefix-name={prefix}",
        "--http-address=127.0.0.1",
        "--grpc-address=127.0.0.1",
        "--metrics-address=127.0.0.1",
        "--allow-gpu-metrics=false",
        "--pinned-memory-pool-byte-size=0",
    ]
    watch = [sys.executable, "-m", "serving.triton.watch"]
    watch += ["--triton", f"127.0.0.1:{ports['grpc']}", "--port", str(canary)]
    with (state / "triton.log").open("wb") as log:
        server = subprocess.Popen(
            tied_to_parent(own, signal.SIGKILL),
            stdout=log,
            stderr=log,
            env=server_environment(runtime, state / "keys" / "release.key"),
            cwd=runtime.backends_folder.parent,
            start_new_session=True,
        )
        watcher = subprocess.Popen(
            tied_to_parent(watch, signal.SIGKILL), stdout=log, stderr=log, cwd=Path.cwd()
        )
    try:
        yield Pod(state, ports["http"], ports["metrics"], canary)
    finally:
        left = psutil.Process(server.pid).children(recursive=True)
        for process in (watcher, server):
            process.kill()
            process.wait()
        for child in left:
            if child.is_running():
                child.kill()
        remove_shared_memory(prefix)


def _manifest_arguments(state: Path, ports: dict[str, int]) -> list[str]:
    """The manifest's, with this machine's ports and folder."""
    triton = a_cluster("cpu-local").named("Deployment", "vitrine-triton")
    assert triton is not None
    arguments: list[str] = triton["spec"]["template"]["spec"]["containers"][0]["args"]
    changed = []
    for argument in arguments:
        port = re.fullmatch(r"--(http|grpc|metrics)-port=\d+", argument)
        changed.append(f"--{port[1]}-port={ports[port[1]]}" if port else argument)
    repository = "--model-repository=/store/model_repository"
    assert repository in changed
    changed[changed.index(repository)] = f"--model-repository={state / 'model_repository'}"
    return changed


def test_the_canary_lets_the_pod_in_once_every_model_answers(pod: Pod) -> None:
    assert pod.becomes("/ready", 200), pod.says(pod.canary, "/ready")
    assert pod.says(pod.canary, "/live")[0] == 200
    assert (
        'vitrine_canary_sound{model="ranker",version="1"} 1' in pod.says(pod.canary, "/metrics")[1]
    )


def test_triton_exports_what_scalers_and_alerts_ask_for(pod: Pod) -> None:
    assert pod.becomes("/ready", 200)
    text = pod.says(pod.metrics, "/metrics")[1]
    assert {name for name in TRITON_METRICS if f"# TYPE {name} " not in text} == set()


def test_a_promotion_waits_until_every_triton_serves_the_release(pod: Pod, tmp_path: Path) -> None:
    newer = a_state(tmp_path / "newer", versions=(2,))
    (release,) = [each for each in (newer / "releases").iterdir() if each.is_dir()]
    release.rename(pod.state / "releases" / release.name)
    shelf = Shelf(
        pod.state / "releases",
        pod.state / "model_repository",
        pod.state / "run" / "triton.json",
        f"127.0.0.1:{pod.http}",
    )
    manifest = read_release_manifest(pod.state / "releases" / release.name, KEY)
    with pytest.raises(ReleaseRejected, match="not served everywhere"):
        wait_until_everywhere(shelf.fleet, manifest, within_s=0.5)
    promote(release.name, shelf, KEY)
    assert current_release(shelf.releases_root) == release.name
    wait_until_everywhere(shelf.fleet, manifest, within_s=0.5)
    assert pod.becomes("/ready", 200)


def test_a_dead_model_takes_the_pod_out_although_triton_calls_itself_live(pod: Pod) -> None:
    assert pod.becomes("/ready", 200)
    stubs = [
        process
        for process in psutil.process_iter()
        if "triton_python_backend_stub" in process.name() + " ".join(_words(process))
        and any(str(pod.state) in word and "ranker" in word for word in _words(process))
    ]
    assert stubs, "no process serves the ranker"
    for stub in stubs:
        stub.kill()
    assert pod.becomes("/ready", 503), pod.says(pod.canary, "/ready")
    assert "ranker" in pod.says(pod.canary, "/ready")[1]
    assert pod.says(pod.http, "/v2/health/live")[0] == 200  # which is why there is a canary


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def test_a_repository_without_models_keeps_the_pod_out(pod: Pod) -> None:
    for version in (1, 2):
        remove_version(pod.state / "model_repository", version)
    assert pod.becomes("/ready", 503)
    assert (
        "not loaded" in pod.says(pod.canary, "/ready")[1]
        or "ranker" in pod.says(pod.canary, "/ready")[1]
    )
