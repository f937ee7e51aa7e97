"""Triton: the models of one release, by its HTTP protocol.

The protocol is KServe's v2 with Triton's binary tensor extension: a JSON head, then the tensors'
bytes. What never changes in a call (model, version, tensor names and shapes) is written once, so a
call only adds its tensors. Over gRPC, and with tritonclient's `InferInput`s the more, a call costs
the event loop four times as much (figures in `serving.adapters.http_calls`), twice per request.

Shapes: N candidates, B candidates padded to a bucket, D vector size, H heads.
"""

import asyncio
import json
import math
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.adapters.http_calls import HttpAnswer, HttpConnections
from shop.errors import DependencyTimeout, DependencyUnavailable
from shop.features import FeatureSchema, ShopperFeatures
from shop.tensors import (
    CANDIDATE_BUCKETS,
    ModelSpec,
    bucket_for,
    ranker_spec,
    text_encoder_spec,
    user_tower_spec,
)

_DEPENDENCY = "triton"
_HEAD_LENGTH = b"inference-header-content-length"
_BYTES_OF = {"FP32": 4, "INT64": 8}
_NORM_TOLERANCE = 1e-2  # an int8 tower is off by 4e-4; more means that this is no unit vector

# A frozen server accepts calls and lets them run out, and every one would cost its whole budget.
# After so many in a row, over so long, the next ones fail at once, but for one probe now and then.
# A busy machine (2 cores, 4 processes at work) loses several calls in a row too, but not for long.
_FAILURES_TO_OPEN = 5
_FAILING_S = 0.25
_OPEN_S = 0.5
_FAIR_TRIAL_S = 0.01  # running out of less time than this says more of the caller than of Triton
_ALL_ITS_TIME = 0.9  # of the timeout: a call that was given up later than that ran out of time


class TritonModels:
    """The models of one release on one server. Is a `UserTower`, a `Ranker` and a `TextEncoder`."""

    def __init__(
        self,
        address: str,
        *,
        release: str,
        version: int,
        schema: FeatureSchema,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connections = HttpConnections(_DEPENDENCY, address)
        self._circuit = _Circuit(clock)
        self._release = release
        self._heads = len(schema.heads)
        tower, ranker = user_tower_spec(schema), ranker_spec(schema)
        self._tower = _Model(self._connections, self._circuit, tower, version, (1,))
        self._ranker = _Model(self._connections, self._circuit, ranker, version, CANDIDATE_BUCKETS)
        # With a circuit of its own: whatever is wrong with searching must not stop the others.
        text = text_encoder_spec()
        self._text = _Model(self._connections, _Circuit(clock), text, version, (1,))

    async def close(self) -> None:
        """Neither model can be asked any more."""
        await self._connections.close()

    async def check(self, *, timeout_s: float) -> None:
        """Raises a DependencyError unless Triton serves both models as this release needs them."""
        for model in (self._tower, self._ranker):
            await model.check(self._release, timeout_s)

    async def user_vector(
        self, features: ShopperFeatures, *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length."""
        vector = await self._tower.infer(1, _shopper_tensors(features), timeout_s)
        return _unit(vector, "user tower")

    async def text_vector(
        self, token_ids: NDArray[np.int64], *, timeout_s: float
    ) -> NDArray[np.float32]:
        """[D] unit length, in the space of the products' texts."""
        vector = await self._text.infer(1, (_int64(token_ids),), timeout_s)
        return _unit(vector, "text encoder")

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


def _unit(vector: NDArray[np.float32], model: str) -> NDArray[np.float32]:
    norm = float(np.linalg.norm(vector))
    if not abs(norm - 1.0) < _NORM_TOLERANCE:  # written so that NaN fails too
        raise DependencyUnavailable(_DEPENDENCY, f"{model}: a vector of length {norm}")
    return vector


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
        connections: HttpConnections,
        circuit: _Circuit,
        spec: ModelSpec,
        version: int,
        buckets: Sequence[int],
    ) -> None:
        self._spec = spec
        self._version = str(version)
        self._path = f"/v2/models/{spec.name}/versions/{version}"
        self._circuit = circuit
        self._output = spec.outputs[0].name
        self._connections = connections
        self._prefixes = {bucket: self._prefix(bucket) for bucket in buckets}
        # What stands before the numbers is the same in every sound answer of a length: read once.
        self._sound_heads: dict[int, bytes] = {}

    def _prefix(self, bucket: int) -> bytes:
        shapes = [_with_batch(tensor.shape, bucket) for tensor in self._spec.inputs]
        sizes = [
            math.prod(shape) * _BYTES_OF[tensor.dtype]
            for tensor, shape in zip(self._spec.inputs, shapes, strict=True)
        ]
        head = json.dumps(
            {
                "inputs": [
                    {
                        "name": tensor.name,
                        "shape": shape,
                        "datatype": tensor.dtype,
                        "parameters": {"binary_data_size": size},
                    }
                    for tensor, shape, size in zip(self._spec.inputs, shapes, sizes, strict=True)
                ],
                "outputs": [{"name": self._output, "parameters": {"binary_data": True}}],
            }
        )
        return (
            f"POST {self._path}/infer HTTP/1.1\r\nHost: triton\r\n"
            f"Content-Length: {len(head) + sum(sizes)}\r\n"
            f"Inference-Header-Content-Length: {len(head)}\r\n\r\n{head}"
        ).encode()

    async def infer(
        self, bucket: int, tensors: Sequence[NDArray[Any]], timeout_s: float
    ) -> NDArray[np.float32]:
        """The output, flat. `tensors` as the spec's inputs, of their types and contiguous."""
        self._circuit.check()
        request = b"".join((self._prefixes[bucket], *(tensor.tobytes() for tensor in tensors)))
        began_s = self._circuit.clock()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._connections.ask(request)
            values = self._read(answer, bucket)
        except asyncio.CancelledError:
            # The pipeline's own timer for the same budget goes off a moment before this one.
            if self._circuit.clock() - began_s >= _ALL_ITS_TIME * max(timeout_s, _FAIR_TRIAL_S):
                self._circuit.failed(began_s)
            raise
        except TimeoutError as error:
            if timeout_s >= _FAIR_TRIAL_S:
                self._circuit.failed(began_s)
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error
        except DependencyUnavailable:
            self._circuit.failed(began_s)
            raise
        self._circuit.succeeded()
        return values

    def _read(self, answer: HttpAnswer, bucket: int) -> NDArray[np.float32]:
        if answer.status != HTTPStatus.OK:
            raise self._refused(_error_in(answer))
        length = answer.headers.get(_HEAD_LENGTH, b"")
        head_size = int(length) if length.isdigit() and len(length) < 9 else 0
        head, raw = answer.body[:head_size], answer.body[head_size:]
        if head != self._sound_heads.get(bucket):
            self._check_head(head, bucket)
            self._sound_heads[bucket] = head
        shape = _with_batch(self._spec.outputs[0].shape, bucket)
        if len(raw) != math.prod(shape) * _BYTES_OF["FP32"]:
            # Triton's backend answers nothing under a wrong numpy.
            raise self._refused(f"answered {len(raw)} bytes for shape {shape}")
        return np.frombuffer(raw, dtype=np.float32)

    def _check_head(self, head: bytes, bucket: int) -> None:
        said = _json_of(head)
        if said.get("model_version") != self._version:
            raise self._refused(f"version {said.get('model_version')} answered: another release")
        shape = _with_batch(self._spec.outputs[0].shape, bucket)
        wanted = [(self._output, "FP32", shape)]
        outputs = [
            (o.get("name"), o.get("datatype"), o.get("shape")) for o in _tensors(said, "outputs")
        ]
        if outputs != wanted:
            raise self._refused(f"answered {outputs}, need {self._output} FP32 {shape}")

    async def check(self, release: str, timeout_s: float) -> None:
        """Raises a DependencyError unless the loaded model has this version and these tensors."""
        request = f"GET {self._path} HTTP/1.1\r\nHost: triton\r\n\r\n".encode()
        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._connections.ask(request)
        except TimeoutError as error:
            raise DependencyTimeout(
                _DEPENDENCY, f"no answer within {timeout_s * 1000.0:.0f} ms"
            ) from error
        if answer.status != HTTPStatus.OK:
            raise self._refused(_error_in(answer))
        said = _json_of(answer.body)
        for wanted, kind in ((self._spec.inputs, "inputs"), (self._spec.outputs, "outputs")):
            ours = {(t.name, t.dtype, (-1, *t.shape)) for t in wanted}
            theirs = {
                (t.get("name"), t.get("datatype"), tuple(t.get("shape", ())))
                for t in _tensors(said, kind)
            }
            if not ours <= theirs:
                raise self._refused(
                    f"{release} needs the tensors {sorted(ours - theirs)}, Triton has"
                    f" {sorted(theirs - ours)}"
                )

    def _refused(self, reason: str) -> DependencyUnavailable:
        return DependencyUnavailable(
            _DEPENDENCY, f"{self._spec.name} version {self._version}: {reason}"
        )


def _with_batch(shape: Sequence[int], bucket: int) -> list[int]:
    return [1, *(bucket if size == -1 else size for size in shape)]


def _error_in(answer: HttpAnswer) -> str:
    told = _json_of(answer.body).get("error")
    return f"{answer.status}: {told}"[:500]


def _json_of(raw: bytes) -> dict[str, Any]:
    """An empty one where there is no JSON object."""
    try:
        said = json.loads(raw)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}


def _tensors(said: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    found = said.get(kind)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


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
