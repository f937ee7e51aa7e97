"""The client against a real gRPC server: a refusal comes back as the error that was raised."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc
from serving.refusal import refusal_of, refuse
from shop.errors import InvalidRequest, Overloaded


class Door(rpc.RecommendationsServicer):
    """Refuses as the request's placement says."""

    def Recommend(self, request: pb.RecommendRequest, context: Any) -> pb.RecommendResponse:
        if request.placement == "shed":
            refuse(context, refusal_of(Overloaded("too many calls", 2_500)))
        elif request.placement == "shed-some-time":
            refuse(context, refusal_of(Overloaded("too many calls", None)))
        elif request.placement == "shed-by-another":  # a proxy, or Ray Serve itself
            context.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            context.set_details("Request dropped due to backpressure")
        else:
            refuse(context, refusal_of(InvalidRequest("placement", "is unknown")))
        return pb.RecommendResponse()


@pytest.fixture
def client() -> Iterator[VitrineClient]:
    server = grpc.server(ThreadPoolExecutor(max_workers=1))
    rpc.add_RecommendationsServicer_to_server(Door(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with VitrineClient(f"127.0.0.1:{port}") as opened:
        yield opened
    server.stop(None).wait()


def test_a_shed_call_says_when_to_come_back_as_the_door_said_it(client: VitrineClient) -> None:
    with pytest.raises(Overloaded) as caught:
        client.recommend(placement="shed")
    assert caught.value.retry_after_ms == 2_500
    assert str(caught.value) == "too many calls; retry after 2500 ms"


@pytest.mark.parametrize(
    ("placement", "reason"),
    [
        ("shed-some-time", "too many calls; retry later"),
        ("shed-by-another", "Request dropped due to backpressure; retry later"),
    ],
)
def test_where_nobody_named_a_time_none_is_invented(
    client: VitrineClient, placement: str, reason: str
) -> None:
    with pytest.raises(Overloaded) as caught:
        client.recommend(placement=placement)
    assert caught.value.retry_after_ms is None
    assert str(caught.value) == reason


def test_a_wrong_field_is_named(client: VitrineClient) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.recommend(placement="attic")
    assert (caught.value.field, caught.value.reason) == ("placement", "is unknown")
