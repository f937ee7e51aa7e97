"""Load through the real door: by locust's users, and by the open-loop generator."""

from pathlib import Path

import pytest

from loadtest.call_log import read_log
from tests.e2e.running_stack import RunningStack

GENTLE = ("--rate", "10", "--duration", "4", "--warm-up", "2", "--no-canary")
PATIENT = """
[default]
p99_ms = 5000
error_share = 0.0
"""


@pytest.mark.parametrize(
    "senders", [("--engine", "locust", "--workers", "2"), ("--processes", "2")]
)
def test_a_load_test_through_the_door_is_judged_and_reported(
    stack: RunningStack, tmp_path: Path, senders: tuple[str, ...]
) -> None:
    (tmp_path / "slo.toml").write_text(PATIENT)
    report = ("--report", str(tmp_path / "report"), "--slo", str(tmp_path / "slo.toml"))
    told = stack.cli_json("loadtest", "browse", *GENTLE, *senders, *report)
    assert told["verdict"] == "passed"
    assert told["calls"] > 10
    assert told["scored_share"] > 0.5
    log = read_log(tmp_path / "report" / "calls.npz")
    assert len(log) == told["calls"]
    assert "ranking" in log.stages
    assert "passed" in (tmp_path / "report" / "index.html").read_text()
