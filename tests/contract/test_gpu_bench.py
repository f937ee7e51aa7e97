"""The GPU benchmark on the CPU: right, and run from a checkout with torch and numpy alone."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from export.gpu import bench, steps
from export.gpu.plan import cpu_plan
from export.gpu.report import Goal, Report
from loadtest.benchmarks.gpu import measured

pytestmark = pytest.mark.usefixtures("one_torch_thread")
PROJECT = Path(__file__).resolve().parents[2]
# What the product installs beside torch and numpy is not there on a bare machine.
ON_A_BARE_MACHINE = """
import sys
absent = set(
    "ray serving faiss onnx onnxscript onnxruntime pyarrow rich psutil grpc google tritonclient"
    " redis lmdb tantivy msgpack httptools prometheus_client triton pytest hypothesis".split()
)
class Bare:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in absent:
            raise ModuleNotFoundError(f"not on a bare machine: {name}", name=name)
sys.meta_path.insert(0, Bare())
from export.gpu.bench import main
raise SystemExit(main(sys.argv[1:]))
"""


def test_a_checkout_with_torch_and_numpy_is_enough(tmp_path: Path) -> None:
    file = tmp_path / "gpu.json"
    ran = subprocess.run(
        [sys.executable, "-c", ON_A_BARE_MACHINE, "--device", "cpu", "--json", str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    figures = json.loads(file.read_text())
    assert figures["is_right"] is True
    assert "CPU" in figures["device"]
    assert all(not isinstance(value, dict | list) for value in figures.values()), "flat"
    assert "WRONG" not in ran.stdout
    assert "NOT RUN gRPC door: grpc cannot be imported (not on a bare machine" in ran.stdout
    assert "grpc cannot be imported" in figures["not_run"]
    assert figures["decode_share_of_floor"] > 0
    assert figures["cells_us"] > 0


def test_the_suites_result_holds_the_same_figures_and_no_goals_without_a_gpu() -> None:
    result = measured(cpu_plan(seed=2, rows=400))
    assert result.holds
    assert [check.what for check in result.checks] == ["comparisons with float64"]
    assert result.figures["ranker_gain"] > 0


def test_time_that_is_up_leaves_steps_out_and_says_which() -> None:
    plan = cpu_plan(seed=3, rows=400)
    report = steps.run_bench(dataclasses.replace(plan, within_s=0.0))
    assert report.is_right
    assert any("search" in each for each in report.left_out)
    assert "models" in report.left_out
    assert "LEFT OUT" in report.text()


def test_a_goal_that_was_not_measured_is_missed() -> None:
    report = Report(cpu_plan(seed=1).device)
    report.goals += [goal for part in steps.PARTS.values() for goal in part.goals({})]
    assert len(report.goals) == 6, "what the issue of the GPU asks for"
    assert not any(goal.holds for goal in report.goals)
    assert {goal.measured for goal in report.goals} == {steps.NOT_MEASURED}
    report.goals = [Goal("speed", "≤ 1 µs", "0.5 µs", True)]
    assert report.flat()["goals_missed"] == 0


def test_goals_hold_at_what_is_asked_and_not_beyond() -> None:
    met = {
        "alone_us": 150.0,
        "per_s": 100_000.0,
        "large_over_floor": 1.3,
        "gain": 10.0,
        "door_per_s": 4_990.0,  # how many are due is drawn
        "door_p99_ms": 10.0,
        "decode": 0.7,
    }
    goals = [goal for part in steps.PARTS.values() for goal in part.goals(met)]
    assert all(goal.holds for goal in goals)
    for worse in ({"door_p99_ms": 10.1}, {"door_per_s": 4_500.0}, {"decode": 0.69}):
        goals = [goal for part in steps.PARTS.values() for goal in part.goals(met | worse)]
        assert sum(not goal.holds for goal in goals) == 1


def test_parts_can_be_run_by_themselves(capsys: pytest.CaptureFixture[str]) -> None:
    assert bench.main(["--device", "cpu", "--only", "cells"]) == 0
    said = capsys.readouterr().out
    assert "cells of our own" in said
    assert "ranker" not in said
    with pytest.raises(SystemExit):
        bench.main(["--device", "cpu", "--only", "cels"])
    assert "no part cels; there are search, decoder" in capsys.readouterr().err
