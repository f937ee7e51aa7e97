"""Arguments that every peer's server is started with."""

import argparse
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class PeerArguments:
    """Where the task lies, where to listen, and on how many cores."""

    folder: Path
    port: int
    processes: int


def peer_arguments() -> PeerArguments:
    """Of this process's command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--processes", type=int, default=2)
    found = parser.parse_args()
    return PeerArguments(found.folder, found.port, found.processes)
