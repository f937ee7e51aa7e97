"""Writer gateway: the gRPC service of the language model, as Ray Serve runs it."""

import json
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc

from serving.adapters.vllm import VllmWriter
from serving.deployments import listen_on
from serving.describe.ports import WritingRequest
from serving.health import THIS_PROCESS, answer_health
from serving.logging_setup import log_to_file
from serving.proto import writer_pb2 as pb
from serving.proto import writer_pb2_grpc
from serving.settings import Settings
from shop.errors import (
    DependencyTimeout,
    InvalidRequest,
    NotFound,
    Overloaded,
    VitrineError,
)

logger = logging.getLogger(__name__)

APPLICATION = "writer"
SERVICER_FUNCTIONS = ("serving.writer_gateway.add_services",)
_MAX_SCHEMA = 250_000  # characters; that of a page with very many lines has some 50,000
_MAX_PROMPT = 200_000
_STATUS: tuple[tuple[type[VitrineError], grpc.StatusCode], ...] = (
    (InvalidRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (NotFound, grpc.StatusCode.NOT_FOUND),
    (Overloaded, grpc.StatusCode.RESOURCE_EXHAUSTED),
    (DependencyTimeout, grpc.StatusCode.DEADLINE_EXCEEDED),
)


class WriterGateway:
    """One engine, in the process that answers its callers: no hop between them."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        log_to_file(settings.logs_dir / "writer.jsonl", settings.log_level)
        listen_on(settings.writer.host, None)
        try:
            self._writer = await VllmWriter.open(settings.writer, settings.state_dir)
        except VitrineError as error:
            logger.error("the writer cannot start: %s", error)  # Serve tells only that it did not
            raise
        THIS_PROCESS.speak_for(lambda: self._is_well)
        logger.info("writing with %s", self._writer.model_version)

    async def Write(
        self, request: pb.WriteRequest, grpc_context: Any
    ) -> AsyncIterator[pb.WrittenPiece]:
        """One text; ends with the call's status set if it cannot be written."""
        try:
            stream = self._writer.write(_asked(request))
            try:
                async for piece in stream:
                    yield pb.WrittenPiece(text=piece.text, done=piece.done, tokens=piece.tokens)
            finally:
                await stream.aclose()  # type: ignore[attr-defined]  # a caller who leaves ends it
        except VitrineError as error:
            logger.info("refused: %s", error)
            grpc_context.set_code(_status_of(error))
            grpc_context.set_details(str(error)[:500])

    async def Status(self, request: pb.StatusRequest) -> pb.StatusResponse:
        """What is served."""
        return pb.StatusResponse(
            model_version=self._writer.model_version,
            adapters=self._writer.adapters(),
            under_way=self._writer.under_way,
            cached_share=self._writer.cached_share(),
        )

    async def check_health(self) -> None:
        """Asked by Ray Serve, which replaces a replica whose engine died."""
        self._writer.check()

    @property
    def _is_well(self) -> bool:
        try:
            self._writer.check()
        except VitrineError:
            return False
        return True


def add_services(servicer: Any, server: Any) -> None:
    """Adds the writer and its health to a gRPC server of Ray Serve."""
    writer_pb2_grpc.add_WriterServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    answer_health(server)


def _asked(request: pb.WriteRequest) -> WritingRequest:
    for name, limit in (("system", _MAX_PROMPT), ("prompt", _MAX_PROMPT)):
        if len(getattr(request, name)) > limit:
            raise InvalidRequest(name, f"is longer than {limit} characters")
    return WritingRequest(
        system=request.system,
        prompt=request.prompt,
        schema=_schema(request.schema_json),
        max_tokens=request.max_tokens,
        seed=request.seed,
        temperature=request.temperature,
        adapter=request.adapter or None,
    )


def _schema(written: str) -> Mapping[str, object]:
    if len(written) > _MAX_SCHEMA:
        raise InvalidRequest("schema_json", f"is longer than {_MAX_SCHEMA} characters")
    try:
        schema = json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("schema_json", "is no JSON") from error
    if not isinstance(schema, dict):
        raise InvalidRequest("schema_json", "must be a JSON object")
    return schema


def _status_of(error: VitrineError) -> grpc.StatusCode:
    found = (status for kind, status in _STATUS if isinstance(error, kind))
    return next(found, grpc.StatusCode.UNAVAILABLE)
