"""Cluster descriptions: the descriptions' door as a Ray cluster starts it from a config.

See `k8s/components/descriptions`, whose config names `serving.cluster_descriptions:build`. It has a
cluster of its own, so that an upgrade of it never touches a recommendation.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from serving.caller_check import check_callers
from serving.cluster_app import cluster_settings, named_settings
from serving.descriptions_door import DescriptionsDoor, descriptions_application
from serving.tls import check_certificates


class ClusterDescriptions(DescriptionsDoor):
    """The door of one pod: settings from a file and from the pod's own environment."""

    async def __init__(self, settings_file: str) -> None:  # type: ignore[misc]  # Serve awaits it
        settings = cluster_settings(Path(settings_file))
        check_certificates(settings.door)
        check_callers(settings.door)
        await super().__init__(settings)


def build(arguments: Mapping[str, str]) -> Any:
    """The Serve application. `arguments` come from the config: `settings`, a TOML file's path.

    Raises SettingsRejected for what every replica would refuse, before any is started.
    """
    return descriptions_application(ClusterDescriptions, named_settings(arguments))
