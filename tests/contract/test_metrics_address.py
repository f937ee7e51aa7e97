"""Where a replica serves its metrics, and that it says so: another may have the port."""

import socket
import urllib.request
from dataclasses import replace
from pathlib import Path

import pytest

from serving.deployments import serve_metrics
from serving.settings import DoorSettings, Settings
from serving.stack.folder import StateFolder
from serving.stack.ports import free_port
from serving.telemetry import Telemetry


@pytest.mark.parametrize("is_taken", [False, True])
def test_metrics_are_where_the_replica_says(tmp_path: Path, is_taken: bool) -> None:
    port = free_port()
    settings = replace(Settings(state_dir=tmp_path), door=DoorSettings(metrics_port=port - 1))
    with socket.socket() as other:
        if is_taken:
            other.bind(("127.0.0.1", port))
            other.listen()
        telemetry = Telemetry()
        serve_metrics(telemetry, settings, rank=1)
        told = StateFolder(tmp_path).metrics_address(rank=1).read_text()
        assert (told == f"127.0.0.1:{port}") is not is_taken
        with urllib.request.urlopen(f"http://{told}/metrics") as page:
            assert b"vitrine_" in page.read()
