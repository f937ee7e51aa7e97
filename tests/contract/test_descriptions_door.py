"""`vitrine.v1.Descriptions` through a real gRPC server: what callers hear, what is refused."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from serving.describe.call import Deps
from serving.describe.ports import Piece, WritingRequest
from serving.descriptions_door import Descriptions
from serving.descriptions_service import DescriptionsService
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from tests.unit.described_products import a_page
from tests.unit.describing import FALSE, TRUE, a_product, deps_of
from tests.unit.written_pages import OFFER, a_letter

Stub = rpc.DescriptionsStub


@asynccontextmanager
async def _door(deps: Deps) -> AsyncIterator[Stub]:
    server = grpc.aio.server()
    photos = deps.seen
    service = DescriptionsService(deps, deps.versions, photos, asyncio.Semaphore(2))  # type: ignore[arg-type]
    rpc.add_DescriptionsServicer_to_server(Descriptions(service), server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield Stub(channel)
    finally:
        await server.stop(None)


class _EndlessWriter:
    """Begins, and never comes to an end by itself."""

    model_version = "endless"

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        try:
            yield Piece("{", done=False, tokens=1)
            await asyncio.Event().wait()
        finally:
            self.left.set()


def _with_door(deps: Deps, work: Callable[[Stub], Awaitable[None]]) -> None:
    async def run() -> None:
        async with _door(deps) as stub:
            await work(stub)

    asyncio.run(run())


async def _generate(stub: Stub, product_id: str = "P1") -> list[pb.GenerateDescriptionResponse]:
    request = pb.GenerateDescriptionRequest(product_id=product_id, actor="ada", seed=5)
    return [step async for step in stub.GenerateDescription(request)]


async def _code(call: Awaitable[object]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return refused.value.code(), refused.value.details() or ""


def test_a_text_is_streamed_judged_kept_and_shown(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        steps = await _generate(stub)
        second = "".join(s.piece.text for s in steps if s.piece.attempt == 2)
        assert second == TRUE
        assert [len(s.judged.faults) > 0 for s in steps if s.HasField("judged")] == [True, False]
        finished = steps[-1].finished
        assert finished.state == pb.VERSION_PUBLISHED
        assert finished.seed == 5
        shown = await stub.GetDescription(
            pb.GetDescriptionRequest(product_id="P1", with_claims=True)
        )
        assert shown.version.text.opening == a_page().opening
        assert {claim.attribute for claim in shown.version.claims} >= {"width", "material"}
        assert shown.version.version_id == finished.version_id

    _with_door(deps_of(tmp_path, [FALSE, TRUE]), work)


def test_a_review_ends_in_approval_rejection_or_an_edit(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        await _generate(stub)
        waiting = await stub.ListReviews(pb.ListReviewsRequest())
        assert waiting.waiting == 1
        entry = waiting.entries[0]
        assert entry.impact == pytest.approx(entry.traffic * entry.margin * entry.risk)
        version_id = entry.version.version_id
        approved = await stub.Approve(pb.ApproveRequest(version_id=version_id, actor="bob"))
        assert approved.version.state == pb.VERSION_PUBLISHED
        code, said = await _code(stub.Reject(pb.RejectRequest(version_id=version_id, actor="c")))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "published" in said
        await _generate(stub)
        again = (await stub.ListReviews(pb.ListReviewsRequest())).entries[0].version
        text = pb.PageText(
            opening=a_page().opening, bullets=a_page().bullets, close="It goes with lamps."
        )
        request = pb.EditRequest(version_id=again.version_id, text=text, actor="bob")
        edited = await stub.Edit(request)
        assert edited.version.text.close == "It goes with lamps."
        request.text.close = "It goes with lamps and is waterproof."
        code, said = await _code(stub.Edit(request))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "waterproof" in said

    _with_door(deps_of(tmp_path, products=[a_product(traffic_share=0.9)]), work)


def test_a_roll_back_is_visible_at_once_and_remembered(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        one = (await _generate(stub))[-1].finished
        other = (await _generate(stub))[-1].finished
        ask = pb.GetDescriptionRequest(product_id="P1")
        assert (await stub.GetDescription(ask)).version.version_id == other.version_id
        await stub.Rollback(pb.RollbackRequest(product_id="P1", actor="bob"))
        assert (await stub.GetDescription(ask)).version.version_id == one.version_id
        kept = await stub.ListVersions(pb.ListVersionsRequest(product_id="P1"))
        assert [v.number for v in kept.versions] == [2, 1]
        assert [d.action for d in kept.decisions][:2] == ["rolled_back", "published"]
        assert kept.decisions[0].actor == "bob"

    _with_door(deps_of(tmp_path), work)


def test_a_letter_is_handed_in_approved_shown_and_rolled_back(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        ask = pb.GetDescriptionRequest(product_id="spring", kind=pb.PAGE_CAMPAIGN)
        for opening in (a_letter().opening, a_letter().opening.replace("every", "each")):
            made = (await stub.SubmitPage(_a_page(opening))).version
            assert (made.kind, made.state) == (pb.PAGE_CAMPAIGN, pb.VERSION_IN_REVIEW)
            assert {each.name: each.value for each in made.measures}["spam points"] == 0.4
            assert {claim.attribute for claim in made.claims} >= {"offer", "P1 width"}
            waiting = await stub.ListReviews(pb.ListReviewsRequest(kind=pb.PAGE_CAMPAIGN))
            assert [each.version.version_id for each in waiting.entries] == [made.version_id]
            await stub.Approve(pb.ApproveRequest(version_id=made.version_id, actor="bob"))
            assert (await stub.GetDescription(ask)).version.text.opening == opening
        back = pb.RollbackRequest(product_id="spring", actor="bob", kind=pb.PAGE_CAMPAIGN)
        await stub.Rollback(back)
        assert (await stub.GetDescription(ask)).version.number == 1
        products = await stub.ListReviews(pb.ListReviewsRequest(kind=pb.PAGE_PRODUCT))
        assert products.waiting == 0

    _with_door(deps_of(tmp_path), work)


def _a_page(opening: str) -> pb.SubmitPageRequest:
    letter = a_letter(opening=opening)
    text = pb.PageText(
        opening=letter.opening, bullets=letter.bullets, close=letter.close,
        title=letter.title, summary=letter.summary,
    )  # fmt: skip
    stated = [pb.ProductFact(name=each.name, value=each.value) for each in OFFER.stated]
    brief = pb.CampaignBrief(product_ids=OFFER.product_ids, stated=stated)
    return pb.SubmitPageRequest(
        kind=pb.PAGE_CAMPAIGN, product_id="spring", text=text, actor="ada", brief=brief
    )


def test_a_page_that_cannot_be_taken_in_is_refused_by_field(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        for change, field in (
            (lambda page: page.ClearField("brief"), "brief"),
            (lambda page: page.brief.product_ids.extend(["P1"] * 21), "brief.product_ids"),
            (lambda page: setattr(page.brief.stated[0], "value", ""), "brief.stated[0].value"),
            (lambda page: setattr(page, "kind", pb.PAGE_CATEGORY), "brief"),
            (lambda page: setattr(page, "kind", 99), "kind"),
            (lambda page: setattr(page.text, "title", ""), "text.title"),
            (lambda page: setattr(page.text, "summary", "x" * 2_000), "text.summary"),
            (lambda page: setattr(page, "model", "m\n"), "model"),
        ):
            page = _a_page(a_letter().opening)
            change(page)
            code, said = await _code(stub.SubmitPage(page))
            assert (code, said.startswith(field)) == (grpc.StatusCode.INVALID_ARGUMENT, True), said
        page = _a_page(a_letter().opening)
        page.brief.product_ids[0] = "P404"
        assert (await _code(stub.SubmitPage(page)))[0] is grpc.StatusCode.NOT_FOUND

    _with_door(deps_of(tmp_path), work)


def test_leaving_a_stream_stops_the_writing(tmp_path: Path) -> None:
    writer = _EndlessWriter()

    async def work(stub: Stub) -> None:
        request = pb.GenerateDescriptionRequest(product_id="P1", actor="ada")
        call = stub.GenerateDescription(request)
        await call.read()
        call.cancel()
        await asyncio.wait_for(writer.left.wait(), 5.0)

    _with_door(deps_of(tmp_path, writer=writer), work)


def test_wrong_requests_are_refused_by_field(tmp_path: Path) -> None:
    async def work(stub: Stub) -> None:
        refused = grpc.StatusCode.INVALID_ARGUMENT
        for call, field in (
            (stub.GetDescription(pb.GetDescriptionRequest()), "product_id"),
            (stub.GetDescription(pb.GetDescriptionRequest(product_id="a\nb")), "product_id"),
            (stub.Approve(pb.ApproveRequest(version_id="v")), "actor"),
            (stub.Approve(pb.ApproveRequest(version_id="v", actor="a")), "version_id"),
            (stub.ListReviews(pb.ListReviewsRequest(page_size=101)), "page_size"),
            (stub.Edit(pb.EditRequest(version_id="v", actor="a")), "text.opening"),
        ):
            code, said = await _code(call)
            assert (code, field in said) == (refused, True), said
        for product_id in ("P1", "P404"):
            code, _ = await _code(
                stub.GetDescription(pb.GetDescriptionRequest(product_id=product_id))
            )
            assert code is grpc.StatusCode.NOT_FOUND
        code, _ = await _code(_generate(stub, "P404"))
        assert code is grpc.StatusCode.NOT_FOUND
        nothing = pb.RollbackRequest(product_id="P1", actor="a")
        assert (await _code(stub.Rollback(nothing)))[0] is grpc.StatusCode.NOT_FOUND

    _with_door(deps_of(tmp_path), work)
