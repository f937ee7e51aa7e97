"""The gateway with twins behind it, as an application for the nodes of a cluster."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from serving.deployments import gateway_application
from serving.settings import Settings
from tests.contract.twin_door import TwinGateway, door_settings


class NodeGateway(TwinGateway):
    """Its state is the node's own."""

    async def __init__(self, port: int) -> None:  # type: ignore[misc]  # Serve awaits it
        door = replace(door_settings(), port=port)
        await super().__init__(Settings(state_dir=Path(os.environ["VITRINE_STATE_DIR"]), door=door))


def build(arguments: Mapping[str, str]) -> Any:
    """Two replicas that share the port of their node's loopback."""
    return gateway_application(NodeGateway, door_settings(replicas="2"), int(arguments["port"]))
