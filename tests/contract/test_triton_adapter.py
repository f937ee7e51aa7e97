"""The Triton adapter against a real Triton, and against one that misbehaves as it is told."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc
import grpc.aio
import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2 as triton
from tritonclient.grpc import service_pb2_grpc

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


def with_models(
    address: str, use: Callable[[TritonModels], Awaitable[Any]], *, version: int = 1
) -> Any:
    async def run() -> Any:
        models = TritonModels(address, release="r1", version=version, schema=SCHEMA)
        try:
            return await use(models)
        finally:
            await models.close()

    return asyncio.run(run())


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

    vector, found = with_models(running.status.grpc_address, use)
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

    found = with_models(running.status.grpc_address, use)
    assert found.shape == (count, HEADS)
    assert np.isfinite(found).all()


def test_version_that_is_not_loaded_is_refused(running: RunningTriton) -> None:
    async def use(models: TritonModels) -> None:
        with pytest.raises(DependencyUnavailable, match="version"):
            await models.check(timeout_s=5.0)
        with pytest.raises(DependencyUnavailable, match="version"):
            await models.user_vector(some_features(), timeout_s=5.0)

    with_models(running.status.grpc_address, use, version=7)


class Twin(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Answers both models; `act` may change, delay or replace an answer."""

    def __init__(self) -> None:
        self.asked = 0
        self.act: Callable[[triton.ModelInferResponse], Awaitable[None]] = self.leave_it

    async def leave_it(self, answer: triton.ModelInferResponse) -> None:
        pass

    async def ModelInfer(self, request: Any, context: Any) -> triton.ModelInferResponse:
        self.asked += 1
        if request.model_name == USER_TOWER:
            name, array = "user_vector", a_unit_vector()[np.newaxis]
        else:
            count = next(i.shape[1] for i in request.inputs if i.name == "candidate_rows")
            name, array = "probabilities", np.full((1, count, HEADS), 0.5, np.float32)
        answer = triton.ModelInferResponse(
            model_name=request.model_name, model_version=request.model_version
        )
        answer.outputs.add(name=name, datatype="FP32", shape=array.shape)
        answer.raw_output_contents.append(array.tobytes())
        await self.act(answer)
        return answer


def with_twin(use: Callable[[TritonModels, Twin], Awaitable[None]], clock: Any = None) -> None:
    async def run() -> None:
        server, twin, port = grpc.aio.server(), Twin(), free_port()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(twin, server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        models = TritonModels(
            f"127.0.0.1:{port}",
            release="r1",
            version=1,
            schema=SCHEMA,
            clock=clock or time.monotonic,
        )
        try:
            await use(models, twin)
        finally:
            await models.close()
            await server.stop(None)

    asyncio.run(run())


def another_version(answer: triton.ModelInferResponse) -> None:
    answer.model_version = "2"


def nothing(answer: triton.ModelInferResponse) -> None:
    answer.raw_output_contents[0] = b""


def another_tensor(answer: triton.ModelInferResponse) -> None:
    answer.outputs[0].name = "scores"


def too_long_a_vector(answer: triton.ModelInferResponse) -> None:
    answer.raw_output_contents[0] = (a_unit_vector() * 3).tobytes()


def no_number(answer: triton.ModelInferResponse) -> None:
    answer.raw_output_contents[0] = (a_unit_vector() * np.nan).tobytes()


@pytest.mark.parametrize(
    "change", [another_version, nothing, another_tensor, too_long_a_vector, no_number]
)
def test_unusable_answer_is_refused(change: Callable[[triton.ModelInferResponse], None]) -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: triton.ModelInferResponse) -> None:
            change(answer)

        twin.act = act
        with pytest.raises(DependencyUnavailable):
            await models.user_vector(some_features(), timeout_s=2.0)

    with_twin(use)


def test_candidate_without_a_probability_is_told_from_the_others() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: triton.ModelInferResponse) -> None:
            column = np.full((64, HEADS), 0.25, np.float32)
            column[1, 0], column[2, 1] = np.nan, 1.5
            answer.raw_output_contents[0] = column.tobytes()

        twin.act = act
        rows, values = some_candidates(4)
        found = await models.probabilities(
            some_features(), a_unit_vector(), rows, values, timeout_s=2.0
        )
        assert np.isnan(found).any(axis=1).tolist() == [False, True, True, False]

    with_twin(use)


def test_slow_answer_is_a_timeout_of_its_budget() -> None:
    async def use(models: TritonModels, twin: Twin) -> None:
        async def act(answer: triton.ModelInferResponse) -> None:
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
        async def fail(answer: triton.ModelInferResponse) -> None:
            raise RuntimeError("the twin was told to fail")

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
        async def stall(answer: triton.ModelInferResponse) -> None:
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
        async def stall(answer: triton.ModelInferResponse) -> None:
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
        async def stall(answer: triton.ModelInferResponse) -> None:
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
        server = grpc.aio.server()
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Twin(), server)
        server.add_insecure_port(f"127.0.0.1:{port}")
        await server.start()
        until = time.monotonic() + 5.0
        while True:
            try:
                await models.user_vector(some_features(), timeout_s=1.0)
                break
            except DependencyError:
                assert time.monotonic() < until, "the channel did not come back"
                await asyncio.sleep(0.05)
        await models.close()
        await server.stop(None)

    asyncio.run(run())
