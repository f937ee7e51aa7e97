"""A stack's life: what is learnt is not learnt again, and nothing is ever left behind."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.stack.folder import StateFolder
from serving.stack.processes import marked
from tests.e2e.running_stack import RunningStack, eventually, vitrine

LEARNT = ("world-quick", "snapshots", "models", "releases", "keys", "model_repository")


def with_what_was_learnt(stack: RunningStack, state_dir: Path) -> Path:
    """A state folder with the same world and release, not running."""
    for name in LEARNT:
        shutil.copytree(stack.state_dir / name, state_dir / name)
    return state_dir


@pytest.fixture
def another_state(stack: RunningStack, tmp_path: Path) -> Iterator[Path]:
    yield with_what_was_learnt(stack, tmp_path / "state")
    vitrine("down", state_dir=tmp_path / "state")


@pytest.fixture(scope="module")
def second(
    stack: RunningStack, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[RunningStack, str]]:
    """A second stack over what the first one learnt, and what its start printed.

    Its folder also holds what a stack that was killed left there.
    """
    state_dir = with_what_was_learnt(stack, tmp_path_factory.mktemp("second") / "state")
    shutil.copytree(stack.folder.run, state_dir / "run")
    up = vitrine("up", "--quick", "--detach", state_dir=state_dir)
    assert up.returncode == 0, up.stderr
    running = RunningStack(state_dir)
    yield running, up.stdout
    running.client.close()
    vitrine("down", state_dir=state_dir)


def starting(state_dir: Path) -> subprocess.Popen[str]:
    argv = [sys.executable, "-m", "vitrine", "up", "--quick", "--state-dir", str(state_dir)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def test_a_second_start_learns_nothing_and_serves_the_same_release(
    stack: RunningStack, second: tuple[RunningStack, str]
) -> None:
    running, printed = second
    for step in ("world", "learning", "export"):
        assert step in (stack.state_dir / "first_up.txt").read_text()
        assert step not in printed
    for path in (stack.state_dir / "models").rglob("*"):
        same = running.state_dir / path.relative_to(stack.state_dir)
        assert same.is_dir() or same.read_bytes() == path.read_bytes()
    assert running.state.release == stack.state.release
    assert running.state.door != stack.state.door
    assert len(running.home(running.known_shopper).items) == 20


def test_a_killed_supervisor_takes_all_with_it(second: tuple[RunningStack, str]) -> None:
    running, _ = second
    supervisor = running.folder.holder()
    assert supervisor is not None
    os.kill(supervisor, signal.SIGKILL)
    assert eventually(running.nothing_is_left)
    status = running.cli("status")
    assert status.returncode == 1
    assert "start one with `vitrine up`" in status.stderr
    assert "no stack was running" in running.cli("down").stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_while_starting_leaves_nothing(another_state: Path, number: signal.Signals) -> None:
    up = starting(another_state)
    folder = StateFolder(another_state)

    def has_begun() -> bool:
        state = folder.last_state()
        return state is not None and any(service.pid for service in state.services)

    assert eventually(has_begun)
    up.send_signal(number)
    printed, _ = up.communicate(timeout=60)
    assert up.returncode == 130, printed
    assert "Traceback" not in printed
    assert not marked(folder.name)
    assert folder.last_state() is None


def test_a_stop_while_preparing_leaves_nothing(tmp_path: Path) -> None:
    up = starting(tmp_path / "fresh")
    folder = StateFolder(tmp_path / "fresh")
    assert eventually(lambda: (tmp_path / "fresh" / "world-quick").exists())
    up.send_signal(signal.SIGTERM)
    printed, _ = up.communicate(timeout=60)
    assert up.returncode == 130, printed
    assert "Traceback" not in printed
    assert not marked(folder.name)
    assert not folder.is_locked()


def test_a_second_stack_in_the_same_folder_is_refused(stack: RunningStack) -> None:
    up = stack.cli("up", "--quick")
    assert up.returncode == 1
    assert "already running here" in up.stderr
    assert "vitrine down" in up.stderr


def test_data_that_is_none_is_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"\xff\xd8")
    up = vitrine("up", "--data", str(tmp_path / "photos"), state_dir=tmp_path / "state")
    assert up.returncode == 1
    assert "online-retail" in up.stderr
    assert "Traceback" not in up.stderr


def test_the_gpu_profile_says_what_is_missing(stack: RunningStack) -> None:
    up = stack.cli("up", "--profile", "gpu")
    assert up.returncode == 1
    assert "--profile gpu:" in up.stderr


def test_a_setting_that_nobody_knows_stops_the_start(tmp_path: Path) -> None:
    settings = tmp_path / "mine.toml"
    settings.write_text("[door]\nprot = 9100\n")
    up = vitrine("up", "--settings", str(settings), state_dir=tmp_path / "state")
    assert up.returncode == 1
    assert "door.prot" in up.stderr


def test_status_shows_services_release_addresses_and_memory(stack: RunningStack) -> None:
    status = stack.cli_json("status")
    assert status["serves"] is True
    assert status["release"] == stack.prepared.release
    assert {s["name"] for s in status["services"]} == {"backends", "triton", "door", "console"}
    assert all(s["is_ready"] for s in status["services"])
    systems = {"inventory", "pricing", "promotions", "costs", "supply"}
    assert systems | {"triton", "metrics"} <= set(status["addresses"])
    assert status["pss_bytes"] < 4e9
    shown = stack.cli("status").stdout
    assert stack.state.door in shown


def test_the_command_line_asks_and_logs(stack: RunningStack) -> None:
    shown = stack.cli("recommend", "--user", stack.known_shopper, "-n", "5", "--explain")
    assert shown.returncode == 0
    assert "candidates scored by" in shown.stdout
    answer = stack.cli_json("recommend", "--user", stack.known_shopper, "-n", "5")
    assert len(answer["items"]) == 5
    product = answer["items"][0]["product_id"]
    receipt = stack.cli_json("event", "click", "--user", "cli", "--product", product)
    assert receipt["accepted"] == 1
    wrong = stack.cli("recommend", "--user", "u", "--filter", "price <")
    assert wrong.returncode == 1
    assert "filter" in wrong.stderr


def test_a_short_load_test_passes_and_its_report_is_a_page(
    stack: RunningStack, tmp_path: Path
) -> None:
    words = ("browse", "--rate", "20", "--duration", "3", "--warm-up", "1", "--p99-ms", "2000")
    # Whether the machine is quiet enough to judge is the canary's own test.
    ran = stack.cli(
        "loadtest", *words, "--no-canary", "--json", "--report", str(tmp_path / "report")
    )
    assert ran.returncode == 0, ran.stderr
    summary = json.loads(ran.stdout)
    assert summary["passed"] is True
    assert summary["errors"] == {}
    assert (tmp_path / "report" / "index.html").exists()


def test_a_load_test_that_misses_its_limit_fails(stack: RunningStack) -> None:
    words = ("browse", "--rate", "20", "--duration", "1", "--warm-up", "0", "--p99-ms", "0.01")
    ran = stack.cli("loadtest", *words, "--no-canary")
    assert ran.returncode == 1
    assert "FAILED" in ran.stdout


def test_releases_are_listed_with_the_active_one(stack: RunningStack) -> None:
    listed = stack.cli_json("releases")["releases"]
    (active,) = [release for release in listed if release["is_current"]]
    assert active["release"] == stack.prepared.release
