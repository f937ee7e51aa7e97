"""Cluster app: the gateway as a Ray cluster starts it from a config, see `k8s/base/serving`.

`serving.app` brings a Ray of its own and ends with it; here Ray is there already, and the config
names `serving.cluster_app:build`. A replica reads its settings where it runs, so that no secret of
them becomes a part of what Ray keeps.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.caller_check import check_callers
from serving.deployments import DoorGateway, gateway_application
from serving.settings import DoorSettings, Settings
from serving.settings_reader import load_settings
from serving.sharding import check_shards
from serving.tls import check_certificates
from shop.errors import SettingsRejected

_SETTINGS = "settings"  # the one argument


class ClusterGateway(DoorGateway):
    """The gateway of one pod: settings from a file and from the pod's own environment."""

    async def __init__(self, settings_file: str) -> None:  # type: ignore[misc]  # Serve awaits it
        settings = cluster_settings(Path(settings_file))
        check_certificates(settings.door)
        check_callers(settings.door)
        await super().__init__(settings)


def build(arguments: Mapping[str, str]) -> Any:
    """The Serve application. `arguments` come from the config: `settings`, a TOML file's path.

    Raises SettingsRejected for what every replica would refuse, before any is started.
    """
    settings_file = named_settings(arguments)
    return gateway_application(ClusterGateway, DoorSettings(), settings_file)


def named_settings(arguments: Mapping[str, str]) -> str:
    """The path in an application's `args`, once what it leads to was read.

    Raises SettingsRejected.
    """
    if set(arguments) != {_SETTINGS}:
        raise SettingsRejected(
            f"args: must be {_SETTINGS} alone, the path of a TOML file; has {sorted(arguments)}"
        )
    cluster_settings(Path(arguments[_SETTINGS]))
    return arguments[_SETTINGS]


def cluster_settings(file: Path) -> Settings:
    """The settings of a pod. Raises SettingsRejected for what only one machine can do."""
    settings = load_settings(file)
    if not settings.state_dir.is_absolute():
        raise SettingsRejected(
            f"state_dir = {str(settings.state_dir)!r}: must be absolute in a cluster, where each"
            " replica runs in a folder of its own"
        )
    if settings.door.kind != "direct":
        raise SettingsRejected(
            f"door.kind = {settings.door.kind!r}: must be 'direct' in a cluster, whose Gateway"
            " stands in front of all pods"
        )
    check_shards(settings)
    # A replica runs in a folder of its own: who may call is read from where the settings say.
    door = dataclasses.replace(
        settings.door,
        tokens_file=str(settings.callers_file),
        audit_file=str(settings.audit_file),
    )
    return dataclasses.replace(settings, door=door)
