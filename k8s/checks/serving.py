"""Serving: the Ray cluster, the application in it and the product's own settings fit each other."""

import functools
import importlib
import tempfile
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from k8s.checks.build import ROOT, Manifest
from k8s.checks.cluster import Cluster, Finding, Pods, where

_UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")  # KubeRay 1.7
# What a machine needs and a cluster does otherwise: KubeRay sets the mode of authentication, one
# pod has one port, and a load balancer needs longer to look away than our own clients.
_OTHERWISE = {
    "RAY_AUTH_MODE",
    "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
}


def check_serving(cluster: Cluster) -> Iterator[Finding]:
    """Every RayService of a build."""
    for service in cluster.of("RayService"):
        yield from _ray(cluster, service)
        yield from _config(cluster, service)


def serve_config(service: Manifest) -> dict[str, Any]:
    """The application's config, as KubeRay hands it to Ray."""
    config: dict[str, Any] = yaml.safe_load(service["spec"]["serveConfigV2"])
    return config


def _ray(cluster: Cluster, service: Manifest) -> Iterator[Finding]:
    at, spec = where(service), service["spec"]
    ray, head = spec["rayClusterConfig"], spec["rayClusterConfig"]["headGroupSpec"]
    strategy = spec.get("upgradeStrategy", {})
    kind = strategy.get("type", "NewCluster")
    if kind not in _UPGRADES:
        yield Finding("upgrade-type", at, f"{kind!r}: must be one of {', '.join(_UPGRADES)}")
    options = strategy.get("clusterUpgradeOptions", {})
    needed = {"gatewayClassName", "stepSizePercent", "intervalSeconds", "maxSurgePercent"}
    if kind == "NewClusterWithIncrementalUpgrade":
        if not needed <= set(options):
            yield Finding("upgrade-options", at, f"lacks {sorted(needed - set(options))}")
        if "serveService" in spec:
            yield Finding("upgrade-options", at, "a stepwise upgrade ignores serveService")
        if options.get("stepSizePercent", 0) > options.get("maxSurgePercent", 100):
            yield Finding("upgrade-options", at, "a step is larger than the surge")
    if ray.get("rayVersion") != _locked("ray"):
        yield Finding("ray-version", at, f"{ray.get('rayVersion')}, pinned is {_locked('ray')}")
    if head["rayStartParams"].get("num-cpus") != "0" or not spec.get("excludeHeadPodFromServeSvc"):
        yield Finding("head-works", at, "the head takes replicas, or calls")
    ports = head["template"]["spec"]["containers"][0].get("ports", ())
    if not any(port.get("name") == "serve" for port in ports):
        yield Finding("head-port", at, "KubeRay makes the service from the head's port `serve`")
    yield from _fault_tolerance(cluster, at, ray)
    for group in ray.get("workerGroupSpecs", ()):
        yield from _group(at, group)


def _fault_tolerance(cluster: Cluster, at: str, ray: Mapping[str, Any]) -> Iterator[Finding]:
    options = ray.get("gcsFaultToleranceOptions", {})
    address = options.get("redisAddress", "")
    host, _, port = address.removeprefix("redis://").rpartition(":")
    service = cluster.services.get(host)
    if service is None or port not in {str(each["port"]) for each in service.ports}:
        yield Finding("head-redis", at, f"redisAddress {address!r} is no service here")
    if "redisPassword" not in options:
        yield Finding("head-redis", at, "Redis wants a password")
    if "externalStorageNamespace" in options:
        yield Finding("head-redis", at, "two clusters of an upgrade would share their state")


def _group(at: str, group: Mapping[str, Any]) -> Iterator[Finding]:
    low, now, high = (group.get(name, 0) for name in ("minReplicas", "replicas", "maxReplicas"))
    if not 1 <= low <= now <= high:
        yield Finding("worker-count", at, f"{group['groupName']}: {low} ≤ {now} ≤ {high}")


def _config(cluster: Cluster, service: Manifest) -> Iterator[Finding]:
    at = f"{where(service)} serveConfigV2"
    try:
        config = serve_config(service)
        _as_ray_reads(config)
    except (ValueError, yaml.YAMLError) as error:
        yield Finding("serve-config", at, str(error).replace("\n", " ")[:400])
        return
    workers = [pods for pods in cluster.pods if pods.is_worker and pods.of == where(service)]
    for application in config["applications"]:
        yield from _application(at, application)
        for deployment in application.get("deployments", ()):
            yield from _deployment(at, service, deployment)
    for name in config.get("grpc_options", {}).get("grpc_servicer_functions", ()):
        if _imported(name, ".") is None:
            yield Finding("servicer", at, f"there is no {name}")
    port = config.get("grpc_options", {}).get("port")
    for pods in workers:
        yield from _worker(cluster, at, pods, port)


def _as_ray_reads(config: dict[str, Any]) -> None:
    """Raises ValueError with what Ray would say; unknown keys are refused, which Ray may not."""
    told = _ray_schema()(**config).model_dump(exclude_unset=True)
    for application, kept in zip(config["applications"], told["applications"], strict=True):
        for given, known in zip(
            application.get("deployments", ()), kept.get("deployments", ()), strict=True
        ):
            unknown = _lost(given, known)
            if unknown:
                raise ValueError(f"deployment {given['name']}: unknown {unknown}")
        unknown = _lost({k: v for k, v in application.items() if k != "deployments"}, kept)
        if unknown:
            raise ValueError(f"application {application['name']}: unknown {unknown}")
    unknown = _lost({k: v for k, v in config.items() if k != "applications"}, told)
    if unknown:
        raise ValueError(f"unknown {unknown}")


@functools.cache
def _ray_schema() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own use of pydantic
        from ray.serve.schema import ServeDeploySchema
    return ServeDeploySchema


def _lost(given: Mapping[str, Any], known: Mapping[str, Any]) -> list[str]:
    lost = []
    for key, value in given.items():
        if key not in known:
            lost.append(key)
        elif isinstance(value, dict) and isinstance(known[key], dict) and key != "args":
            lost += [f"{key}.{each}" for each in _lost(value, known[key])]
    return lost


def _application(at: str, application: Mapping[str, Any]) -> Iterator[Finding]:
    from serving.deployments import APPLICATION

    path = application["import_path"]
    if not callable(_imported(path, ":")):
        yield Finding("import-path", at, f"{path} is nothing that can be called")
    if application["name"] != APPLICATION:
        yield Finding(
            "application-name", at, f"{application['name']}, the product's is {APPLICATION}"
        )


def _deployment(at: str, service: Manifest, deployment: Mapping[str, Any]) -> Iterator[Finding]:
    if deployment["name"] != "gateway":
        yield Finding("deployment-name", at, f"the application has no {deployment['name']}")
        return
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    scaling = deployment.get("autoscaling_config", {})
    most = scaling.get("max_replicas", deployment.get("num_replicas", 1))
    least = scaling.get("min_replicas", most)
    per_node = deployment.get("max_replicas_per_node", 0)
    if per_node != 1:
        yield Finding("replicas-per-node", at, "a pod has one port for one gateway")
    if most > group["maxReplicas"] or least != group["minReplicas"]:
        pods = f"{group['minReplicas']} to {group['maxReplicas']} pods"
        yield Finding("replica-count", at, f"{least} to {most} gateways for {pods}")
    wanted = float(deployment.get("ray_actor_options", {}).get("num_cpus", 1))
    if wanted > float(group["rayStartParams"].get("num-cpus", "inf")):
        yield Finding("replica-cpus", at, f"{wanted:g} for a gateway, the pods say fewer")


def _worker(cluster: Cluster, at: str, pods: Pods, port: int | None) -> Iterator[Finding]:
    container = pods.containers[0]
    environment = worker_environment(cluster, pods)
    yield from _same_as_the_product(at, environment)
    low = environment.get("RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT")
    probe = container.get("readinessProbe", {}).get("grpc", {}).get("port", port)
    if not (str(port) == low and probe == port and pods.opens(port or 0)):
        yield Finding("door-port", at, f"grpc_options {port}, Ray's first {low}, probe {probe}")
    try:
        settings = pod_settings(cluster, pods, environment)
    except ValueError as error:
        yield Finding("settings", pods.owner, str(error))
        return
    if (settings.door.port, settings.door.host) != (port, "0.0.0.0"):
        yield Finding(
            "door-port", pods.owner, f"settings say {settings.door.host}:{settings.door.port}"
        )
    if not pods.opens(settings.door.metrics_port):
        yield Finding("metrics-port", pods.owner, f"{settings.door.metrics_port} is not opened")
    addresses = {"triton.address": settings.triton.address}
    for section in ("business", "feeds"):
        values = getattr(settings, section)
        addresses |= {f"{section}.{name}": getattr(values, name) for name in values.__slots__}
    for name, address in addresses.items():
        host, _, number = address.rpartition(":")
        service = cluster.services.get(host)
        if address and (
            service is None or number not in {str(each["port"]) for each in service.ports}
        ):
            yield Finding("address", pods.owner, f"{name} = {address}: no such service")


def _same_as_the_product(at: str, environment: Mapping[str, str]) -> Iterator[Finding]:
    from serving.deployments import serve_environment
    from serving.settings import RaySettings, Settings

    in_a_cluster = Settings(ray=RaySettings(address="auto"))
    ours = serve_environment(in_a_cluster, scratch="", free_ports=[])
    for name, value in ours.items():
        if name not in _OTHERWISE and environment.get(name) != value:
            found = environment.get(name)
            yield Finding(
                "ray-environment", at, f"{name} is {found}, the product runs with {value}"
            )


def worker_environment(cluster: Cluster, pods: Pods) -> dict[str, str]:
    """The variables of a pod's first container; a secret's value is only its name."""
    container = pods.containers[0]
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        config = cluster.named("ConfigMap", source.get("configMapRef", {}).get("name", ""))
        found |= (config or {}).get("data", {})
    for variable in container.get("env", ()):
        found[variable["name"]] = variable.get("value", "redis://secret:6379/0")
    return found


def pod_settings(cluster: Cluster, pods: Pods, environment: Mapping[str, str]) -> Any:
    """Settings as a pod would read them. Raises ValueError."""
    from serving.settings_reader import load_settings
    from shop.errors import SettingsRejected

    mounts = {m["name"]: m["mountPath"] for m in pods.containers[0].get("volumeMounts", ())}
    configs = [
        (volume["configMap"]["name"], mounts[name])
        for name, volume in pods.volumes.items()
        if "configMap" in volume and name in mounts
    ]
    found = next(
        (
            config["data"]["settings.toml"]
            for name, path in configs
            if path == "/etc/vitrine" and (config := cluster.named("ConfigMap", name)) is not None
            if "settings.toml" in config.get("data", {})
        ),
        None,
    )
    if found is None:
        raise ValueError("no ConfigMap with settings.toml is mounted at /etc/vitrine")
    with tempfile.NamedTemporaryFile("w", suffix=".toml") as file:
        file.write(found)
        file.flush()
        try:
            return load_settings(Path(file.name), environment)
        except SettingsRejected as error:
            raise ValueError(str(error)) from error


def _imported(path: str, separator: str) -> Any:
    module, _, name = path.rpartition(separator)
    try:
        return getattr(importlib.import_module(module), name, None)
    except (ImportError, ValueError):
        return None


def _locked(package: str) -> str:
    requirements = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    found = next(each for each in requirements if each.startswith(f"{package}["))
    return found.rpartition("==")[2]
