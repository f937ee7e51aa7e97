"""Bare grpc.aio: the leanest that Python has. One process a core behind one port (SO_REUSEPORT, as
gRPC's own multiprocessing example does); the models' work is done in the loop, as it is too short
to be worth a thread's hand-over."""

import asyncio
import multiprocessing

import grpc.aio

from loadtest.peers.arguments import PeerArguments, peer_arguments
from loadtest.peers.core import Core
from serving.proto import recommendations_pb2 as pb
from serving.proto import recommendations_pb2_grpc as rpc


class Recommendations(rpc.RecommendationsServicer):
    """The product's own method, without the product."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def Recommend(
        self, request: pb.RecommendRequest, context: grpc.aio.ServicerContext
    ) -> pb.RecommendResponse:
        return answered(self._core, request)


def answered(core: Core, request: pb.RecommendRequest) -> pb.RecommendResponse:
    """One request's list."""
    found = core.recommend(request.user_id, request.page_size)
    items = [
        pb.RecommendedProduct(product_id=product, score=score)
        for product, score in zip(found.product_ids, found.scores, strict=True)
    ]
    return pb.RecommendResponse(items=items, scored_count=found.scored)


async def _serve(arguments: PeerArguments) -> None:
    server = grpc.aio.server(options=[("grpc.so_reuseport", 1)])
    rpc.add_RecommendationsServicer_to_server(Recommendations(Core(arguments.folder)), server)
    server.add_insecure_port(f"127.0.0.1:{arguments.port}")
    await server.start()
    await server.wait_for_termination()


def _process(arguments: PeerArguments) -> None:
    asyncio.run(_serve(arguments))


if __name__ == "__main__":
    given = peer_arguments()
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=_process, args=(given,), daemon=True) for _ in range(given.processes)
    ]
    for process in others:
        process.start()
    for process in others:
        process.join()
