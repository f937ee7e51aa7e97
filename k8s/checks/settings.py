"""Settings: what the product's own reader makes of a container's file and variables, and whether
what they say is so: addresses lead to services, ports are opened, files are there.
"""

import functools
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

import yaml

from k8s.checks.cluster import Cluster, Finding, Pods, where
from k8s.checks.secrets import known_secrets, likeness

_MODULE = re.compile(r"python3? -m (serving\.[a-z_.]+)")
_FILE = re.compile(r"--settings (\S+)")
_LOOPBACK = ("localhost", "127.0.0.1")
_EVERYWHERE = "0.0.0.0"


class Role(StrEnum):
    """What a container does with its settings."""

    DOOR = "serving.cluster_app:build"
    DESCRIPTIONS = "serving.cluster_descriptions:build"
    CONSOLE = "serving.console"
    WRITER = "serving.writer_app"
    MIGRATION = "serving.migrate"
    HEAD = "head"  # builds the application, and runs none


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """A container that reads settings."""

    pods: Pods
    container: Mapping[str, Any]
    role: Role
    file: str  # of its settings, as the container names it
    environment: Mapping[str, str]

    @property
    def at(self) -> str:
        """How it is named in a finding."""
        return f"{self.pods.owner} {self.container['name']}"

    def settings(self, cluster: Cluster) -> Any:
        """As the container would read them. Raises ValueError."""
        from serving.settings_reader import load_settings
        from shop.errors import SettingsRejected

        with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
            file.write(self._text(cluster))
            file.flush()
            try:
                return load_settings(Path(file.name), self.environment)
            except SettingsRejected as error:
                raise ValueError(str(error).replace(file.name, self.file)) from error

    def _text(self, cluster: Cluster) -> str:
        volume, rest = self.mounted(self.file)
        name = volume.get("configMap", {}).get("name", "")
        data = (cluster.named("ConfigMap", name) or {}).get("data", {})
        if str(rest) not in data:
            raise ValueError(f"no ConfigMap is mounted that holds {self.file}")
        return str(data[str(rest)])

    def mounted(self, path: str) -> tuple[Mapping[str, Any], PurePosixPath]:
        """The volume that a path leads into, and the rest of the path; {} where there is none."""
        below = [
            (mount["mountPath"], mount["name"])
            for mount in self.container.get("volumeMounts", ())
            if PurePosixPath(path).is_relative_to(mount["mountPath"])
        ]
        if not below:
            return {}, PurePosixPath(path)
        at, name = max(below, key=lambda each: len(each[0]))
        return self.pods.volumes.get(name, {}), PurePosixPath(path).relative_to(at)


def readers(cluster: Cluster) -> Iterator[Reader]:
    """Every container that reads settings."""
    for pods in cluster.pods:
        for container in pods.all_containers:
            environment = environment_of(cluster, container)
            text = " ".join((*container.get("command", ()), *container.get("args", ())))
            module, file = _MODULE.search(text), _FILE.search(text)
            if module and module[1] in set(Role):
                named = file[1] if file else ""
                yield Reader(pods, container, Role(module[1]), named, environment)
            elif container is pods.containers[0] and (pods.is_worker or pods.is_head):
                path, named = _application(cluster, pods)
                role = Role.HEAD if pods.is_head else Role(path) if path in set(Role) else None
                if role is not None:
                    yield Reader(pods, container, role, named, environment)


def environment_of(cluster: Cluster, container: Mapping[str, Any]) -> dict[str, str]:
    """The variables of a container; in place of a secret's value what it looks like."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        config = cluster.named("ConfigMap", source.get("configMapRef", {}).get("name", ""))
        found |= (config or {}).get("data", {})
    for variable in container.get("env", ()):
        secret = variable.get("valueFrom", {}).get("secretKeyRef")
        stands = likeness(secret["name"], secret["key"]) if secret else ""
        found[variable["name"]] = variable.get("value", stands)
    return found


def check_settings(cluster: Cluster) -> Iterator[Finding]:
    """Every container that reads settings, and every variable that looks like one."""
    known = list(readers(cluster))
    for reader in known:
        try:
            settings = reader.settings(cluster)
        except ValueError as error:
            yield Finding("settings", reader.at, str(error))
            continue
        yield from _addresses_lead_somewhere(cluster, reader, settings)
        yield from _ports_are_opened(reader, settings)
        yield from _files_are_there(cluster, reader, settings)
        if reader.role is Role.CONSOLE:
            yield from _names(cluster, reader, settings)
    read = {id(reader.container) for reader in known}
    for pods in cluster.pods:
        for container in pods.all_containers:
            names = [each["name"] for each in container.get("env", ())]
            unread = [each for each in names if each.startswith("VITRINE_") and "__" in each]
            if unread and id(container) not in read:
                at = f"{pods.owner} {container['name']}"
                yield Finding("settings-unread", at, f"nobody there reads {unread}")


def addresses(reader: Reader, settings: Any) -> dict[str, str]:
    """Setting → host:port of everything that the container speaks to."""
    found: dict[str, str] = {}
    if reader.role is Role.DOOR:
        found["triton.address"] = settings.triton.address
        for section in ("business", "feeds"):
            values = getattr(settings, section)
            found |= {f"{section}.{name}": getattr(values, name) for name in values.__slots__}
        if settings.redis.url:
            found["redis.url"] = _of_url(settings.redis.url)
    if reader.role in (Role.DESCRIPTIONS, Role.MIGRATION) and settings.describe.postgres:
        found["describe.postgres"] = _of_url(settings.describe.postgres)
    if reader.role in (Role.DOOR, Role.DESCRIPTIONS):
        found["writer.address"] = settings.writer.address
    if reader.role is Role.CONSOLE:
        found["console.recommendations"] = settings.console.recommendations
        found["console.descriptions"] = settings.console.descriptions
    return {name: address for name, address in found.items() if address}


def _of_url(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}"


def _addresses_lead_somewhere(cluster: Cluster, reader: Reader, settings: Any) -> Iterator[Finding]:
    for name, address in addresses(reader, settings).items():
        host, _, number = address.rpartition(":")
        service = cluster.services.get(host)
        if service is None and reader.role is Role.DOOR and name == "writer.address":
            continue  # a door without a language model answers no questions, and says so
        if service is None or number not in {str(each["port"]) for each in service.ports}:
            yield Finding("address", reader.at, f"{name} = {address}: no such service")


def _listens(role: Role, settings: Any) -> tuple[str, dict[str, int]]:
    """The host, and the ports by the setting's name."""
    door, texts = settings.door, settings.describe
    if role is Role.DOOR:
        return door.host, {"door.port": door.port, "door.metrics_port": door.metrics_port}
    if role is Role.DESCRIPTIONS:
        ports = {"describe.port": texts.port, "describe.metrics_port": texts.metrics_port}
        return door.host, ports
    if role is Role.CONSOLE:
        return settings.console.host, {"console.port": settings.console.port}
    if role is Role.WRITER:
        return settings.writer.host, {"writer.address": settings.writer.port}
    return _EVERYWHERE, {}


def _ports_are_opened(reader: Reader, settings: Any) -> Iterator[Finding]:
    host, ports = _listens(reader.role, settings)
    if host != _EVERYWHERE:
        yield Finding("settings-port", reader.at, f"listens on {host}: nobody reaches it there")
    opened = {each["containerPort"] for each in reader.container.get("ports", ())}
    for name, port in ports.items():
        if port and port not in opened:
            yield Finding("settings-port", reader.at, f"{name} = {port} is not opened")


def _needed_files(role: Role, settings: Any) -> dict[str, str]:
    """What the settings name, or the product looks for, → the path."""
    state, found = settings.state_dir, {}
    if role in (Role.DOOR, Role.DESCRIPTIONS):
        door = settings.door
        if door.needs_tokens:
            found["who may call"] = str(settings.callers_file)
        for name in ("tls_certificate", "tls_key", "tls_client_ca", "audit_file"):
            found[f"door.{name}"] = getattr(door, name)
    if role is Role.DOOR:
        found["the releases' key"] = str(settings.release_key_file)
        found["the tokens' key"] = str(settings.token_key_file)
        found["rules.file"] = str(settings.rules_file) if settings.rules.is_named else ""
    if role is Role.DESCRIPTIONS:
        about = settings.describe
        found["describe.snapshot"] = about.snapshot
        found["describe.specifications"] = about.specifications
        found["describe.brand"] = str(settings.brand_file)
        found["describe.style"] = about.style
    if role is Role.CONSOLE:
        about = settings.console
        found["the console's key"] = str(settings.console_key_file)
        for name in ("token_file", "tls_ca", "tls_certificate", "tls_key"):
            found[f"console.{name}"] = getattr(about, name)
    if role is Role.WRITER:
        found["writer.model_dir"] = str(state / settings.writer.model_dir)
        found["writer.adapters_dir"] = str(state / settings.writer.adapters_dir)
    return {name: path for name, path in found.items() if path}


def _files_are_there(cluster: Cluster, reader: Reader, settings: Any) -> Iterator[Finding]:
    for name, path in _needed_files(reader.role, settings).items():
        volume, rest = reader.mounted(path)
        if not volume or not _may_hold(cluster, reader, volume, rest):
            yield Finding("settings-file", reader.at, f"{name}: nobody puts anything at {path}")


def _may_hold(
    cluster: Cluster, reader: Reader, volume: Mapping[str, Any], rest: PurePosixPath
) -> bool:
    if "secret" in volume:
        return rest.name in known_secrets().get(volume["secret"]["secretName"], {}).get("keys", ())
    if "configMap" in volume:
        config = cluster.named("ConfigMap", volume["configMap"]["name"]) or {}
        return rest.name in config.get("data", {})
    if "emptyDir" in volume:  # empty until a container before this one fills it
        before = reader.pods.spec.get("initContainers", ())
        return any(
            rest.name in " ".join((*each.get("command", ()), *each.get("args", ())))
            for each in before
        )
    return True  # a volume that lasts: what is on it only the cluster knows


def _names(cluster: Cluster, reader: Reader, settings: Any) -> Iterator[Finding]:
    """The console answers to its own names alone, to browsers as to probes."""
    known = {*_LOOPBACK, *settings.console.names}
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = reader.container.get(kind, {}).get("httpGet")
        if asked is not None:
            headers = {h["name"].lower(): h["value"] for h in asked.get("httpHeaders", ())}
            if headers.get("host") not in known:
                yield Finding("console-name", reader.at, f"{kind} asks for {headers.get('host')}")
    for route in cluster.of("HTTPRoute"):
        for name in route["spec"].get("hostnames", ()):
            if name not in known:
                yield Finding("console-name", where(route), f"{name} is none of its names")
    if cluster.of("HTTPRoute") and not settings.console.behind_tls:
        yield Finding("console-tls", reader.at, "cookies would travel without TLS")


def _application(cluster: Cluster, pods: Pods) -> tuple[str, str]:
    """Import path and settings file of the application that a Ray cluster runs."""
    owner = next(each for each in cluster.of("RayService") if where(each) == pods.of)
    return _named(owner["spec"]["serveConfigV2"])


@functools.cache  # read for every reader of every check
def _named(config: str) -> tuple[str, str]:
    try:
        application = yaml.safe_load(config)["applications"][0]
        return application["import_path"], application["args"]["settings"]
    except (yaml.YAMLError, KeyError, TypeError, IndexError):
        return "", ""
