"""Canary: one small real inference, because Triton calls a model ready whose process is dead.

Inputs are made from the model's own configuration: zeros, which mean an unknown shopper and no
products, a case every release must answer. The answer is checked too, since a broken stub
environment answers with empty tensors and no error.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

_FREE_LENGTH = 64  # candidates in a canary, the smallest bucket


class Verdict(StrEnum):
    """What a canary found."""

    SOUND = "sound"
    SLOW = "slow"  # no answer in time: overloaded or frozen, the caller must find out which
    BROKEN = "broken"


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """A verdict and, unless sound, its reason."""

    verdict: Verdict
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Canary:
    """The call that tells whether one version of one model works."""

    model: str
    version: int
    inputs: tuple[Any, ...]  # tritonclient InferInput, reused for every call
    output_shapes: dict[str, tuple[int, ...]]

    async def sing(self, client: triton.InferenceServerClient, timeout_s: float) -> CanaryResult:
        """Call the model once and judge the answer."""
        try:
            answer = await client.infer(
                self.model,
                list(self.inputs),
                model_version=str(self.version),
                client_timeout=timeout_s,
            )
        except InferenceServerException as error:
            return _judge_error(error)
        for name, shape in self.output_shapes.items():
            fault = _fault(answer.as_numpy(name), shape)
            if fault:
                return CanaryResult(Verdict.BROKEN, f"output {name} {fault}")
        return CanaryResult(Verdict.SOUND)


async def make_canary(
    client: triton.InferenceServerClient, model: str, version: int, timeout_s: float
) -> Canary:
    """From the loaded model's configuration. Raises InferenceServerException if there is none."""
    answer = await client.get_model_config(
        model, str(version), as_json=True, client_timeout=timeout_s
    )
    config = answer["config"]
    if isinstance(config, str):
        config = json.loads(config)
    return Canary(
        model,
        version,
        tuple(_zeros(entry) for entry in config["input"]),
        {entry["name"]: _shape(entry) for entry in config["output"]},
    )


def _shape(entry: dict[str, Any]) -> tuple[int, ...]:
    dims = (int(dim) for dim in entry["dims"])
    return (1, *(_FREE_LENGTH if dim == -1 else dim for dim in dims))


def _zeros(entry: dict[str, Any]) -> Any:
    datatype = entry["data_type"].removeprefix("TYPE_")
    tensor = triton.InferInput(entry["name"], list(_shape(entry)), datatype)
    tensor.set_data_from_numpy(np.zeros(_shape(entry), dtype=triton_to_np_dtype(datatype)))
    return tensor


def _fault(array: NDArray[Any] | None, shape: tuple[int, ...]) -> str:
    if array is None:
        return "is missing"
    if array.shape != shape:
        return f"has shape {array.shape}, not {shape}"
    return "" if np.isfinite(array).all() else "is not finite"


def _judge_error(error: InferenceServerException) -> CanaryResult:
    if error.status() == "StatusCode.DEADLINE_EXCEEDED":
        return CanaryResult(Verdict.SLOW, "no answer in time")
    return CanaryResult(Verdict.BROKEN, str(error.message()))
