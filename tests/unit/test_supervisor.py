"""What a stack says of itself, and where its things lie."""

import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from serving.stack.folder import Phase, ServiceState, StackState, StateFolder
from serving.stack.ports import free_port, is_free, is_listening
from serving.stack.supervisor import last_lines
from shop.errors import NotFound

STATE = StackState(
    run="abc.1",
    supervisor_pid=42,
    phase=Phase.READY,
    profile="cpu",
    source="the world",
    release="world-1",
    started_ms=1_700_000_000_000,
    door="127.0.0.1:9000",
    addresses={"triton": "127.0.0.1:20001"},
    services=(ServiceState("triton", 43, True, 0, "logs/triton.log"),),
)


def test_a_state_comes_back_as_it_was_written(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with folder.locked():
        folder.write_state(STATE)
        assert folder.running() == STATE
    assert folder.last_state() == STATE


def test_the_state_of_a_stack_that_is_gone_is_not_taken_for_a_running_one(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    with folder.locked():
        folder.write_state(STATE)
    with pytest.raises(NotFound, match="start one with `vitrine up`"):
        folder.running()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"services": 3}', "no json"])
def test_a_state_file_that_cannot_be_read_counts_as_none(tmp_path: Path, text: str) -> None:
    folder = StateFolder(tmp_path)
    with folder.locked():
        folder.write_state(replace(STATE, phase=Phase.STARTING))
        (folder.run / "stack.json").write_text(text)
        assert folder.last_state() is None


def test_the_holder_of_the_lock_is_known_while_it_holds_it(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    assert folder.holder() is None
    with folder.locked():
        assert folder.holder() == os.getpid()
    assert folder.holder() is None


def test_two_folders_have_two_names_and_one_folder_always_the_same(tmp_path: Path) -> None:
    one, other = StateFolder(tmp_path / "a"), StateFolder(tmp_path / "b")
    assert one.name != other.name
    assert one.name == StateFolder(tmp_path / "x" / ".." / "a").name


def test_the_last_logs_are_kept_and_older_ones_go(tmp_path: Path) -> None:
    folder = StateFolder(tmp_path)
    for run in range(6):
        folder.fresh_log("triton").write_text(f"run {run}")
    kept = {path.name: path.read_text() for path in folder.logs.iterdir()}
    assert kept == {
        "triton.log": "run 5",
        "triton.log.1": "run 4",
        "triton.log.2": "run 3",
        "triton.log.3": "run 2",
    }


def test_a_free_port_can_be_listened_on_and_a_taken_one_is_not_offered() -> None:
    port = free_port()
    assert not is_listening(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert is_listening(port)
        assert not is_free(port)
        assert free_port(port) != port
    assert free_port(port) == port


def test_no_port_is_given_twice_before_anybody_listens_there() -> None:
    given = [free_port() for _ in range(300)]  # drawn at random, two would be the same
    assert len(set(given)) == len(given)


def test_the_end_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    assert last_lines(log, 3) == []
    log.write_text("".join(f"line {n}\n" for n in range(10_000)))
    assert last_lines(log, 2) == ["line 9998", "line 9999"]
