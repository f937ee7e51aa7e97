"""Photo files as they come: read if they are pictures, refused if they are anything else."""

import asyncio
import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from serving.adapters.photo_sql import SqlPhotos
from serving.adapters.photos import MAX_PHOTO_BYTES, read_photo, read_quality
from serving.adapters.sqlite import SqliteDatabase
from serving.descriptions_door import Descriptions
from serving.descriptions_service import DescriptionsService
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from shop.errors import DataRejected, DependencyUnavailable, InvalidRequest, NotFound
from tests.unit.describing import deps_of
from tests.unit.drawn_photos import a_photo, as_file
from training.photo_quality import train_photo_quality, write_photo_quality

PNG = b"\x89PNG\r\n\x1a\n"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def a_bomb(width: int, height: int) -> bytes:
    """A small file that says it is enormous."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1_000_000))
    return PNG + _chunk(b"IHDR", head) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")


def moving() -> bytes:
    kept = io.BytesIO()
    frames = [Image.fromarray(a_photo(seed)) for seed in (1, 2)]
    frames[0].save(kept, "WEBP", save_all=True, append_images=frames[1:])
    return kept.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_is_read_and_written_anew(kind: str) -> None:
    photo = read_photo(as_file(a_photo(), kind), thumbnail_side=112)
    assert (photo.width, photo.height) == (120, 160)
    assert photo.thumbnail.shape == (112, 84, 3)
    assert photo.content.startswith(b"\xff\xd8\xff")
    assert Image.open(io.BytesIO(photo.content)).size == (120, 160)


def test_nothing_but_the_picture_is_kept_and_it_stands_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    exif[0x010E] = "home of the photographer"
    payload = b"<?php system('id') ?>"
    photo = read_photo(as_file(a_photo(), exif=exif.tobytes()) + payload, thumbnail_side=112)
    assert (photo.width, photo.height) == (160, 120)
    assert b"photographer" not in photo.content
    assert payload not in photo.content
    assert not Image.open(io.BytesIO(photo.content)).getexif()


def test_a_large_picture_is_kept_smaller() -> None:
    photo = read_photo(as_file(a_photo(width=3_000, height=2_400)), thumbnail_side=112)
    assert (photo.width, photo.height) == (3_000, 2_400)
    assert max(Image.open(io.BytesIO(photo.content)).size) == 2_048
    assert max(photo.pixels.shape) == 448


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"x" * (MAX_PHOTO_BYTES + 1), "bytes"),
        (b"no picture at all", "no whole"),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "no whole"),
        (b"GIF89a" + bytes(400), "no whole"),
        (as_file(a_photo())[:900], "no whole"),
        (as_file(a_photo(), "PNG")[:2_000], "no whole"),
        (as_file(a_photo(), "BMP"), "no whole"),
        (a_bomb(5_000, 5_000), "pixels"),
        (a_bomb(11_000, 11_000), "pixels"),
        (a_bomb(60_000, 60_000), "pixels"),
        (as_file(np.zeros((20, 40, 3), np.uint8)), "too small"),
        (as_file(np.zeros((40, 900, 3), np.uint8)), "strip"),
        (moving(), "moves"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_for_a_page_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as refused:
        read_photo(content, thumbnail_side=112)
    assert refused.value.field == "photo"


def test_damaged_files_are_refused_and_never_more() -> None:
    rng = np.random.default_rng(5)
    for kind in ("JPEG", "PNG", "WEBP"):
        whole = bytearray(as_file(a_photo(), kind))
        for _ in range(40):
            damaged = bytearray(whole)
            for at in rng.integers(0, len(whole), 12):
                damaged[at] = int(rng.integers(256))
            with suppress(InvalidRequest):  # whatever else it raised would fail the test
                read_photo(bytes(damaged), thumbnail_side=112)


def test_a_model_is_trained_on_real_photos_files_and_read_again(tmp_path: Path) -> None:
    files = [as_file(a_photo(seed), quality=95) for seed in range(24)]
    table = pa.table({"split": ["train"] * 16 + ["test"] * 8, "jpeg": files})
    model, report = train_photo_quality(table)
    assert report.auc > 0.8
    write_photo_quality(tmp_path, model, report)
    again = read_quality(tmp_path / "photo_quality.npz")
    assert (again.side, again.version) == (model.side, model.version)
    assert np.array_equal(again.weights, model.weights)
    (tmp_path / "photo_quality.npz").write_bytes(b"PK\x03\x04 not a model")
    with pytest.raises(DependencyUnavailable):
        read_quality(tmp_path / "photo_quality.npz")
    with pytest.raises(DataRejected, match="jpeg"):
        train_photo_quality(table.select(["split"]))


def test_a_photo_goes_through_the_door_and_comes_back_clean(tmp_path: Path) -> None:
    async def work(stub: rpc.DescriptionsStub) -> None:
        page = pb.SubmitPageRequest(
            kind=pb.PAGE_PHOTO, product_id="P1", actor="ada", photo=as_file(a_photo()),
            text=pb.PageText(opening="An oak bookshelf, 80 cm wide."),
        )  # fmt: skip
        made = (await stub.SubmitPage(page)).version
        assert (made.kind, made.state) == (pb.PAGE_PHOTO, pb.VERSION_IN_REVIEW)
        assert "sharpness" in {each.name for each in made.measures}
        await stub.Approve(pb.ApproveRequest(version_id=made.version_id, actor="bob"))
        shown = await stub.GetDescription(
            pb.GetDescriptionRequest(product_id="P1", kind=pb.PAGE_PHOTO)
        )
        jpeg = (await stub.GetPhoto(pb.GetPhotoRequest(photo=shown.version.photo))).jpeg
        assert Image.open(io.BytesIO(jpeg)).size == (120, 160)
        for change, field in (
            (lambda: setattr(page, "photo", b"no picture"), "photo"),
            (lambda: setattr(page, "photo", b""), "photo"),
            (lambda: setattr(page, "kind", pb.PAGE_PRODUCT), "photo"),
        ):
            page.kind, page.photo = pb.PAGE_PHOTO, as_file(a_photo())
            change()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.SubmitPage(page)
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            assert (refused.value.details() or "").startswith(field)

    _through_the_door(tmp_path, work)


def _through_the_door(
    folder: Path, work: Callable[[rpc.DescriptionsStub], Awaitable[None]]
) -> None:
    async def run() -> None:
        deps = deps_of(folder)  # which makes the tables
        photos = SqlPhotos(SqliteDatabase(folder / "versions.sqlite"))
        deps = replace(deps, seen=photos)
        with pytest.raises(NotFound):
            await photos.content("0" * 64)
        service = DescriptionsService(deps, deps.versions, photos, asyncio.Semaphore(1))  # type: ignore[arg-type]
        server = grpc.aio.server()
        rpc.add_DescriptionsServicer_to_server(Descriptions(service), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                await work(rpc.DescriptionsStub(channel))
        finally:
            await server.stop(None)

    asyncio.run(run())
