"""The Triton adapter against a real Triton, and against one that misbehaves as it is told."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
import uvloop
from aiohttp import web
from numpy.typing import NDArray

from serving.adapters.triton import TritonModels
from serving.recommend.fallbacks import or_fallback
from serving.recommend.request import Degradation, Losses, Stage
from serving.stack.ports import free_port
from shop.errors import DependencyError, DependencyTimeout, DependencyUnavailable
from shop.features import CANDIDATE_VALUES, CONTEXT_CODES, CONTEXT_VALUES, ShopperFeatures
from shop.tensors import MAX_CANDIDATES, RANKER, USER_TOWER
from tests.contract.running_triton import RunningTriton, a_state
from tests.contract.small_release import PRODUCT_COUNT, SCHEMA

HEADS = len(SCHEMA.heads)


def some_features() -> ShopperFeatures:
    rng = np.random.default_rng(3)
    length = SCHEMA.history_length
    return ShopperFeatures(
        history_rows=rng.integers(0, PRODUCT_COUNT + 1, length),
        history_events=rng.integers(0, 5, length),
        history_ages=rng.random(length).astype(np.float32),
        context_codes=rng.integers(0, 2, len(CONTEXT_CODES)),
        context_values=rng.random(len(CONTEXT_VALUES)).astype(np.float32),
    )


def some_candidates(count: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rng = np.random.default_rng(count)
    values = rng.normal(size=(count, len(CANDIDATE_VALUES))).astype(np.float32)
    return rng.integers(1, PRODUCT_COUNT + 1, count), values


def a_unit_vector() -> NDArray[np.float32]:
    return np.eye(1, SCHEMA.vector_size, dtype=np.float32)[0]


def on_the_gateways_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Ray runs its replicas on uvloop, whose transports differ from asyncio's."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def with_models(
    address: str, use: Callable[[TritonModels], Awaitable[Any]], *, version: int = 1
) -> Any:
    async def run() -> Any:
        models = TritonModels(address, release="r1", version=version, schema=SCHEMA)
        try:
            return await use(models)
        finally:
            await models.close()

    return on_the_gateways_loop(run())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    with RunningTriton(a_state(tmp_path_factory.mktemp("state"))) as stack:
        stack.eventually(lambda: stack.is_ready(1))
        yield stack


def test_answers_are_those_of_the_models(running: RunningTriton) -> None:
    features = some_features()
    rows, values = some_candidates(70)

    async def use(models: TritonModels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        await models.check(timeout_s=5.0)
        vector = await models.user_vector(features, timeout_s=5.0)
        found = await models.probabilities(features, vector, rows, values, timeout_s=5.0)
        return vector, found

    vector, found = with_models(running.status.http_address, use)
    shopper = {name: getattr(features, name)[np.newaxis] for name in features.__slots__}
    expected_vector = running.infer(USER_TOWER, shopper)
    expected = running.infer(
        RANKER,
        shopper
        | {
            "user_vector": expected_vector,
            "candidate_rows": rows[np.newaxis],
            "candidate_values": values[np.newaxis],
        },
    )
    np.testing.assert_allclose(vector, expected_vector[0], rtol=1e-6)
    assert found.shape == (70, HEADS)
    np.testing.assert_allclose(found, expected[0], rtol=1e-5)


@pytest.mark.parametrize("count", [1, 64, 65, MAX_CANDIDATES])
def test_any_number_of_candidates_is_padded_and_cut_back(
    running: RunningTriton, count: int
) -> None:
    rows, values = some_candidates(count)

    async def use(models: TritonModels) -> NDArray[np.float32]:
        return await models.probabilities(
            some_features(), a_unit_vector(), rows, values, timeout_s=5.0
        )

    found = with_models(running.status.http_address, use)
    assert found.shape == (count, HEADS)
    assert np.isfinite(found).all()


def test_version_that_is_not_loaded_is_refused(running: RunningTriton) -> None:
    async def use(models: TritonModels) -> None:
        with pytest.raises(DependencyUnavailable, match="version"):
            await models.check(timeout_s=5.0)
        with pytest.raises(DependencyUnavailable, match="version"):
            await models.user_vector(some_features(), timeout_s=5.0)

    with_models(running.status.http_address, use, version=7)


@dataclass
class TwinAnswer:
    """What the twin is about to answer; every part may be changed."""

    model_version: str
    name: str
    array: NDArray[np.float32]
    status: int = 200


class Twin:
    """Answers both models as Triton's HTTP protocol has it; `act` may change or delay an answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.act: Callable[[TwinAnswer], Awaitable[None]] = self.leave_it
        self.connections: set[Any] = set()

    async def leave_it(self, answer: TwinAnswer) -> None:
        pass

    async def infer(self, request: web.Request) -> web.Response:
        self.asked += 1
        self.connections.add(request.transport)
        body = await request.read()
        head = json.loads(body[: int(request.headers["Inference-Header-Content-Length"])])
        if request.match_info["model"] == USER_TOWER:
            name, array = "user_vector", a_unit_vector()[np.newaxis]
        else:
            count = next(i["shape"][1] for i in head["inputs"] if i["name"] == "candidate_rows")
            name, array = "probabilities", np.full((1, count, HEADS), 0.5, np.float32)
        answer = TwinAnswer(request.match_info["version"], name, array)
        await self.act(answer)
        if answer.status != 200:
            return web.json_response({"error": "as it was told"}, status=answer.status)
        said = {
            "model_name": request.match_info["model"],
            "model_version": answer.model_version,
            "outputs": [
                {
                    "name": answer.name,
                    "datatype": "FP32",
                    "shape": list(array.shape),
                    "parameters": {"binary_data_size": answer.array.nbytes},
                }
            ],
        }
        raw = json.dumps(said).encode()
        return web.Response(
            body=raw + answer.array.tobytes(),
            headers={"Inference-Header-Content-Length": str(len(raw))},
        )

    @asynccontextmanager
    async def listening(self, port: int) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_post("/v2/models/{model}/versions/{version}/infer", self.infer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            yield
        finally:
            await runner.cleanup()


def with_twin(use: Callable[[TritonModels, Twin], Awaitable[None]], clock: Any = None) -> None:
    async def run() -> None:
        twin, port = Twin(), free_port()
        models = TritonModels(
            f"127.0.0.1:{port}",
            release="r1",
            version=1,
            schema=SCHEMA,
            clock=clock or time.monotonic,
        )
        async with twin.listening(port):
            try:
                await use(models, twin)
            finally:
                await models.close()

    on_the_gateways_loop(run())


def another_version(answer: TwinAnswer) -> None:
    answer.model_version = "2"


def nothing(answer: TwinAnswer) -> None:
    answer.array = np.zeros(0, np.float32)


def another_tensor(answer: TwinAnswer) -> None:
    answer.name = "scores"


def too_long_a_vector(answer: TwinAnswer) -> None:
    answer.array = a_unit_vector() * 3


def no_number(answer: TwinAnswer) -> None:
    answer.array = a_unit_vector() * np.float32(np.nan)


def an_error(answer: TwinAnswer) -> None:
    answer.status = 500


@pytest.mark.parametrize(
    "change", [another_version, nothing, another_tensor, too_long_a_vector, no_number, an_error]
)
def test_unusable_answer_is_refused(change: Callable[[TwinAnswer], None]) -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: TwinAnswer) -> None:
            change(answer)

        twin.act = act
        with pytest.raises(DependencyUnavailable):
            await models.user_vector(some_features(), timeout_s=2.0)

    with_twin(use)


def test_candidate_without_a_probability_is_told_from_the_others() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: TwinAnswer) -> None:
            column = np.full((64, HEADS), 0.25, np.float32)
            column[1, 0], column[2, 1] = np.nan, 1.5
            answer.array = column

        twin.act = act
        rows, values = some_candidates(4)
        found = await models.probabilities(
            some_features(), a_unit_vector(), rows, values, timeout_s=2.0
        )
        assert np.isnan(found).any(axis=1).tolist() == [False, True, True, False]

    with_twin(use)


def test_slow_answer_is_a_timeout_of_its_budget() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: TwinAnswer) -> None:
            await asyncio.Event().wait()

        await models.user_vector(some_features(), timeout_s=2.0)  # connected
        twin.act = act
        began = time.monotonic()
        with pytest.raises(DependencyTimeout, match="20 ms"):
            await models.user_vector(some_features(), timeout_s=0.02)
        assert time.monotonic() - began < 1.0

    with_twin(use)


def test_frozen_server_is_left_alone_but_for_a_probe_now_and_then() -> None:
    now = [0.0]

    async def use(models: TritonModels, twin: Twin) -> None:
        async def fail(answer: TwinAnswer) -> None:
            answer.status = 500

        async def ask() -> bool:
            try:
                await models.user_vector(some_features(), timeout_s=2.0)
            except DependencyError:
                return False
            return True

        twin.act = fail
        for _ in range(20):
            assert not await ask()
        assert twin.asked == 20  # all in one moment: not yet a reason
        now[0] += 0.3
        for _ in range(20):
            assert not await ask()
        assert twin.asked == 21  # then it was left alone
        now[0] += 0.6
        assert not await ask()
        assert not await ask()
        assert twin.asked == 22  # one probe
        twin.act = twin.leave_it
        now[0] += 0.6
        assert [await ask() for _ in range(3)] == [True, True, True]

    with_twin(use, clock=lambda: now[0])


def test_server_that_outlasts_the_pipelines_own_timers_is_left_alone() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def stall(answer: TwinAnswer) -> None:
            await asyncio.Event().wait()

        async def ask() -> None:
            await or_fallback(
                models.user_vector(some_features(), timeout_s=0.02),
                within_s=0.02,
                fallback=None,
                stage=Stage.CANDIDATES,
                lost=Degradation.FALLBACK_CANDIDATES,
                losses=Losses(),
            )

        await models.user_vector(some_features(), timeout_s=2.0)  # connected
        twin.act = stall
        for _ in range(60):  # 1.2 s, if each took its time
            await ask()
        assert 1 + 5 <= twin.asked < 40  # then it was left alone

    with_twin(use)


def test_calls_lost_in_the_same_moment_do_not_switch_triton_off() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def stall(answer: TwinAnswer) -> None:
            await asyncio.Event().wait()

        twin.act = stall
        asks = (models.user_vector(some_features(), timeout_s=0.05) for _ in range(20))
        lost = await asyncio.gather(*asks, return_exceptions=True)
        assert {type(error) for error in lost} == {DependencyTimeout}
        twin.act = twin.leave_it
        await models.user_vector(some_features(), timeout_s=2.0)

    with_twin(use)


def test_hasty_callers_do_not_switch_triton_off_for_others() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def stall(answer: TwinAnswer) -> None:
            await asyncio.Event().wait()

        twin.act = stall
        for _ in range(20):
            with pytest.raises(DependencyTimeout):
                await models.user_vector(some_features(), timeout_s=0.001)
        twin.act = twin.leave_it
        await models.user_vector(some_features(), timeout_s=2.0)

    with_twin(use)


def test_server_that_is_not_there_fails_fast_and_is_found_when_it_comes() -> None:
    async def run() -> None:
        port = free_port()
        models = TritonModels(f"127.0.0.1:{port}", release="r1", version=1, schema=SCHEMA)
        with pytest.raises(DependencyUnavailable):
            await models.user_vector(some_features(), timeout_s=2.0)
        async with Twin().listening(port):
            await models.user_vector(some_features(), timeout_s=1.0)  # the next call finds it
            await models.close()

    on_the_gateways_loop(run())


def test_kept_connections_that_the_server_closed_fail_no_call() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        await models.user_vector(some_features(), timeout_s=2.0)
        for transport in twin.connections:
            transport.abort()
        await models.user_vector(some_features(), timeout_s=2.0)
        assert len(twin.connections) == 2

    with_twin(use)


def test_late_answer_is_never_taken_for_the_next_ones() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        told = asyncio.Event()

        async def late(answer: TwinAnswer) -> None:
            answer.array = -answer.array
            await told.wait()

        twin.act = late
        with pytest.raises(DependencyTimeout):
            await models.user_vector(some_features(), timeout_s=0.05)
        twin.act = twin.leave_it
        told.set()
        for _ in range(3):
            vector = await models.user_vector(some_features(), timeout_s=2.0)
            np.testing.assert_array_equal(vector, a_unit_vector())

    with_twin(use)


def test_calls_one_after_another_share_a_connection_and_calls_at_once_do_not() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        for _ in range(5):
            await models.user_vector(some_features(), timeout_s=2.0)
        assert len(twin.connections) == 1
        await asyncio.gather(
            *(models.user_vector(some_features(), timeout_s=2.0) for _ in range(5))
        )
        assert len(twin.connections) == 5

    with_twin(use)


@pytest.mark.parametrize(
    "said",
    [
        b"220 mail.example ESMTP\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n{",  # and then it hangs up
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: x\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_server_that_is_no_triton_is_refused(said: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(said)
        await writer.drain()
        writer.close()

    async def run() -> None:
        port = free_port()
        models = TritonModels(f"127.0.0.1:{port}", release="r1", version=1, schema=SCHEMA)
        async with await asyncio.start_server(answer, "127.0.0.1", port):
            with pytest.raises(DependencyUnavailable):
                await models.user_vector(some_features(), timeout_s=2.0)
            with pytest.raises(DependencyUnavailable):
                await models.check(timeout_s=2.0)
            await models.close()

    on_the_gateways_loop(run())


def test_gateways_port_takes_no_orders(running: RunningTriton) -> None:
    url = f"http://{running.status.http_address}/v2/repository/models/{RANKER}/unload"
    with pytest.raises(HTTPError) as refused:
        urlopen(Request(url, data=b"{}", method="POST"), timeout=5)
    refused.value.close()
    assert refused.value.code == 403
    assert running.is_ready(1)
