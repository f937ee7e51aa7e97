"""The real Triton server under its supervisor: answers, batches, refuses, recovers."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc.aio as triton_aio
from tritonclient.utils import InferenceServerException

from export.command import shelf_of
from export.promote import promote, rollback
from serving.adapters.release_files import current_release
from serving.triton.process import shared_memory_prefix
from serving.triton.repository import MODEL, install_version, keep_versions
from serving.triton.status import STATUS_FILE
from shop.errors import ReleaseRejected
from shop.release import MANIFEST
from shop.tensors import MODELS, RANKER, USER_TOWER
from tests.contract.running_triton import RunningTriton, a_state, is_alive, tensors
from tests.contract.small_release import KEY, PRODUCT_COUNT, SCHEMA, a_release, sign, some_inputs

RECOVERY_S = 10.0  # the promise: full quality again within


@pytest.fixture(scope="module")
def triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    state = a_state(tmp_path_factory.mktemp("stack") / "state", versions=(1, 2))
    with RunningTriton(state) as running:
        running.eventually(lambda: running.is_ready(1, 2))
        yield running


def _release(triton: RunningTriton, version: int) -> Path:
    return next((triton.state / "releases").glob(f"r{version:04d}-*"))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("version", [1, 2])
def test_each_version_answers_like_the_model_file_itself(
    triton: RunningTriton, model: str, version: int
) -> None:
    inputs = some_inputs(np.random.default_rng(1), model, batch=3)
    session = onnxruntime.InferenceSession(_release(triton, version) / f"{model}.onnx")
    expected = session.run(None, inputs)[0]
    np.testing.assert_allclose(
        triton.infer(model, inputs, version=version), expected, rtol=1e-5, atol=1e-6
    )


def test_status_names_the_release_of_each_version(triton: RunningTriton) -> None:
    releases = {(m.model, m.version): m.release for m in triton.status.models}
    assert releases[USER_TOWER, 1] == releases[RANKER, 1] == "r0001-seed1"
    assert releases[USER_TOWER, 2] == releases[RANKER, 2] == "r0002-seed2"


def test_requests_that_wait_are_run_as_one_batch(triton: RunningTriton) -> None:
    before = _counts(triton, RANKER)
    answers, _ = asyncio.run(_many(triton, RANKER, count=64))
    assert {str(answer) for answer in answers if isinstance(answer, BaseException)} == set()
    # Triton counts a batch after its answers have left.
    triton.eventually(lambda: _counts(triton, RANKER)[0] - before[0] >= 64)
    requests, executions = np.subtract(_counts(triton, RANKER), before)
    assert executions < requests / 2


def test_every_answer_of_a_batch_belongs_to_its_request(triton: RunningTriton) -> None:
    answers, inputs = asyncio.run(_many(triton, RANKER, count=48, lengths=(64, 128)))
    session = onnxruntime.InferenceSession(_release(triton, 1) / "ranker.onnx")
    for answer, asked in zip(answers, inputs, strict=True):
        np.testing.assert_allclose(answer, session.run(None, asked)[0], rtol=1e-5, atol=1e-6)


def test_bad_request_fails_alone_in_its_batch(triton: RunningTriton) -> None:
    answers, _ = asyncio.run(_many(triton, USER_TOWER, count=32, broken=7))
    failed = [at for at, answer in enumerate(answers) if isinstance(answer, Exception)]
    assert failed == [7]
    assert "out of data bounds" in str(answers[7])


def test_wrong_history_length_is_refused_by_name(triton: RunningTriton) -> None:
    inputs = some_inputs(np.random.default_rng(0), USER_TOWER)
    inputs["history_rows"] = inputs["history_rows"][:, :3]
    with pytest.raises(InferenceServerException, match=r"history_rows.*\[-1,5\].*\[1,3\]"):
        triton.infer(USER_TOWER, inputs)


def test_models_cannot_be_managed_without_the_secret(triton: RunningTriton) -> None:
    with pytest.raises(InferenceServerException, match="restricted"):
        triton.client.unload_model(USER_TOWER)
    with pytest.raises(InferenceServerException, match="restricted"):
        triton.client.get_system_shared_memory_status()


def test_metrics_are_on_the_loopback(triton: RunningTriton) -> None:
    import urllib.request

    with urllib.request.urlopen(f"http://{triton.status.metrics_address}/metrics") as answer:
        text = answer.read().decode()
    assert 'nv_inference_queue_duration_us{model="ranker",version="1"}' in text


def test_second_supervisor_of_a_state_folder_is_refused(triton: RunningTriton) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "serving.triton.server", "--state-dir", str(triton.state)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert second.returncode == 1
    assert "another supervisor" in second.stderr


def test_killed_stub_is_replaced_and_the_other_version_stays(triton: RunningTriton) -> None:
    neighbour = triton.stub(RANKER, 2)
    os.kill(triton.stub(RANKER, 1), signal.SIGKILL)
    triton.eventually(lambda: not _answers(triton, RANKER, 1))
    triton.eventually(lambda: _answers(triton, RANKER, 1), RECOVERY_S)
    assert triton.stub(RANKER, 2) == neighbour
    assert _answers(triton, RANKER, 2)


def test_frozen_stub_is_replaced(triton: RunningTriton) -> None:
    frozen = triton.stub(USER_TOWER, 1)
    os.kill(frozen, signal.SIGSTOP)
    triton.eventually(lambda: _answers(triton, USER_TOWER, 1), RECOVERY_S + 2)
    triton.eventually(lambda: not is_alive(frozen))


def test_stubs_that_are_killed_while_they_start_do_not_hang_the_load(
    triton: RunningTriton,
) -> None:
    until_s = time.monotonic() + 1.5
    while time.monotonic() < until_s:
        for pid in triton.stubs(RANKER, 1):
            os.kill(pid, signal.SIGKILL)
    triton.eventually(lambda: _answers(triton, RANKER, 1), 2 * RECOVERY_S)
    triton.eventually(lambda: triton.is_ready(1, 2))


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP])
def test_server_that_dies_or_freezes_comes_back_on_its_port(
    triton: RunningTriton, blow: signal.Signals
) -> None:
    triton.eventually(lambda: triton.is_ready(1, 2))
    before = triton.status
    os.kill(before.server_pid, blow)
    triton.eventually(lambda: triton.status.restarts == before.restarts + 1)
    took_s = triton.eventually(lambda: triton.is_ready(1, 2), RECOVERY_S)
    assert took_s < RECOVERY_S
    assert triton.status.grpc_address == before.grpc_address
    assert _answers(triton, RANKER, 1)  # through the client that was open all the time
    assert not is_alive(before.server_pid)


def test_new_version_is_loaded_beside_the_old_and_old_ones_are_let_go(
    triton: RunningTriton,
) -> None:
    folder, manifest = a_release(triton.state / "releases", version=3, seed=3)
    untouched = triton.stub(RANKER, 2)
    repository = triton.state / "model_repository"
    install_version(folder, manifest, repository)
    triton.eventually(lambda: triton.is_ready(2, 3))
    assert triton.stub(RANKER, 2) == untouched
    keep_versions(repository, frozenset({1, 2}))
    triton.eventually(lambda: not triton.status.is_ready(3))
    triton.eventually(lambda: not _answers(triton, RANKER, 3))
    assert _answers(triton, RANKER, 1)


def _damage(repository: Path, version: int) -> None:
    _flip_a_byte(repository / RANKER / str(version) / MODEL)


def _flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _mix(repository: Path, version: int) -> None:
    other, _ = a_release(repository.parent / "mixed", version=version, seed=99)
    target = repository / RANKER / str(version)
    shutil.copyfile(other / "ranker.onnx", target / MODEL)
    shutil.copyfile(other / MANIFEST, target / MANIFEST)


def _forge(repository: Path, version: int) -> None:
    text = (repository / RANKER / str(version) / MANIFEST).read_text()
    forged = text.replace('"created_ms": 0', '"created_ms": 1')
    assert forged != text
    for model in MODELS:
        (repository / model / str(version) / MANIFEST).write_text(forged)


def _break(repository: Path, version: int) -> None:
    """Signed as it is, but no model: only Triton can find that out."""
    folder, _ = a_release(repository.parent / "broken", version=version, seed=version)
    (folder / "ranker.onnx").write_bytes(b"no graph")
    manifest = sign(folder, folder.name, version)
    install_version(folder, manifest, repository)


@pytest.mark.parametrize(
    ("version", "harm", "reason"),
    [
        (4, _damage, "damaged or from another release"),
        (5, _mix, "mixes models of two releases"),
        (6, _forge, "signature does not match"),
        (7, _break, "INVALID_PROTOBUF"),
    ],
)
def test_version_that_cannot_be_served_is_refused_and_the_others_stay(
    triton: RunningTriton, version: int, harm: Callable[[Path, int], None], reason: str
) -> None:
    folder, manifest = a_release(triton.state / "releases", version=version, seed=version)
    prepared = triton.state / f"prepared-{version}"
    install_version(folder, manifest, prepared)
    harm(prepared, version)
    untouched = triton.stub(RANKER, 1)
    for model in MODELS:
        target = triton.state / "model_repository" / model / str(version)
        (prepared / model / str(version)).rename(target)
    triton.eventually(lambda: reason in _reason(triton, RANKER, version))
    assert not triton.status.is_ready(version)
    assert triton.is_ready(1, 2)
    assert triton.stub(RANKER, 1) == untouched

    restarts = triton.status.restarts
    os.kill(triton.status.server_pid, signal.SIGKILL)
    triton.eventually(lambda: triton.status.restarts > restarts)
    triton.eventually(lambda: triton.is_ready(1, 2), RECOVERY_S)

    keep_versions(triton.state / "model_repository", frozenset({1, 2}))
    triton.eventually(lambda: {m.version for m in triton.status.models} == {1, 2})


@pytest.mark.parametrize("folder", ["model_repository", "run/triton_models"])
def test_model_file_damaged_while_served_is_replaced_by_its_copy(
    triton: RunningTriton, folder: str
) -> None:
    _flip_a_byte(triton.state / folder / RANKER / "1" / MODEL)
    os.kill(triton.stub(RANKER, 1), signal.SIGKILL)
    triton.eventually(lambda: not _answers(triton, RANKER, 1))
    triton.eventually(lambda: _answers(triton, RANKER, 1), RECOVERY_S)
    served = triton.state / "run" / "triton_models" / RANKER / "1" / MODEL
    sound = _release(triton, 1) / "ranker.onnx"
    assert served.read_bytes() == sound.read_bytes()
    triton.eventually(lambda: triton.is_ready(1, 2))
    shutil.copyfile(sound, triton.state / "model_repository" / RANKER / "1" / MODEL)


def test_release_with_other_tensors_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    """Triton has one configuration for all versions of a model: the two cannot be side by side."""
    with RunningTriton(a_state(tmp_path / "state")) as triton:
        triton.eventually(lambda: triton.is_ready(1))
        schema = replace(SCHEMA, history_length=9, heads=("purchase", "return"))
        folder, manifest = a_release(triton.state / "releases", version=2, schema=schema)
        install_version(folder, manifest, triton.state / "model_repository")
        triton.eventually(lambda: triton.is_ready(2), RECOVERY_S)
        inputs = some_inputs(np.random.default_rng(0), RANKER, schema=schema)
        assert triton.infer(RANKER, inputs, version=2).shape == (1, 64, 2)
        triton.eventually(lambda: "another configuration" in _reason(triton, RANKER, 1))
        assert triton.status.restarts == 0


def test_promotion_and_rollback_wait_for_the_running_server(tmp_path: Path) -> None:
    shelf = shelf_of(a_state(tmp_path / "state", versions=()))
    for version in (1, 2, 3):
        a_release(shelf.releases_root, version=version, seed=version)
    with RunningTriton(tmp_path / "state") as triton:
        for version in (1, 2):
            promote(f"r000{version}-seed{version}", shelf, KEY)
            assert current_release(shelf.releases_root) == f"r000{version}-seed{version}"
            assert _answers(triton, RANKER, version)
        rollback(shelf, KEY)
        assert _answers(triton, RANKER, 1)

        (shelf.releases_root / "r0003-seed3" / "ranker.onnx").write_bytes(b"no graph")
        sign(shelf.releases_root / "r0003-seed3", "r0003-seed3", 3)
        with pytest.raises(
            ReleaseRejected, match=r"r0003-seed3 is not answered by Triton: .*INVALID"
        ):
            promote("r0003-seed3", shelf, KEY)
        assert current_release(shelf.releases_root) == "r0001-seed1"
        triton.eventually(lambda: {m.version for m in triton.status.models} == {1, 2})
        assert triton.is_ready(1, 2)


def test_overloaded_model_is_left_alone(tmp_path: Path) -> None:
    """A canary that waits behind a long queue is no reason to throw the queue away."""
    with RunningTriton(a_state(tmp_path / "state", is_slow=True)) as triton:
        triton.eventually(lambda: triton.is_ready(1))
        triton.infer(RANKER, some_inputs(np.random.default_rng(0), RANKER, candidates=500))
        began_s = time.monotonic()
        answers, _ = asyncio.run(_many(triton, RANKER, count=200, lengths=(500,)))
        took_s = time.monotonic() - began_s
        assert took_s > 1.6, "not enough load to make a canary late"
        assert [str(answer) for answer in answers if isinstance(answer, BaseException)] == []
        triton.eventually(lambda: triton.is_ready(1))
        assert [model.reloads for model in triton.status.models] == [0, 0]
        assert triton.status.restarts == 0


def test_stop_leaves_no_process_and_no_shared_memory(tmp_path: Path) -> None:
    with RunningTriton(a_state(tmp_path / "state")) as triton:
        triton.eventually(lambda: triton.is_ready(1))
        ports = triton.status.grpc_address
    assert triton.supervisor.returncode == 0
    assert triton.processes() == {}
    assert not triton.status.is_live
    assert _segments(triton.state) == []
    with RunningTriton(triton.state) as again:
        again.eventually(lambda: again.is_ready(1))
        assert again.status.grpc_address == ports


def test_killed_supervisor_takes_the_server_along(tmp_path: Path) -> None:
    with RunningTriton(a_state(tmp_path / "state")) as triton:
        triton.eventually(lambda: triton.is_ready(1))
        server = triton.status.server_pid
        triton.supervisor.kill()
        triton.supervisor.wait()
        triton.eventually(lambda: not is_alive(server))
    with RunningTriton(triton.state) as again:
        again.eventually(lambda: again.is_ready(1))
        assert server not in again.processes()
    assert _segments(triton.state) == []


def test_supervisor_ends_with_its_parent(tmp_path: Path) -> None:
    state = a_state(tmp_path / "state")
    script = (
        "import subprocess, sys; subprocess.Popen([sys.executable, '-m', 'serving.triton.server',"
        f"'--state-dir', {str(state)!r}, '--die-with-parent']); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE)
    watched = RunningTriton(state)
    watched.eventually(lambda: (state / "run" / STATUS_FILE).exists() and watched.is_ready(1))
    parent.kill()
    parent.communicate()
    watched.eventually(lambda: not is_alive(watched.status.supervisor_pid))
    watched.eventually(lambda: watched.processes() == {})


def _segments(state: Path) -> list[Path]:
    return list(Path("/dev/shm").glob(f"{shared_memory_prefix(state)}*"))


def _reason(triton: RunningTriton, model: str, version: int) -> str:
    return "".join(
        status.reason
        for status in triton.status.models
        if (status.model, status.version) == (model, version)
    )


def _answers(triton: RunningTriton, model: str, version: int) -> bool:
    inputs = some_inputs(np.random.default_rng(0), model)
    try:
        triton.infer(model, inputs, version=version, timeout_s=1.0)
    except InferenceServerException:
        return False
    return True


def _counts(triton: RunningTriton, model: str) -> tuple[int, int]:
    """Requests answered and executions made, all versions."""
    stats = triton.client.get_inference_statistics(model).model_stats
    return sum(s.inference_count for s in stats), sum(s.execution_count for s in stats)


async def _many(
    triton: RunningTriton,
    model: str,
    *,
    count: int,
    lengths: tuple[int, ...] = (64,),
    broken: int | None = None,
) -> tuple[list[object], list[dict[str, object]]]:
    """Answers (or errors) of `count` calls made at once, and what was asked."""
    rng = np.random.default_rng(2)
    asked = [some_inputs(rng, model, candidates=lengths[at % len(lengths)]) for at in range(count)]
    if broken is not None:
        asked[broken]["history_rows"][:] = PRODUCT_COUNT + 5
    async with triton_aio.InferenceServerClient(triton.status.grpc_address) as client:
        answers = await asyncio.gather(
            *(client.infer(model, tensors(inputs), model_version="1") for inputs in asked),
            return_exceptions=True,
        )
    return [
        answer
        if isinstance(answer, BaseException)
        else answer.as_numpy(answer.get_response().outputs[0].name)
        for answer in answers
    ], asked
