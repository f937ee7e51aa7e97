"""Triton backend `tensorrt`: runs TensorRT engines (`platform: "tensorrt_plan"`) from Python.

A Triton image brings this backend as a library, and should use that. The server from the package
index does not; there this module takes its place. It runs engines by TensorRT itself and nothing
else: without the package tensorrt, CuPy or a GPU the model does not load. It has never been run.

It runs in the stub's own environment (numpy 1, tensorrt, CuPy) and loads only an engine that the
signed record beside it names (`shop.engine_record`).
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import cupy
import numpy as np
import triton_python_backend_utils as pb_utils

from serving.triton.model_requests import Feed, equal_shapes, within_batch
from serving.triton.named_engine import NamedEngine, Placed, profile_of
from shop.engine_record import RECORD, read_record
from shop.errors import DependencyUnavailable, ReleaseRejected

KEY_FILE_VARIABLE = "VITRINE_RELEASE_KEY_FILE"  # set by serving.triton.runtime
_REFUSALS = (ReleaseRejected, DependencyUnavailable, cupy.cuda.runtime.CUDARuntimeError)


class TritonPythonModel:
    """One instance of one engine, on the GPU that Triton gave it."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the signed engine. A ReleaseRejected becomes the load's error in Triton."""
        config = json.loads(args["model_config"])
        if args["model_instance_kind"] != "GPU":
            raise ReleaseRejected("an engine needs an instance group of KIND_GPU")
        self._device = cupy.cuda.Device(int(args["model_instance_device_id"]))
        folder = Path(args["model_repository"]) / args["model_version"]
        self._lengths, plan = _signed_engine(folder, args["model_name"], self._device)
        self._most = max(1, int(config["max_batch_size"]))
        self._outputs = [entry["name"] for entry in config["output"]]
        with self._device:
            self._stream = cupy.cuda.Stream(non_blocking=True)
            self._engine = NamedEngine(plan)

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order; equal shapes share one run of the engine."""
        feeds = [{t.name(): t.as_numpy() for t in request.inputs()} for request in requests]
        responses: list[Any] = [None] * len(requests)
        for alike in equal_shapes(feeds):
            for members in within_batch(alike, feeds, self._most):
                answers = self._answers([feeds[at] for at in members])
                for at, answer in zip(members, answers, strict=True):
                    responses[at] = answer
        return responses

    def _answers(self, feeds: list[Feed]) -> list[Any]:
        try:
            return self._run(feeds)
        except _REFUSALS as error:
            failed = pb_utils.TritonError(str(error))
            return [pb_utils.InferenceResponse(error=failed) for _ in feeds]

    def _run(self, feeds: list[Feed]) -> list[Any]:
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        with self._device, self._stream:
            held = {
                name: cupy.asarray(np.ascontiguousarray(array, self._engine.tensors[name].dtype))
                for name, array in joined.items()
            }
            shapes = {name: array.shape for name, array in held.items()}
            wanted = self._engine.output_shapes(
                shapes, profile=profile_of(self._lengths, shapes), stream=self._stream.ptr
            )
            for name, shape in wanted.items():
                held[name] = cupy.empty(shape, self._engine.tensors[name].dtype)
            placed = {name: Placed(array.data.ptr, array.shape) for name, array in held.items()}
            self._engine.enqueue(placed, stream=self._stream.ptr)
            arrays = [cupy.asnumpy(held[name], stream=self._stream) for name in self._outputs]
            self._stream.synchronize()
        return _parted(self._outputs, [array.astype(np.float32) for array in arrays], feeds)


def _parted(names: list[str], arrays: list[Any], feeds: list[Feed]) -> list[Any]:
    responses, start = [], 0
    for feed in feeds:
        end = start + len(next(iter(feed.values())))
        tensors = [pb_utils.Tensor(n, a[start:end]) for n, a in zip(names, arrays, strict=True)]
        responses.append(pb_utils.InferenceResponse(tensors))
        start = end
    return responses


def _signed_engine(folder: Path, model: str, device: Any) -> tuple[tuple[int, ...], bytes]:
    """Lengths of its profiles and the engine's bytes, hashed as read."""
    key_file = os.environ.get(KEY_FILE_VARIABLE)
    if not key_file:
        raise ReleaseRejected(f"{KEY_FILE_VARIABLE} is not set, so nothing can be verified")
    key = bytes.fromhex(Path(key_file).read_text().strip())
    record = read_record((folder / RECORD).read_text(), key)
    capability = (int(device.compute_capability[:-1]), int(device.compute_capability[-1]))
    entry = record.engine_for(model, int(folder.name), capability)
    plan = (folder / entry.file).read_bytes()
    entry.check(record.release, len(plan), hashlib.sha256(plan).hexdigest())
    return entry.lengths, plan
