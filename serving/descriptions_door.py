"""Descriptions door: `vitrine.v1.Descriptions` on Ray Serve, in a process and at a port of its own.

It is an application beside the gateway's, so that restarting it, or the language model behind it,
never touches a recommendation, and it runs at a lower priority, since a page can wait.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

from serving import arrival
from serving.adapters.writer_service import WriterService
from serving.arrival import this_caller
from serving.audit import AuditLog
from serving.deployments import listen_on
from serving.describe.call import Wish
from serving.describe.versions import Kept
from serving.descriptions_codec import (
    MAX_REVIEWS,
    actor_of,
    brief_of,
    draft_of,
    encode_history,
    encode_progress,
    encode_review,
    encode_version,
    kind_of,
    reason_of,
    required_id,
)
from serving.descriptions_service import DescriptionsService, open_descriptions
from serving.descriptions_telemetry import DescriptionsTelemetry
from serving.guard import THIS_DOOR, Tells, Untold
from serving.health import THIS_PROCESS
from serving.logging_setup import REQUESTS, log_to_file
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from serving.refusal import refusal_of, refuse
from serving.settings import Settings
from serving.tls import server_credentials
from shop.descriptions.pages import PageKind
from shop.errors import InvalidRequest, VitrineError

logger = logging.getLogger(__name__)

APPLICATION = "descriptions"
_PATIENCE = 10  # added to the process's niceness
_DEFAULT_REVIEWS = 20
_MAX_SEED = 0x7FFF_FFFF
_SERVE_CALLS = 200


class Descriptions:
    """The methods of the service, for one replica."""

    def __init__(self, service: DescriptionsService, tells: Tells | None = None) -> None:
        self._service = service
        self._tells: Tells = tells or Untold()

    def _answering(self, method: str, grpc_context: Any) -> "_Answering":
        return _Answering(method, grpc_context, self._tells)

    async def GetDescription(
        self, request: pb.GetDescriptionRequest, grpc_context: Any
    ) -> pb.GetDescriptionResponse:
        """The published text; needs no language model."""
        with self._answering("GetDescription", grpc_context):
            page_id, kind = required_id("product_id", request.product_id), kind_of(request.kind)
            kept = await self._service.published(page_id, kind)
            shown = encode_version(kept, with_claims=request.with_claims)
            return pb.GetDescriptionResponse(version=shown)
        return pb.GetDescriptionResponse()

    async def GenerateDescription(
        self, request: pb.GenerateDescriptionRequest, grpc_context: Any
    ) -> AsyncIterator[pb.GenerateDescriptionResponse]:
        """Pieces, judgements and the version as it was kept."""
        with self._answering("GenerateDescription", grpc_context):
            steps = self._service.generate(_wish(request))
            try:
                async for step in steps:
                    yield encode_progress(step)
            finally:  # whoever leaves wants no more written
                await steps.aclose()

    async def SubmitPage(
        self, request: pb.SubmitPageRequest, grpc_context: Any
    ) -> pb.DecisionResponse:
        """Takes in a text that was written elsewhere."""
        with self._answering("SubmitPage", grpc_context):
            kind = kind_of(request.kind)
            page_id = required_id("product_id", request.product_id)
            model = required_id("model", request.model) if request.model else ""
            draft, brief = draft_of(request.text, kind), brief_of(request.brief, kind)
            wish = Wish(page_id, _actor(request.actor), 0, None, kind, brief)
            if kind is PageKind.PHOTO or request.photo:
                if kind is not PageKind.PHOTO or model:
                    field = "model" if kind is PageKind.PHOTO else "photo"
                    raise InvalidRequest(field, "does not go with this kind of page")
                return _decided(await self._service.submit_photo(wish, draft, request.photo))
            return _decided(await self._service.submit(wish, draft, model))
        return pb.DecisionResponse()

    async def GetPhoto(self, request: pb.GetPhotoRequest, grpc_context: Any) -> pb.GetPhotoResponse:
        """A photo's file."""
        with self._answering("GetPhoto", grpc_context):
            digest = required_id("photo", request.photo)
            return pb.GetPhotoResponse(jpeg=await self._service.photos.content(digest))
        return pb.GetPhotoResponse()

    async def ListReviews(
        self, request: pb.ListReviewsRequest, grpc_context: Any
    ) -> pb.ListReviewsResponse:
        """What waits for a person, the greatest impact first."""
        with self._answering("ListReviews", grpc_context):
            limit = request.page_size or _DEFAULT_REVIEWS
            if not 1 <= limit <= MAX_REVIEWS:
                raise InvalidRequest("page_size", f"is {limit}, must be 1 to {MAX_REVIEWS}")
            after = request.page_token or None
            kind = kind_of(request.kind) if request.kind else None
            kept, waiting = await self._service.reviews(limit=limit, after=after, kind=kind)
            following = kept[-1].version.version_id if len(kept) == limit else ""
            return pb.ListReviewsResponse(
                entries=[encode_review(each) for each in kept],
                next_page_token=following,
                waiting=waiting,
            )
        return pb.ListReviewsResponse()

    async def Approve(self, request: pb.ApproveRequest, grpc_context: Any) -> pb.DecisionResponse:
        """Publishes a version that waits."""
        with self._answering("Approve", grpc_context):
            version_id = required_id("version_id", request.version_id)
            return _decided(await self._service.approve(version_id, _actor(request.actor)))
        return pb.DecisionResponse()

    async def Edit(self, request: pb.EditRequest, grpc_context: Any) -> pb.DecisionResponse:
        """Publishes a person's text instead."""
        with self._answering("Edit", grpc_context):
            version_id, actor = required_id("version_id", request.version_id), request.actor
            draft = draft_of(request.text)
            return _decided(await self._service.edit(version_id, draft, _actor(actor)))
        return pb.DecisionResponse()

    async def Reject(self, request: pb.RejectRequest, grpc_context: Any) -> pb.DecisionResponse:
        """Takes a version out of the queue."""
        with self._answering("Reject", grpc_context):
            version_id, actor = required_id("version_id", request.version_id), request.actor
            reason = reason_of(request.reason)
            return _decided(await self._service.reject(version_id, _actor(actor), reason))
        return pb.DecisionResponse()

    async def ListVersions(
        self, request: pb.ListVersionsRequest, grpc_context: Any
    ) -> pb.ListVersionsResponse:
        """Every version and decision of a page."""
        with self._answering("ListVersions", grpc_context):
            page_id, kind = required_id("product_id", request.product_id), kind_of(request.kind)
            return encode_history(*await self._service.store.history(page_id, kind))
        return pb.ListVersionsResponse()

    async def Rollback(self, request: pb.RollbackRequest, grpc_context: Any) -> pb.DecisionResponse:
        """Publishes an earlier version again."""
        with self._answering("Rollback", grpc_context):
            page_id, actor = required_id("product_id", request.product_id), _actor(request.actor)
            kind = kind_of(request.kind)
            return _decided(await self._service.rollback(page_id, request.version_id, actor, kind))
        return pb.DecisionResponse()


class DescriptionsDoor(Descriptions):
    """The service as Ray Serve makes it."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        os.nice(_PATIENCE)
        log_to_file(settings.logs_dir / "descriptions.jsonl", settings.log_level)
        arrival.SERVES[:] = [rpc.add_DescriptionsServicer_to_server]
        door = settings.door
        listen_on(door.host, server_credentials(door), port=settings.describe.port)
        self._audit = AuditLog(Path(door.audit_file)) if door.audit_file else None
        self._stack = AsyncExitStack()
        try:
            opened: AbstractAsyncContextManager[DescriptionsService] = open_descriptions(settings)
            service = await self._stack.enter_async_context(opened)
        except VitrineError as error:
            logger.error(
                "descriptions cannot start: %s", error
            )  # Serve tells only that they did not
            raise
        tells = self._telling(service, settings) if settings.describe.metrics_port else Untold()
        super().__init__(service, tells)
        THIS_DOOR.stand(door, tells, self._audit)
        self._knowing_callers = asyncio.create_task(THIS_DOOR.follow_callers())
        THIS_PROCESS.speak_for(lambda: True)

    def _telling(self, service: DescriptionsService, settings: Settings) -> Tells:
        telemetry = DescriptionsTelemetry()
        telemetry.serve_metrics(settings.door.host, settings.describe.metrics_port)
        writer = WriterService(settings.writer.address, settings.writer.deadline_s)
        self._stack.push_async_callback(writer.close)

        async def waiting() -> int:
            return (await service.reviews(limit=1, after=None))[1]

        looking = asyncio.create_task(telemetry.keep_looking(waiting, writer.look))
        self._stack.callback(looking.cancel)
        return telemetry

    async def __del__(self) -> None:  # Serve awaits it too, when the replica has drained
        self._knowing_callers.cancel()
        if self._audit is not None:
            self._audit.close()
        await self._stack.aclose()


class _Answering:
    """One call: logs it, and answers an error with its status instead of raising it."""

    def __init__(self, method: str, grpc_context: Any, tells: Tells) -> None:
        self._method = method
        self._context = grpc_context
        self._tells = tells
        self._at_s = time.monotonic()

    def __enter__(self) -> None:
        """Nothing to do before."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> bool:
        code = "OK" if error is None else grpc.StatusCode.CANCELLED.name
        if isinstance(error, Exception):
            refusal = refusal_of(error)
            if refusal.code is grpc.StatusCode.INTERNAL:
                logger.error("%s failed", self._method, exc_info=error)
            refuse(self._context, refusal)
            code = refusal.code.name
        seconds = time.monotonic() - self._at_s
        self._tells.finished(self._method, code, seconds)
        ms = round(seconds * 1000.0, 2)
        fields = {"method": self._method, "code": code, "ms": ms}
        REQUESTS.info("%s %s", self._method, code, extra={"fields": fields})
        return isinstance(error, Exception)


def _actor(said: str) -> str:
    """Who acts, as the caller says; and whose token that is, where the door asks for one."""
    name, caller = actor_of(said), this_caller()
    return f"{name} ({caller})" if caller else name


def _wish(request: pb.GenerateDescriptionRequest) -> Wish:
    seed = request.seed if request.HasField("seed") else secrets.randbelow(_MAX_SEED)
    if not 0 <= seed <= _MAX_SEED:
        raise InvalidRequest("seed", f"is {seed}, must be 0 to {_MAX_SEED}")
    adapter = required_id("adapter", request.adapter) if request.adapter else None
    page_id, kind = required_id("product_id", request.product_id), kind_of(request.kind)
    return Wish(page_id, _actor(request.actor), seed, adapter, kind, brief_of(request.brief, kind))


def _decided(kept: Kept) -> pb.DecisionResponse:
    return pb.DecisionResponse(version=encode_version(kept, with_claims=True))


def descriptions_application(door: type, *arguments: Any) -> Any:
    """The Serve application of a door class, made with `arguments`."""
    from ray import serve

    deployment: Any = serve.deployment(door)
    return deployment.options(
        name="descriptions",
        num_replicas=1,
        max_ongoing_requests=_SERVE_CALLS,
        max_queued_requests=_SERVE_CALLS,
        graceful_shutdown_timeout_s=3.0,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2.0,
        health_check_timeout_s=30.0,
        ray_actor_options={"num_cpus": 0},
        logging_config={"enable_access_log": False},
    ).bind(*arguments)
