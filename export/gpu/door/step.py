"""Door step: the GPU benchmark's part that goes through gRPC, in processes of its own.

The benchmark's own process keeps out of it: its modules are not loaded by those that are measured.
"""

import importlib
import json
import math
import os
import subprocess
import tempfile
from pathlib import Path

from export.gpu.door.plan import RESULT, DoorPlan
from export.gpu.door.processes import start, stop
from export.gpu.plan import Plan
from export.gpu.report import Report

_TIMEOUT_S = 480.0
_NEEDED = ("grpc", "google.protobuf", "serving.proto.recommendations_pb2_grpc")
_MOST_REPLICAS, _MOST_GENERATORS = 8, 5


def why_no_door() -> str:
    """Why it cannot be run here, and what to do about it; "" if it can."""
    for module in _NEEDED:
        try:
            importlib.import_module(module)
        except Exception as error:  # noqa: BLE001  # generated modules refuse versions by RuntimeError
            first = (str(error).splitlines() or [""])[0]
            return (
                f"{module} cannot be imported ({first[:160]}): bring grpcio, protobuf and the"
                " generated serving/proto/*_pb2*.py, see docs/operations.md, On a GPU"
            )
    return ""


def door_plan(plan: Plan) -> DoorPlan:
    """What is started and asked of it: on a GPU what is asked of the product, on a CPU a little."""
    if plan.on_gpu:
        cores = os.cpu_count() or 1
        return DoorPlan(
            device="cuda",
            rows=plan.rows,
            candidates=plan.candidates,
            precision="bf16",
            batches=(1, 2, 4, 8, 16, 32, 64, 128),
            replicas=max(1, min(_MOST_REPLICAS, cores // 2)),
            generators=max(1, min(_MOST_GENERATORS, cores // 3)),
            channels=32,
            rates_per_s=(5_000.0, 2_000.0, 8_000.0),
            rounds=3,
            duration_s=10.0,
            warm_s=3.0,
            seed=plan.seed,
        )
    return DoorPlan(
        device="cpu",
        rows=min(plan.rows, 2_000),
        candidates=min(plan.candidates, 50),
        precision="fp32",
        batches=(1, 4),
        replicas=2,
        generators=1,
        channels=4,
        rates_per_s=(20.0,),
        rounds=1,
        duration_s=2.0,
        warm_s=0.5,
        seed=plan.seed,
    )


def timed_door(plan: Plan, report: Report) -> tuple[float, float]:
    """Calls answered per second and p99 in ms at the rate that is asked for.

    Where a needed package is missing that is said, and both are NaN. Raises RuntimeError if a
    process does not come up or a call of the asked rate fails.
    """
    reason = why_no_door()
    if reason:
        report.not_run.append(f"gRPC door: {reason}")
        return math.nan, math.nan
    asked = door_plan(plan)
    results = _driven(asked)
    for result in results:
        rate = f"{result['rate_per_s']:g}"
        what = f"door, {rate} calls/s offered, {asked.replicas} replicas"
        key = f"door_{rate}_per_s"
        report.add(f"{key}_answered_per_s", f"{what}, answered", result["answered_per_s"], "/s")
        for name in ("p50_ms", "p99_ms", "generator_late_p99_ms"):
            if math.isfinite(result[name]):
                said = name.removesuffix("_ms").replace("_", " ")
                report.add(f"{key}_{name}", f"{what}, {said}", result[name], "ms")
        report.add(f"{key}_failed", f"{what}, failed", result["failed"], "calls")
    first = results[0]
    if first["failed"] or first["shortest"] < asked.listed:
        raise RuntimeError(
            f"{first['failed']} calls failed at {first['rate_per_s']:g}/s; the shortest list held"
            f" {first['shortest']} products"
        )
    return first["answered_per_s"], first["p99_ms"]


def _driven(asked: DoorPlan) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "drive.log"
        process = start("export.gpu.door.drive", [asked.to_json()], log)
        try:
            code = process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = -1
        finally:
            stop([process])
        said = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    if code != 0:
        raise RuntimeError(f"the drive ended with {code}: {said[-1][:300]}")
    return [json.loads(line) for line in said if line.startswith(RESULT)]
