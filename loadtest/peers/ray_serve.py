"""Ray Serve with its defaults: a deployment of one replica a core behind Serve's own gRPC proxy."""

import os
import signal
import socket
import threading

import ray
from ray import serve
from ray.serve.config import HTTPOptions, gRPCOptions

from loadtest.peers.arguments import PeerArguments, peer_arguments
from loadtest.peers.core import Core
from loadtest.peers.grpc_aio import answered
from serving.proto import recommendations_pb2 as pb

_SERVICER = "serving.proto.recommendations_pb2_grpc.add_RecommendationsServicer_to_server"


@serve.deployment
class Recommendations:
    """The product's own method, without the product."""

    def __init__(self, arguments: PeerArguments) -> None:
        self._core = Core(arguments.folder)

    async def Recommend(self, request: pb.RecommendRequest) -> pb.RecommendResponse:
        """The best products."""
        return answered(self._core, request)


def _free_port() -> int:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        return int(finder.getsockname()[1])


def _run(arguments: PeerArguments) -> None:
    # Not the cluster that runs here already, and more places than cores: the proxy needs none.
    ray.init(address="local", num_cpus=4, include_dashboard=False, logging_level="error")
    serve.start(
        http_options=HTTPOptions(port=_free_port()),  # its proxy serves both
        grpc_options=gRPCOptions(port=arguments.port, grpc_servicer_functions=[_SERVICER]),
    )
    app = Recommendations.options(num_replicas=arguments.processes).bind(arguments)  # type: ignore[attr-defined]
    serve.run(app, name="peer")


if __name__ == "__main__":
    for name in [name for name in os.environ if name.startswith(("RAY_", "VITRINE_"))]:
        del os.environ[name]  # defaults, whatever started us
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    _run(peer_arguments())
    ended.wait()
    serve.shutdown()
    ray.shutdown()
