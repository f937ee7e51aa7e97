"""Network: whoever must speak to whom may, by the policies and on the pod's own port."""

from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.cluster import Cluster, Finding, Pods, selects, where
from k8s.checks.settings import addresses, readers

_OUTSIDE = "outside"


def check_network(cluster: Cluster) -> Iterator[Finding]:
    """The policies of a build."""
    policies = cluster.of("NetworkPolicy")
    if not any(_denies_all(policy["spec"]) for policy in policies):
        yield Finding("default-deny", cluster.name, "pods without a policy may speak to anybody")
    for policy in policies:
        yield from _sensible(cluster, policy)
    for source, target, port in _needed(cluster):
        if not _allows(policies, source, target, port, "Egress"):
            yield Finding("egress", source.owner, f"may not go to {target.owner} at {port}")
        if not _allows(policies, target, source, port, "Ingress"):
            yield Finding("ingress", target.owner, f"does not let {source.owner} in at {port}")
    for source, name, number in _needed_outside(cluster):
        if not _lets_out(policies, source, number):
            yield Finding("egress", source.owner, f"may not leave for {name} at {number}")
    for monitor in cluster.of("PodMonitor"):
        for pods in cluster.selected(monitor["spec"]["selector"]):
            for endpoint in monitor["spec"]["podMetricsEndpoints"]:
                number = pods.number(endpoint["port"])
                if number is not None and not _lets_others_in(policies, pods, number):
                    yield Finding("ingress", pods.owner, f"does not let Prometheus in at {number}")


def _denies_all(spec: Mapping[str, Any]) -> bool:
    both = {"Ingress", "Egress"} <= set(spec.get("policyTypes", ()))
    return spec.get("podSelector") == {} and both and not {"ingress", "egress"} & set(spec)


def _sensible(cluster: Cluster, policy: Mapping[str, Any]) -> Iterator[Finding]:
    spec = policy["spec"]
    chosen = cluster.selected(spec["podSelector"])
    by_kuberay = "redis-cleanup" in str(spec["podSelector"])
    if not chosen and not by_kuberay:
        yield Finding("policy-nobody", where(policy), f"{spec['podSelector']} chooses no pods")
    for rule in spec.get("ingress", ()):
        for port in rule.get("ports", ()):
            if chosen and not any(pods.opens(port["port"]) for pods in chosen):
                yield Finding("policy-port", where(policy), f"nobody opens {port['port']}")
    for kind, peers in (("ingress", "from"), ("egress", "to")):
        if kind.capitalize() not in spec.get("policyTypes", ()) and kind in spec:
            yield Finding("policy-type", where(policy), f"{kind} rules without the type")
        for rule in spec.get(kind, ()):
            if kind == "ingress" and not rule.get(peers):
                yield Finding("policy-open", where(policy), "lets everybody in")


def _needed(cluster: Cluster) -> Iterator[tuple[Pods, Pods, int]]:
    """Source, target and the target's own port of every way that the stack goes."""
    for reader in readers(cluster):
        try:
            settings = reader.settings(cluster)
        except ValueError:
            continue
        for address in addresses(reader, settings).values():
            yield from _ways(cluster, reader.pods, address)
    heads = [pods for pods in cluster.pods if pods.is_head]
    for source in heads:
        yield from _ways(cluster, source, "vitrine-redis:6379")
    for source in cluster.pods:
        for container in source.containers:
            for variable in container.get("env", ()):
                if variable["name"] == "TRITON":
                    yield from _ways(cluster, source, variable["value"])


def _needed_outside(cluster: Cluster) -> Iterator[tuple[Pods, str, int]]:
    """Source, name and port of what is outside the cluster."""
    for reader in readers(cluster):
        try:
            settings = reader.settings(cluster)
        except ValueError:
            continue
        for address in addresses(reader, settings).values():
            host, _, number = address.rpartition(":")
            service = cluster.services.get(host)
            if service is not None and service.is_external:
                yield reader.pods, host, int(number)


def _lets_out(policies: list[dict[str, Any]], pods: Pods, port: int) -> bool:
    """Whether a policy lets the pods go to any address at the port."""
    return any(
        selects(policy["spec"]["podSelector"], pods.labels)
        and any(
            "to" not in rule and port in {each["port"] for each in rule.get("ports", ())}
            for rule in policy["spec"].get("egress", ())
        )
        for policy in policies
    )


def _ways(cluster: Cluster, source: Pods, address: str) -> Iterator[tuple[Pods, Pods, int]]:
    host, _, number = address.rpartition(":")
    service = cluster.services.get(host)
    if service is None or service.is_external:
        return
    for port in service.ports:
        if str(port["port"]) == number:
            for target in cluster.selected(service.selector):
                at = target.number(port.get("targetPort", port["port"]))
                if at is not None:
                    yield source, target, at


def _allows(
    policies: list[dict[str, Any]], here: Pods, there: Pods, port: int, direction: str
) -> bool:
    kind, peers = ("egress", "to") if direction == "Egress" else ("ingress", "from")
    for policy in policies:
        spec = policy["spec"]
        if direction not in spec.get("policyTypes", ()) or not selects(
            spec["podSelector"], here.labels
        ):
            continue
        for rule in spec.get(kind, ()):
            numbers = {each["port"] for each in rule.get("ports", ())}
            if numbers and port not in numbers:
                continue
            sides = rule.get(peers)
            if not sides or any(_is_peer(side, there) for side in sides):
                return True
    return False


def _is_peer(side: Mapping[str, Any], there: Pods) -> bool:
    if "podSelector" not in side or side.get("namespaceSelector", {}):
        return False
    return selects(side["podSelector"], there.labels)


def _lets_others_in(policies: list[dict[str, Any]], pods: Pods, port: int) -> bool:
    return any(
        selects(policy["spec"]["podSelector"], pods.labels)
        and any(
            port in {each["port"] for each in rule.get("ports", ())}
            and any("namespaceSelector" in side for side in rule.get("from", ()))
            for rule in policy["spec"].get("ingress", ())
        )
        for policy in policies
    )
