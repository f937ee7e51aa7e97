"""What a door answers to hostile messages is told apart from a door that is gone."""

import asyncio
from typing import Any

import grpc.aio
import pytest

from loadtest.benchmarks.malformed import Told, sent
from loadtest.hostile_messages import SERVICE, Hostile, Kind


class _Refusing(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # in the stubs alone
    """Answers every call with the same words."""

    def __init__(self, details: str) -> None:
        self._details = details

    def service(self, handler_call_details: Any) -> Any:
        async def refuse(request: bytes, context: Any) -> bytes:
            await context.abort(grpc.StatusCode.UNAVAILABLE, self._details)
            return b""

        async def refuse_stream(request: bytes, context: Any) -> Any:
            await context.abort(grpc.StatusCode.UNAVAILABLE, self._details)
            yield b""

        name = handler_call_details.method.rpartition("/")[2]
        if SERVICE.methods_by_name[name].server_streaming:
            return grpc.unary_stream_rpc_method_handler(refuse_stream)
        return grpc.unary_unary_rpc_method_handler(refuse)


@pytest.mark.parametrize(
    ("details", "untyped"),
    [("writer: no language model answers", 0), ("Socket closed", 2)],
)
def test_a_missing_language_model_is_an_answer_and_a_missing_door_is_none(
    details: str, untyped: int
) -> None:
    async def run() -> Told:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((_Refusing(details),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        messages = [Hostile("Ask", Kind.SOUND, b""), Hostile("Recommend", Kind.SOUND, b"")]
        try:
            return await sent(f"127.0.0.1:{port}", iter(messages))
        finally:
            await server.stop(None)

    told = asyncio.run(run())
    assert told.codes.total() == 2
    assert told.untyped == untyped
