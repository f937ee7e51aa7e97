"""KServe: its model server with a custom model and a worker a core, by the V1 protocol."""

from functools import cached_property
from pathlib import Path
from typing import Any

from kserve import Model, ModelServer

from loadtest.peers.arguments import peer_arguments
from loadtest.peers.core import Core


class Recommendations(Model):  # type: ignore[misc]
    """The model `vitrine`."""

    def __init__(self, folder: Path) -> None:
        super().__init__("vitrine")
        self._folder = folder
        self.ready = True

    @cached_property
    def _core(self) -> Core:
        """Opened in the worker that answers: the server pickles the model to get it there."""
        return Core(self._folder)

    def predict(self, payload: dict[str, Any], headers: Any = None, **_: Any) -> dict[str, Any]:
        """One list for each instance."""
        wanted = payload["instances"]
        found = [self._core.recommend(each["user_id"], each["page_size"]) for each in wanted]
        return {"predictions": [each.to_json() for each in found]}


if __name__ == "__main__":
    given = peer_arguments()
    server = ModelServer(
        http_port=given.port, workers=given.processes, enable_grpc=False, access_log_format=None
    )
    server.start([Recommendations(given.folder.absolute())])
