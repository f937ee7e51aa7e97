"""References: every name leads to something that is there, every port to somebody who opens it."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.build import K8S
from k8s.checks.cluster import Cluster, Finding, Pods, where
from k8s.checks.secrets import known_secrets
from serving.health import KNOWN

_PROBES = ("startupProbe", "readinessProbe", "livenessProbe")
_BY_OPERATOR = {"vitrine-door-ca"}  # ConfigMaps that docs/operations.md has the operator make


def check_references(cluster: Cluster) -> Iterator[Finding]:
    """Names, ports, selectors, secrets, volumes and images."""
    counts = Counter(where(each) for each in cluster.objects)
    yield from (Finding("duplicate", name, "twice") for name, n in counts.items() if n > 1)
    yield from _services(cluster)
    yield from _routes(cluster)
    yield from _selectors(cluster)
    yield from _images(cluster)
    for pods in cluster.pods:
        yield from _volumes(cluster, pods)
        yield from _environment(cluster, pods)
        yield from _probes(pods)
        account = pods.spec.get("serviceAccountName")
        if account and cluster.named("ServiceAccount", account) is None:
            yield Finding("account", pods.owner, f"there is no ServiceAccount {account}")


def _services(cluster: Cluster) -> Iterator[Finding]:
    for service in cluster.services.values():
        if service.is_external:
            continue
        chosen = cluster.selected(service.selector) if service.selector else []
        if not chosen:
            yield Finding("service-without-pods", service.owner, f"selects {service.selector}")
        for port in service.ports:
            target = port.get("targetPort", port["port"])
            yield from (
                Finding("service-port", service.owner, f"{pods.owner} opens no port {target}")
                for pods in chosen
                if not pods.opens(target)
            )


def _routes(cluster: Cluster) -> Iterator[Finding]:
    for route in cluster.of("GRPCRoute") + cluster.of("HTTPRoute"):
        spec = route["spec"]
        for parent in spec.get("parentRefs", ()):
            gateway = cluster.named("Gateway", parent["name"])
            listeners = (
                {}
                if gateway is None
                else {each["name"]: each for each in gateway["spec"]["listeners"]}
            )
            if parent.get("sectionName", next(iter(listeners), "")) not in listeners:
                yield Finding("route-parent", where(route), f"no Gateway listens for {parent}")
            hosts = {each.get("hostname") for each in listeners.values()}
            if not set(spec.get("hostnames", hosts)) <= hosts:
                yield Finding("route-host", where(route), f"{spec['hostnames']}, Gateway {hosts}")
        for rule in spec.get("rules", ()):
            backends = rule.get("backendRefs", ())
            if sum(each.get("weight", 1) for each in backends) <= 0:
                yield Finding("route-weight", where(route), "all weights are 0")
            for each in backends:
                yield from _backend(cluster, where(route), each["name"], each.get("port"))
    for policy in cluster.of("BackendTLSPolicy"):
        for target in policy["spec"]["targetRefs"]:
            yield from _backend(cluster, where(policy), target["name"], None)
        for ref in policy["spec"]["validation"].get("caCertificateRefs", ()):
            if ref["name"] not in _BY_OPERATOR and not cluster.named("ConfigMap", ref["name"]):
                yield Finding("configmap", where(policy), f"there is no {ref['name']}")
    for gateway in cluster.of("Gateway"):
        refs = [
            ref
            for each in gateway["spec"]["listeners"]
            for ref in each.get("tls", {}).get("certificateRefs", ())
        ]
        backend = gateway["spec"].get("tls", {}).get("backend", {})
        refs += [ref for ref in [backend.get("clientCertificateRef")] if ref]
        for ref in refs:
            yield from _secret(where(gateway), ref["name"], None)


def _backend(cluster: Cluster, at: str, name: str, port: int | None) -> Iterator[Finding]:
    service = cluster.services.get(name)
    if service is None:
        yield Finding("route-backend", at, f"there is no service {name}")
    elif port is not None and port not in {each["port"] for each in service.ports}:
        yield Finding("route-backend", at, f"{name} has no port {port}")


def _selectors(cluster: Cluster) -> Iterator[Finding]:
    for each in cluster.of("PodDisruptionBudget") + cluster.of("PodMonitor"):
        chosen = cluster.selected(each["spec"]["selector"])
        if not chosen:
            yield Finding("selects-nobody", where(each), f"{each['spec']['selector']}")
        for endpoint in each["spec"].get("podMetricsEndpoints", ()):
            if chosen and not any(pods.opens(endpoint["port"]) for pods in chosen):
                yield Finding("monitor-port", where(each), f"nobody opens {endpoint['port']}")
    for each in cluster.of("Deployment") + cluster.of("StatefulSet"):
        labels = each["spec"]["template"]["metadata"]["labels"]
        wanted = each["spec"]["selector"]["matchLabels"]
        if any(labels.get(key) != value for key, value in wanted.items()):
            yield Finding("own-selector", where(each), f"{wanted} does not choose its own pods")
    for pods in cluster.pods:
        for spread in pods.spec.get("topologySpreadConstraints", ()):
            chosen = cluster.selected(spread["labelSelector"])
            if pods not in chosen:
                yield Finding("spread", pods.owner, "spreads others than itself")


def _images(cluster: Cluster) -> Iterator[Finding]:
    tags: dict[str, set[str]] = {}
    for pods in cluster.pods:
        images = [container.get("image", "") for container in pods.all_containers]
        images += [v["image"]["reference"] for v in pods.volumes.values() if "image" in v]
        for image in images:
            name, _, tag = image.partition("@") if "@" in image else image.rpartition(":")
            if not name or "/" in tag or tag in ("", "latest"):
                yield Finding("image-tag", pods.owner, f"{image!r} says no version")
                continue
            tags.setdefault(name, set()).add(tag)
            if name.startswith("vitrine/") and name not in built_images():
                yield Finding("image-unknown", pods.owner, f"nothing builds {name}")
    for name, found in tags.items():
        if len(found) > 1:
            yield Finding("image-mix", name, f"in {len(found)} versions: {sorted(found)}")


def built_images() -> set[str]:
    """What the recipes of `images` make: a folder's image, or the stages of one with several."""
    found = set()
    for file in (K8S / "images").glob("*/Dockerfile"):
        stages = re.findall(r"^FROM \S+ AS ([a-z-]+)$", file.read_text(), flags=re.MULTILINE)
        found |= {f"vitrine/{name}" for name in (file.parent.name, *stages)}
    return found


def _volumes(cluster: Cluster, pods: Pods) -> Iterator[Finding]:
    mounted = {m["name"] for c in pods.all_containers for m in c.get("volumeMounts", ())}
    named = set(pods.volumes) | _claimed_names(cluster, pods)
    for name in sorted(mounted - named):
        yield Finding("volume", pods.owner, f"mounts {name}, which is no volume of it")
    for name in sorted(set(pods.volumes) - mounted):
        yield Finding("volume-unused", pods.owner, f"nobody mounts {name}")
    for volume in pods.volumes.values():
        if "configMap" in volume:
            items = [each["key"] for each in volume["configMap"].get("items", ())]
            yield from _config(cluster, pods.owner, volume["configMap"]["name"], items)
        if "secret" in volume:
            yield from _secret(pods.owner, volume["secret"]["secretName"], None)
        claim = volume.get("persistentVolumeClaim", {}).get("claimName")
        if claim and cluster.named("PersistentVolumeClaim", claim) is None:
            yield Finding("claim", pods.owner, f"there is no PersistentVolumeClaim {claim}")
    for claim in pods.spec.get("resourceClaims", ()):
        template = claim.get("resourceClaimTemplateName", "")
        if cluster.named("ResourceClaimTemplate", template) is None:
            yield Finding("claim", pods.owner, f"there is no ResourceClaimTemplate {template}")


def _claimed_names(cluster: Cluster, pods: Pods) -> set[str]:
    owner = next((o for o in cluster.of("StatefulSet") if where(o) == pods.owner), None)
    claims = () if owner is None else owner["spec"].get("volumeClaimTemplates", ())
    return {claim["metadata"]["name"] for claim in claims}


def _environment(cluster: Cluster, pods: Pods) -> Iterator[Finding]:
    for container in pods.all_containers:
        for source in container.get("envFrom", ()):
            if "configMapRef" in source:
                yield from _config(cluster, pods.owner, source["configMapRef"]["name"], [])
            if "secretRef" in source:
                yield from _secret(pods.owner, source["secretRef"]["name"], None)
        for variable in container.get("env", ()):
            origin = variable.get("valueFrom", {})
            if "secretKeyRef" in origin:
                ref = origin["secretKeyRef"]
                yield from _secret(pods.owner, ref["name"], ref["key"])
            if "configMapKeyRef" in origin:
                ref = origin["configMapKeyRef"]
                yield from _config(cluster, pods.owner, ref["name"], [ref["key"]])


def _config(cluster: Cluster, at: str, name: str, keys: list[str]) -> Iterator[Finding]:
    found = cluster.named("ConfigMap", name)
    if found is None:
        yield Finding("configmap", at, f"there is no ConfigMap {name}")
        return
    missing = set(keys) - set(found.get("data", {}))
    if missing:
        yield Finding("configmap", at, f"{name} has no {sorted(missing)}")


def _secret(at: str, name: str, key: str | None) -> Iterator[Finding]:
    listed: Mapping[str, Any] = known_secrets().get(name, {})
    if not listed:
        yield Finding("secret", at, f"k8s/secrets.toml does not know {name}")
    elif key is not None and key not in listed["keys"]:
        yield Finding("secret", at, f"{name} has no {key}, only {listed['keys']}")


def _probes(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers:
        own = {port.get("name") for port in container.get("ports", ())}
        for kind in _PROBES:
            probe = container.get(kind, {})
            asked = (probe.get("grpc") or {}).get("service", "")
            if asked not in KNOWN:
                what = f"{container['name']}'s {kind} asks for {asked}, which no door answers for"
                yield Finding("probe-service", pods.owner, what)
            for way in ("httpGet", "grpc", "tcpSocket"):
                port = probe.get(way, {}).get("port")
                is_named = isinstance(port, str)
                if port is not None and not (port in own if is_named else pods.opens(port)):
                    what = f"{container['name']}'s {kind} asks port {port}, which nobody opens"
                    yield Finding("probe-port", pods.owner, what)
