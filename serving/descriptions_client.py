"""Descriptions client: the door of `vitrine.v1.Descriptions` from asyncio, with our errors.

Nothing is asked twice by itself: a decision may have been made though its answer was lost.
"""

from types import TracebackType
from typing import Self

import grpc.aio

from serving.client_calls import (
    DEFAULT_TIMEOUT_S,
    ClientTls,
    authorized,
    channel_options,
    our_errors,
)
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc

Kind = pb.PageKind
_ANY = pb.PAGE_KIND_UNSPECIFIED
_READING_S = 30.0  # a spam filter reads a letter for some seconds


class AsyncDescriptionsClient:
    """Asks one door. Calls raise errors of `shop.errors`. Make it inside the running loop."""

    def __init__(
        self,
        address: str,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        tls: ClientTls | None = None,
        token: str | None = None,
    ) -> None:
        self.address = address
        self._metadata = authorized(token)
        self._timeout_s = timeout_s
        options = channel_options(retries=False)
        self._channel = (
            grpc.aio.insecure_channel(address, options=options)
            if tls is None
            else grpc.aio.secure_channel(address, tls.credentials(), options=options)
        )
        self._door = rpc.DescriptionsStub(self._channel)  # type: ignore[no-untyped-call]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._channel.close(None)

    async def reviews(
        self, *, page_size: int = 0, page_token: str = "", kind: Kind = _ANY
    ) -> pb.ListReviewsResponse:
        """What waits for a person, the greatest impact first; of one kind of page or of all."""
        ask = pb.ListReviewsRequest(page_size=page_size, page_token=page_token, kind=kind)
        with our_errors(self.address):
            found: pb.ListReviewsResponse = await self._door.ListReviews(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return found

    async def versions(self, product_id: str, kind: Kind = _ANY) -> pb.ListVersionsResponse:
        """Every version and decision of a page, the newest first; a product's by default."""
        ask = pb.ListVersionsRequest(product_id=product_id, kind=kind)
        with our_errors(self.address):
            found: pb.ListVersionsResponse = await self._door.ListVersions(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return found

    async def generate(
        self, product_id: str, *, actor: str, kind: Kind = _ANY, timeout_s: float = 120.0
    ) -> pb.DescriptionVersion:
        """Has a new version written and waits for its end. Leaving stops the writing."""
        ask = pb.GenerateDescriptionRequest(product_id=product_id, actor=actor, kind=kind)
        finished = pb.DescriptionVersion()
        with our_errors(self.address):
            steps = self._door.GenerateDescription(ask, timeout=timeout_s, metadata=self._metadata)
            async for step in steps:
                if step.HasField("finished"):
                    finished = step.finished
        return finished

    async def submit(self, page: pb.SubmitPageRequest) -> pb.DescriptionVersion:
        """Hands in a text that was written elsewhere."""
        with our_errors(self.address):
            made: pb.DecisionResponse = await self._door.SubmitPage(
                page, timeout=max(self._timeout_s, _READING_S), metadata=self._metadata
            )
        return made.version

    async def photo(self, photo: str) -> bytes:
        """A photo's JPEG file. Raises NotFound."""
        ask = pb.GetPhotoRequest(photo=photo)
        with our_errors(self.address):
            found: pb.GetPhotoResponse = await self._door.GetPhoto(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return bytes(found.jpeg)

    async def approve(self, version_id: str, *, actor: str) -> pb.DescriptionVersion:
        """Publishes a version that waits."""
        ask = pb.ApproveRequest(version_id=version_id, actor=actor)
        with our_errors(self.address):
            made: pb.DecisionResponse = await self._door.Approve(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return made.version

    async def reject(self, version_id: str, *, actor: str, reason: str) -> pb.DescriptionVersion:
        """Takes a version out of the queue."""
        ask = pb.RejectRequest(version_id=version_id, actor=actor, reason=reason)
        with our_errors(self.address):
            made: pb.DecisionResponse = await self._door.Reject(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return made.version

    async def edit(
        self, version_id: str, text: pb.PageText, *, actor: str
    ) -> pb.DescriptionVersion:
        """Publishes a person's text instead. Raises InvalidRequest, naming what no fact grants."""
        ask = pb.EditRequest(version_id=version_id, text=text, actor=actor)
        with our_errors(self.address):
            made: pb.DecisionResponse = await self._door.Edit(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return made.version

    async def roll_back(
        self, product_id: str, version_id: str, *, actor: str, kind: Kind = _ANY
    ) -> pb.DescriptionVersion:
        """Publishes an earlier version again; "" means the one that was shown before."""
        ask = pb.RollbackRequest(
            product_id=product_id, version_id=version_id, actor=actor, kind=kind
        )
        with our_errors(self.address):
            made: pb.DecisionResponse = await self._door.Rollback(
                ask, timeout=self._timeout_s, metadata=self._metadata
            )
        return made.version
