"""BentoML: a service with a worker a core, started by `bentoml serve`. Its adaptive batching is for
endpoints that take lists; this one takes a shopper, as a storefront asks."""

import os
import sys
from pathlib import Path

import bentoml

from loadtest.peers.arguments import peer_arguments
from loadtest.peers.core import Core

_FOLDER, _WORKERS = "PEERS_FOLDER", "PEERS_PROCESSES"


@bentoml.service(workers=int(os.environ.get(_WORKERS, "2")), traffic={"timeout": 30})
class Recommendations:
    """One worker's models."""

    def __init__(self) -> None:
        self._core = Core(Path(os.environ[_FOLDER]))

    @bentoml.api(route="/recommend")
    def recommend(self, user_id: str, page_size: int = 20) -> dict[str, object]:
        """The best products."""
        return self._core.recommend(user_id, page_size).to_json()


if __name__ == "__main__":
    given = peer_arguments()
    os.environ |= {
        _FOLDER: str(given.folder.absolute()),
        _WORKERS: str(given.processes),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    service = "loadtest.peers.bentoml_service:Recommendations"
    listens = ["--host", "127.0.0.1", "--port", str(given.port)]
    command = [sys.executable, "-m", "bentoml", "serve", service, *listens]
    os.execv(sys.executable, command)  # so that whoever stops this process stops the service
