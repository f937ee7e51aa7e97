"""Serving: the Ray cluster, the application in it and the product's own settings fit each other."""

import functools
import importlib
import tomllib
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from k8s.checks.build import ROOT, Manifest
from k8s.checks.cluster import Cluster, Finding, Pods, where
from k8s.checks.settings import Role, environment_of, readers

_UPGRADES = ("NewCluster", "NewClusterWithIncrementalUpgrade", "None")  # KubeRay 1.7
# What a machine needs and a cluster does otherwise: KubeRay sets the mode of authentication, one
# pod has one port, and a load balancer needs longer to look away than our own clients.
_OTHERWISE = {
    "RAY_AUTH_MODE",
    "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT",
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S",
}


# Import path → the application's name as clients of Ray know it, and the deployment in it.
_APPLICATIONS = {
    Role.DOOR.value: ("recommendations", "gateway"),
    Role.DESCRIPTIONS.value: ("descriptions", "descriptions"),
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
            yield from _deployment(at, service, application["import_path"], deployment)
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
    path = application["import_path"]
    if not callable(_imported(path, ":")) or path not in _APPLICATIONS:
        yield Finding("import-path", at, f"{path} builds no application")
        return
    name, _ = _APPLICATIONS[path]
    if application["name"] != name:
        yield Finding("application-name", at, f"{application['name']}, the product's is {name}")


def _deployment(
    at: str, service: Manifest, path: str, deployment: Mapping[str, Any]
) -> Iterator[Finding]:
    _, known = _APPLICATIONS.get(path, ("", deployment["name"]))
    if deployment["name"] != known:
        yield Finding("deployment-name", at, f"the application has no {deployment['name']}")
        return
    group = service["spec"]["rayClusterConfig"]["workerGroupSpecs"][0]
    scaling = deployment.get("autoscaling_config", {})
    most = scaling.get("max_replicas", deployment.get("num_replicas", 1))
    least = scaling.get("min_replicas", most)
    per_node = deployment.get("max_replicas_per_node", 0)
    if per_node != 1:
        yield Finding("replicas-per-node", at, "a pod has one port for one replica")
    if most > group["maxReplicas"] or least != group["minReplicas"]:
        pods = f"{group['minReplicas']} to {group['maxReplicas']} pods"
        yield Finding("replica-count", at, f"{least} to {most} replicas for {pods}")
    wanted = float(deployment.get("ray_actor_options", {}).get("num_cpus", 1))
    if wanted > float(group["rayStartParams"].get("num-cpus", "inf")):
        yield Finding("replica-cpus", at, f"{wanted:g} for a replica, the pods say fewer")


def _worker(cluster: Cluster, at: str, pods: Pods, port: int | None) -> Iterator[Finding]:
    container = pods.containers[0]
    environment = environment_of(cluster, container)
    yield from _same_as_the_product(at, environment)
    low = environment.get("RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT")
    probe = container.get("readinessProbe", {}).get("grpc", {}).get("port", port)
    if not (str(port) == low and probe == port and pods.opens(port or 0)):
        yield Finding("door-port", at, f"grpc_options {port}, Ray's first {low}, probe {probe}")
    for reader in readers(cluster):
        if reader.pods is pods and reader.role in (Role.DOOR, Role.DESCRIPTIONS):
            try:
                settings = reader.settings(cluster)
            except ValueError:
                continue  # said by `check_settings`
            own = settings.door.port if reader.role is Role.DOOR else settings.describe.port
            if own != port:
                yield Finding("door-port", pods.owner, f"settings say {own}, the config {port}")


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
