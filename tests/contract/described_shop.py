"""A shop of one product for a door of descriptions: its tables, a voice, a writer, and a caller."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from serving.adapters.token_files import add
from serving.callers import Scope, new_caller
from serving.proto import writer_pb2 as pb
from serving.proto import writer_pb2_grpc as rpc
from tests.unit.described_products import a_shelf
from tests.unit.describing import a_brand


def write_shop(folder: Path) -> None:
    """`products.parquet`, `events.parquet`, `specifications.parquet` and `brand.npz`."""
    folder.mkdir(parents=True)
    facts, brand = a_shelf(), a_brand()
    product = {
        "product_id": facts.product_id,
        "title": facts.title,
        "category": facts.category,
        "brand": facts.brand,
        "price_minor": 9_900,
        "cost_minor": 5_000,
    }
    pq.write_table(pa.Table.from_pylist([product]), folder / "products.parquet")
    events = pa.table({"product_id": [facts.product_id], "type": ["click"]})
    pq.write_table(events, folder / "events.parquet")
    lines = [
        {"product_id": facts.product_id, "name": a.name, "value": a.value, "unit": a.unit}
        for a in facts.attributes
    ]
    pq.write_table(pa.Table.from_pylist(lines), folder / "specifications.parquet")
    np.savez(folder / "brand.npz", weights=brand.weights, bias=brand.bias, version=brand.version)


def a_token(file: Path, *scopes: Scope) -> str:
    """Of somebody whom the file of callers knows from now on."""
    caller, token = new_caller("tests", frozenset(scopes), now_ms=time.time_ns() // 1_000_000)
    add(file, caller)
    return token


class _Scripted(rpc.WriterServicer):
    def __init__(self, text: str) -> None:
        self._text = text

    def Status(self, request: pb.StatusRequest, context: grpc.ServicerContext) -> pb.StatusResponse:
        return pb.StatusResponse(model_version="scripted-1")

    def Write(
        self, request: pb.WriteRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WrittenPiece]:
        half = len(self._text) // 2
        yield pb.WrittenPiece(text=self._text[:half], tokens=1)
        yield pb.WrittenPiece(text=self._text[half:], tokens=2, done=True)


@contextmanager
def a_writer(text: str, port: int = 0) -> Iterator[str]:
    """The address of a writer's service that always writes this."""
    server = grpc.server(ThreadPoolExecutor(2))
    rpc.add_WriterServicer_to_server(_Scripted(text), server)
    port = server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(None).wait()
