"""LitServe: a worker process a core with its own batching, and an API server for each, as its
documentation advises for throughput."""

from pathlib import Path

import litserve

from loadtest.peers.arguments import peer_arguments
from loadtest.peers.core import Core, Found

_MAX_BATCH = 8
_BATCH_S = 0.002


class Recommendations(litserve.LitAPI):
    """Batches what arrives together."""

    def __init__(self, folder: Path) -> None:
        super().__init__(max_batch_size=_MAX_BATCH, batch_timeout=_BATCH_S, api_path="/recommend")
        self._folder = folder

    def setup(self, device: str) -> None:
        """Once in each worker."""
        self._core = Core(self._folder)

    def decode_request(self, request: dict[str, object]) -> tuple[str, int]:
        """Shopper and list length."""
        return str(request["user_id"]), int(str(request["page_size"]))

    def batch(self, inputs: list[tuple[str, int]]) -> list[tuple[str, int]]:
        """Requests stay a list: there is nothing to stack yet."""
        return inputs

    def unbatch(self, output: list[Found]) -> list[Found]:
        """Each list to its caller."""
        return output

    def predict(self, inputs: list[tuple[str, int]]) -> list[Found]:
        """All lists of a batch in one run of the models."""
        longest = max(count for _, count in inputs)
        return self._core.recommend_many([shopper for shopper, _ in inputs], longest)

    def encode_response(self, output: Found) -> dict[str, object]:
        """As JSON."""
        return output.to_json()


if __name__ == "__main__":
    given = peer_arguments()
    server = litserve.LitServer(
        Recommendations(given.folder.absolute()),
        accelerator="cpu",
        workers_per_device=given.processes,
    )
    server.run(
        host="127.0.0.1",
        port=given.port,
        num_api_servers=given.processes,
        log_level="warning",
        generate_client_file=False,
        access_log=False,
    )
