"""Writer service: the Writer of a process elsewhere, over gRPC; see serving/proto/writer.proto."""

import json
from collections.abc import AsyncIterator

import grpc
import grpc.aio

from serving.adapters.grpc_calls import open_channel, translated
from serving.describe.ports import Piece, WritingRequest
from serving.proto import writer_pb2 as pb
from serving.proto import writer_pb2_grpc
from shop.errors import DependencyUnavailable, InvalidRequest, NotFound, Overloaded, VitrineError

_NAME = "writer"
_STATUS_S = 2.0
_RETRY_MS = 2_000
_UNKNOWN = "unknown"
_ABSENT = (
    "no language model answers; is one set up, and loaded? see `vitrine train describer --help`"
)


class WriterService:
    """A language model behind an address. Connects with the first call."""

    def __init__(self, address: str, deadline_s: float) -> None:
        self._channel = open_channel(address)
        self._stub = writer_pb2_grpc.WriterStub(self._channel)  # type: ignore[no-untyped-call]
        self._deadline_s = deadline_s
        self._version = _UNKNOWN

    @property
    def model_version(self) -> str:
        """As the service told it last; "unknown" before `look` or a first text."""
        return self._version

    async def look(self) -> pb.StatusResponse:
        """What is served there now. Raises DependencyTimeout or DependencyUnavailable."""
        try:
            status: pb.StatusResponse = await self._stub.Status(
                pb.StatusRequest(), timeout=_STATUS_S
            )
        except grpc.aio.AioRpcError as error:
            raise _error(error, _STATUS_S) from error
        self._version = status.model_version
        return status

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """Pieces as they come; closing the iterator cancels the generation over there.

        Raises DependencyUnavailable if no model is there, DependencyTimeout if it stalls, and what
        the service refuses: InvalidRequest, NotFound, Overloaded.
        """
        await self.look()  # the version that this text will be remembered with
        asked = pb.WriteRequest(
            system=request.system,
            prompt=request.prompt,
            schema_json=json.dumps(dict(request.schema)),
            max_tokens=request.max_tokens,
            seed=request.seed,
            temperature=request.temperature,
            adapter=request.adapter or "",
        )
        call = self._stub.Write(asked, timeout=self._deadline_s)
        is_done = False
        try:
            async for piece in call:
                is_done = piece.done
                yield Piece(piece.text, piece.done, piece.tokens)
        except grpc.aio.AioRpcError as error:
            raise _error(error, self._deadline_s) from error
        finally:
            call.cancel()  # does nothing to a call that has ended
        if not is_done:
            raise DependencyUnavailable(_NAME, "the text broke off")

    async def close(self) -> None:
        """Ends the connection, and with it every text under way."""
        await self._channel.close(None)


def _error(error: grpc.aio.AioRpcError, allowed_s: float) -> VitrineError:
    details = (error.details() or "")[:300]
    if error.code() == grpc.StatusCode.INVALID_ARGUMENT:
        field, _, reason = details.partition(": ")
        return InvalidRequest(field, reason)
    if error.code() == grpc.StatusCode.NOT_FOUND:
        return NotFound(details)
    if error.code() == grpc.StatusCode.RESOURCE_EXHAUSTED:
        return Overloaded(details, _RETRY_MS)
    if error.code() == grpc.StatusCode.UNAVAILABLE and details.startswith("failed to connect"):
        return DependencyUnavailable(_NAME, _ABSENT)
    return translated(_NAME, error, allowed_s)
