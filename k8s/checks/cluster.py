"""Cluster: the objects of one build, with the pods and services that would come of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from k8s.checks.build import Manifest

_TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "Job")


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, and where."""

    rule: str
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what} [{self.rule}]"


@dataclass(frozen=True, eq=False)
class Pods:
    """The pods that one template makes."""

    owner: str  # kind/name, and the group of a Ray cluster's
    labels: Mapping[str, str]
    spec: Mapping[str, Any]
    is_head: bool = False
    is_worker: bool = False

    @property
    def of(self) -> str:
        """The object that the template is a part of: kind/name."""
        return self.owner.partition(" ")[0]

    @property
    def containers(self) -> list[dict[str, Any]]:
        """Those that run, without those that run before."""
        return list(self.spec.get("containers", ()))

    @property
    def all_containers(self) -> list[dict[str, Any]]:
        """With those that run before."""
        return [*self.spec.get("initContainers", ()), *self.containers]

    @property
    def volumes(self) -> dict[str, dict[str, Any]]:
        """By name."""
        return {volume["name"]: volume for volume in self.spec.get("volumes", ())}

    @property
    def ports(self) -> dict[int, str]:
        """Port → name of all containers; KubeRay's note on a head is no open port."""
        return {
            port["containerPort"]: port.get("name", "")
            for container in self.containers
            for port in container.get("ports", ())
            if not (self.is_head and port.get("name") == "serve")
        }

    def opens(self, port: int | str) -> bool:
        """Whether one of its containers opens the port, by number or name."""
        return port in self.ports or (isinstance(port, str) and port in self.ports.values())

    def number(self, port: int | str) -> int | None:
        """A port's number."""
        return next((n for n, name in self.ports.items() if port in (n, name)), None)


@dataclass(frozen=True, slots=True)
class Service:
    """A name inside the cluster."""

    name: str
    selector: Mapping[str, str]
    ports: tuple[Mapping[str, Any], ...]
    is_external: bool
    owner: str


@dataclass(eq=False)
class Cluster:
    """What would be applied."""

    objects: list[Manifest]
    name: str = ""
    findings: list[Finding] = field(default_factory=list)

    def of(self, kind: str) -> list[Manifest]:
        """Objects of one kind."""
        return [each for each in self.objects if each["kind"] == kind]

    def named(self, kind: str, name: str) -> Manifest | None:
        """One object."""
        return next((o for o in self.of(kind) if o["metadata"]["name"] == name), None)

    @cached_property
    def pods(self) -> list[Pods]:
        """Every kind of pod."""
        return [pods for each in self.objects for pods in _pods_of(each)]

    @cached_property
    def services(self) -> dict[str, Service]:
        """By name, those that KubeRay makes included."""
        found = [_service(each) for each in self.of("Service")]
        found += [service for each in self.of("RayService") for service in _ray_services(each)]
        return {service.name: service for service in found}

    def selected(self, selector: Mapping[str, Any]) -> list[Pods]:
        """Pods that a label selector, or a service's plain labels, chooses."""
        return [pods for pods in self.pods if selects(selector, pods.labels)]


def where(each: Manifest) -> str:
    """How an object is named in a finding."""
    return f"{each['kind']}/{each['metadata']['name']}"


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether labels fit; `{}` chooses all, as in Kubernetes."""
    if "matchLabels" in selector or "matchExpressions" in selector or not selector:
        wanted = selector.get("matchLabels", {})
        return _has(wanted, labels) and all(
            _fits(each, labels) for each in selector.get("matchExpressions", ())
        )
    return _has(selector, labels)


def _has(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    return all(labels.get(key) == value for key, value in wanted.items())


def _fits(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values", ())
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }[expression["operator"]]


def _pods_of(each: Manifest) -> Iterator[Pods]:
    kind, spec = each["kind"], each.get("spec", {})
    if kind in _TEMPLATED:
        yield _pods(where(each), spec.get("template", {}))
    elif kind == "CronJob":
        yield _pods(where(each), spec["jobTemplate"]["spec"]["template"])
    elif kind == "RayService":
        cluster = spec["rayClusterConfig"]
        ray = {"ray.io/cluster": each["metadata"]["name"]}
        head = ray | {"ray.io/node-type": "head", "ray.io/serve": "false"}
        yield _pods(f"{where(each)} head", cluster["headGroupSpec"]["template"], head, is_head=True)
        for group in cluster.get("workerGroupSpecs", ()):
            labels = ray | {"ray.io/node-type": "worker", "ray.io/serve": "true"}
            owner = f"{where(each)} {group['groupName']}"
            yield _pods(owner, group["template"], labels, is_worker=True)


def _pods(
    owner: str,
    template: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    *,
    is_head: bool = False,
    is_worker: bool = False,
) -> Pods:
    own = template.get("metadata", {}).get("labels", {}) | dict(labels or {})
    return Pods(owner, own, template.get("spec", {}), is_head, is_worker)


def _service(each: Manifest) -> Service:
    spec = each["spec"]
    return Service(
        each["metadata"]["name"],
        spec.get("selector", {}),
        tuple(spec.get("ports", ())),
        spec.get("type") == "ExternalName",
        where(each),
    )


def _ray_services(each: Manifest) -> Iterator[Service]:
    """KubeRay's: its selector is its own, and under a stepwise upgrade so is the name."""
    spec, name = each["spec"], each["metadata"]["name"]
    asked = spec.get("serveService", {})
    ports = tuple(asked.get("spec", {}).get("ports", ())) or ({"name": "serve", "port": 9000},)
    yield Service(
        asked.get("metadata", {}).get("name", f"{name}-serve-svc"),
        {"ray.io/cluster": name, "ray.io/serve": "true"},
        ports,
        False,
        f"{where(each)} serveService",
    )
