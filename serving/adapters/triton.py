"""Triton: the user tower and the ranker of one release, over gRPC.

Raw calls with Triton's own messages instead of tritonclient's `InferInput`s: 0.26 ms of CPU a call
instead of 0.40 ms (500 candidates, two cores of Zen 5), twice per request. What never changes in a
call (model, version, tensor names and shapes) is serialised once; protobuf messages may be
concatenated, so a call only adds its tensors' bytes.

Shapes: N candidates, B candidates padded to a bucket, D vector size, H heads.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import grpc
import grpc.aio
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as triton

from serving.adapters.grpc_calls import open_channel, translated
from shop.errors import DependencyUnavailable
from shop.features import FeatureSchema, ShopperFeatures
from shop.tensors import CANDIDATE_BUCKETS, ModelSpec, bucket_for, ranker_spec, user_tower_spec

_DEPENDENCY = "triton"
_SERVICE = "/inference.GRPCInferenceService"
_NORM_TOLERANCE = 1e-2  # an int8 tower is off by 4e-4; more means that this is no unit vector

# A frozen server accepts calls and lets them run out, and every one would cost its whole budget.
# After so many in a row, over so long, the next ones fail at once, but for one probe now and then.
# A busy machine (2 cores, 4 processes at work) loses several calls in a row too, but not for long.
_FAILURES_TO_OPEN = 5
_FAILING_S = 0.25
_OPEN_S = 0.5  # as long as the channel's own longest wait between attempts
_FAIR_TRIAL_S = 0.01  # running out of less time than this says more of the caller than of Triton
_ALL_ITS_TIME = 0.9  # of the timeout: a call that was given up later than that ran out of time


class TritonModels:
    """Both models of one release on one server. Is a `UserTower` and a `Ranker`."""

    def __init__(
        self,
        address: str,
        *,
        release: str,
        version: int,
        schema: FeatureSchema,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._channel = open_channel(address)
        self._circuit = _Circuit(clock)
        self._release = release
        self._heads = len(schema.heads)
        tower, ranker = user_tower_spec(schema), ranker_spec(schema)
        self._tower = _Model(self._channel, self._circuit, tower, version, (1,))
        self._ranker = _Model(self._channel, self._circuit, ranker, version, CANDIDATE_BUCKETS)

    async def close(self) -> None:
        """Neither model can be asked any more."""
        await self._channel.close(None)

    async def check(self, *, timeout_s: float) -> None:
        """Raises a DependencyError unless Triton serves both models as this release needs them."""
        for model in (self._tower, self._ranker):
            await model.check(self._release, timeout_s)

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        vector = await self._tower.infer(1, _shopper_tensors(features), timeout_s)
        norm = float(np.linalg.norm(vector))
        if not abs(norm - 1.0) < _NORM_TOLERANCE:  # written so that NaN fails too
            raise DependencyUnavailable(_DEPENDENCY, f"user tower: a vector of length {norm}")
        return vector

    async def probabilities(
        self,
        features: ShopperFeatures,
        user_vector: NDArray[np.float32],
        candidate_rows: NDArray[np.int64],
        candidate_values: NDArray[np.float32],
        *,
        timeout_s: float,
    ) -> NDArray[np.float32]:
        """[N, H] columns as `FeatureSchema.heads`; NaN where the model gave no probability."""
        count = candidate_rows.size
        bucket = bucket_for(count)
        rows = np.zeros(bucket, dtype=np.int64)
        rows[:count] = candidate_rows
        values = np.zeros((bucket, candidate_values.shape[1]), dtype=np.float32)
        values[:count] = candidate_values
        tensors = (*_shopper_tensors(features), _fp32(user_vector), rows, values)
        found = await self._ranker.infer(bucket, tensors, timeout_s)
        found = found.reshape(bucket, self._heads)[:count]
        return np.where((found >= 0.0) & (found <= 1.0), found, np.float32(np.nan))


class _Circuit:
    """Whether calling is worth it: opens when nothing succeeds for a while, then probes.

    Not `recommend.breaker`, which counts one ask at a time and must hear how each went: here many
    calls fail in one moment, and one that was given up early says nothing of the server.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self._failures = 0  # in a row
        self._since_s = 0.0  # when the first of them began
        self._failed_at_s = -math.inf
        self._probe_at_s = 0.0

    def check(self) -> None:
        """Raises DependencyUnavailable while it is open and it is not yet time for a probe."""
        if not self._is_open:
            return
        now_s = self.clock()
        if now_s < self._probe_at_s:
            raise DependencyUnavailable(_DEPENDENCY, "not asked: nothing has succeeded for a while")
        self._probe_at_s = now_s + _OPEN_S  # this call is the probe

    @property
    def _is_open(self) -> bool:
        failing_s = self._failed_at_s - self._since_s
        return self._failures >= _FAILURES_TO_OPEN and failing_s >= _FAILING_S

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, began_s: float) -> None:
        """Calls that were under way together tell of one bad moment, not of several in a row."""
        if began_s < self._failed_at_s:
            return
        if self._failures == 0:
            self._since_s = began_s
        self._failures += 1
        self._failed_at_s = self.clock()
        self._probe_at_s = self._failed_at_s + _OPEN_S


class _Model:
    """One model at one version, with a prepared request per padded length."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        circuit: _Circuit,
        spec: ModelSpec,
        version: int,
        buckets: Sequence[int],
    ) -> None:
        self._spec = spec
        self._version = str(version)
        self._circuit = circuit
        self._output = spec.outputs[0].name
        self._prefixes = {bucket: self._prefix(bucket) for bucket in buckets}
        self._infer: grpc.aio.UnaryUnaryMultiCallable[bytes, Any] = channel.unary_unary(
            f"{_SERVICE}/ModelInfer",
            request_serializer=None,  # it is serialised already
            response_deserializer=triton.ModelInferResponse.FromString,
        )
        self._metadata: grpc.aio.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            f"{_SERVICE}/ModelMetadata",
            request_serializer=triton.ModelMetadataRequest.SerializeToString,
            response_deserializer=triton.ModelMetadataResponse.FromString,
        )

    def _prefix(self, bucket: int) -> bytes:
        request = triton.ModelInferRequest(model_name=self._spec.name, model_version=self._version)
        for tensor in self._spec.inputs:
            shape = [1, *(bucket if size == -1 else size for size in tensor.shape)]
            request.inputs.add(name=tensor.name, datatype=tensor.dtype, shape=shape)
        request.outputs.add(name=self._output)
        return bytes(request.SerializeToString())

    async def infer(
        self, bucket: int, tensors: Sequence[NDArray[Any]], timeout_s: float
    ) -> NDArray[np.float32]:
        """The output, flat. `tensors` as the spec's inputs, of their types and contiguous."""
        self._circuit.check()
        contents = triton.ModelInferRequest(raw_input_contents=[t.tobytes() for t in tensors])
        request = self._prefixes[bucket] + contents.SerializeToString()
        began_s = self._circuit.clock()
        try:
            reply = await self._infer(request, timeout=timeout_s)
        except asyncio.CancelledError:
            # The pipeline's own timer for the same budget goes off a moment before gRPC's.
            if self._circuit.clock() - began_s >= _ALL_ITS_TIME * max(timeout_s, _FAIR_TRIAL_S):
                self._circuit.failed(began_s)
            raise
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.DEADLINE_EXCEEDED or timeout_s >= _FAIR_TRIAL_S:
                self._circuit.failed(began_s)
            raise translated(_DEPENDENCY, error, timeout_s) from error
        self._circuit.succeeded()
        return self._read(reply, bucket)

    def _read(self, reply: Any, bucket: int) -> NDArray[np.float32]:
        if reply.model_version != self._version:
            raise self._refused(f"version {reply.model_version} answered: another release")
        shape = [1, *(bucket if size == -1 else size for size in self._spec.outputs[0].shape)]
        outputs = [(o.name, o.datatype, list(o.shape)) for o in reply.outputs]
        if outputs != [(self._output, "FP32", shape)]:
            raise self._refused(f"answered {outputs}, need {self._output} FP32 {shape}")
        values = np.frombuffer(b"".join(reply.raw_output_contents), dtype=np.float32)
        if values.size != np.prod(shape):  # Triton's backend answers nothing under a wrong numpy
            raise self._refused(f"answered {values.size} numbers for shape {shape}")
        return values

    async def check(self, release: str, timeout_s: float) -> None:
        """Raises a DependencyError unless the loaded model has this version and these tensors."""
        request = triton.ModelMetadataRequest(name=self._spec.name, version=self._version)
        try:
            reply = await self._metadata(request, timeout=timeout_s)
        except grpc.aio.AioRpcError as error:
            raise translated(_DEPENDENCY, error, timeout_s) from error
        for wanted, found in (
            (self._spec.inputs, reply.inputs),
            (self._spec.outputs, reply.outputs),
        ):
            ours = {(t.name, t.dtype, (-1, *t.shape)) for t in wanted}
            theirs = {(t.name, t.datatype, tuple(t.shape)) for t in found}
            if not ours <= theirs:
                raise self._refused(
                    f"{release} needs the tensors {sorted(ours - theirs)}, Triton has"
                    f" {sorted(theirs - ours)}"
                )

    def _refused(self, reason: str) -> DependencyUnavailable:
        return DependencyUnavailable(
            _DEPENDENCY, f"{self._spec.name} version {self._version}: {reason}"
        )


def _shopper_tensors(features: ShopperFeatures) -> tuple[NDArray[Any], ...]:
    """In the order of the specs' inputs."""
    return (
        _int64(features.history_rows),
        _int64(features.history_events),
        _fp32(features.history_ages),
        _int64(features.context_codes),
        _fp32(features.context_values),
    )


def _int64(values: NDArray[Any]) -> NDArray[np.int64]:
    return np.ascontiguousarray(values, dtype=np.int64)


def _fp32(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.ascontiguousarray(values, dtype=np.float32)
