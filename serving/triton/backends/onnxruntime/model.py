"""Triton backend `onnxruntime`: serves `platform: "onnxruntime_onnx"` models on the CPU.

A Triton image brings this backend as a library; the server from the package index does not, so
there this module takes its place (a python-based backend, run in Triton's stub process). It reads
the same configuration, down to the thread parameters' names, and one thing more: it loads no file
but the one that the release's signed manifest, lying beside the model, names.

It runs in the stub's own environment (numpy 1, ONNX Runtime) and imports nothing of ours but
what `serving.triton.runtime` copies beside it.
"""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

from serving.triton.model_requests import Feed, equal_shapes
from shop.errors import ReleaseRejected
from shop.release import MANIFEST, check_file, read_manifest

KEY_FILE_VARIABLE = "VITRINE_RELEASE_KEY_FILE"  # set by serving.triton.runtime

# Each kind of failure is a class of its own there, without a common base.
_RUN_ERRORS = tuple(
    kind
    for kind in vars(ort_state).values()
    if isinstance(kind, type) and issubclass(kind, Exception)
)


class TritonPythonModel:
    """One instance of one model version."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the signed model. A ReleaseRejected becomes the load's error in Triton."""
        config = json.loads(args["model_config"])
        model = _signed_model(
            Path(args["model_repository"]) / args["model_version"],
            config["default_model_filename"] or "model.onnx",
            model_name=args["model_name"],
            version=int(args["model_version"]),
        )
        self._session = ort.InferenceSession(
            model, _session_options(config), providers=["CPUExecutionProvider"]
        )
        self._outputs = [entry["name"] for entry in config["output"]]

    def execute(self, requests: list[Any]) -> list[Any]:
        """One response per request, in order; equal shapes share one run of the model."""
        feeds = [_feed(request) for request in requests]
        responses: list[Any] = [None] * len(requests)
        for members in equal_shapes(feeds):
            answers = self._answers([feeds[at] for at in members])
            for at, answer in zip(members, answers, strict=True):
                responses[at] = answer
        return responses

    def _answers(self, feeds: list[Feed]) -> list[Any]:
        try:
            return self._run(feeds)
        except _RUN_ERRORS as error:
            if len(feeds) == 1:
                return [pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))]
            # One bad request must not fail its neighbours in the batch: each again, alone.
            return [self._answers([feed])[0] for feed in feeds]

    def _run(self, feeds: list[Feed]) -> list[Any]:
        if len(feeds) == 1:  # the usual case when the server is not busy; every microsecond shows
            return [self._response(self._session.run(self._outputs, feeds[0]))]
        joined = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        arrays = self._session.run(self._outputs, joined)
        responses, start = [], 0
        for feed in feeds:
            end = start + len(next(iter(feed.values())))
            responses.append(self._response([array[start:end] for array in arrays]))
            start = end
        return responses

    def _response(self, arrays: list[Any]) -> Any:
        named = zip(self._outputs, arrays, strict=True)
        return pb_utils.InferenceResponse([pb_utils.Tensor(name, array) for name, array in named])


def _feed(request: Any) -> Feed:
    # One walk over the inputs: the helper that looks one up by name makes all of them each time.
    return {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}


def _session_options(config: dict[str, Any]) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = _count(config, "intra_op_thread_count")
    options.inter_op_num_threads = _count(config, "inter_op_thread_count")
    # Idle threads that spin would take the cores from the gateway.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _count(config: dict[str, Any], parameter: str) -> int:
    return int(config.get("parameters", {}).get(parameter, {}).get("string_value", "1"))


def _signed_model(folder: Path, file_name: str, *, model_name: str, version: int) -> bytes:
    """The model's bytes, hashed as read, so that what was checked is what is loaded."""
    key_file = os.environ.get(KEY_FILE_VARIABLE)
    if not key_file:
        raise ReleaseRejected(f"{KEY_FILE_VARIABLE} is not set, so nothing can be verified")
    key = bytes.fromhex(Path(key_file).read_text().strip())
    manifest = read_manifest((folder / MANIFEST).read_text(), key)
    if manifest.version != version:
        raise ReleaseRejected(
            f"{manifest.release} is version {manifest.version}, but lies in folder {version}"
        )
    model = (folder / file_name).read_bytes()
    _refuse_a_mix(folder)
    check_file(manifest, f"{model_name}.onnx", len(model), hashlib.sha256(model).hexdigest())
    return model


def _refuse_a_mix(folder: Path) -> None:
    """The other models must have the same release in this version, as far as they are there."""
    own = (folder / MANIFEST).read_bytes()
    for other in folder.parent.parent.glob(f"*/{folder.name}/{MANIFEST}"):
        if other.read_bytes() != own:
            raise ReleaseRejected(
                f"version {folder.name} mixes two releases: {other.parent.parent.name} has another"
            )
