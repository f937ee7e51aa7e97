"""Pods: restricted, bounded, drained before they end, and with the memory that they share."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.cluster import Cluster, Finding, Pods, where

# Ray's raylet, and a server's own end, after the wait before they are told to stop.
_TO_END_S = 20
_SLOW = ("triton", "writer", "ray-worker", "ray-head")  # to start, and they share memory
_GPU = re.compile(r"nvidia\.com/(gpu|mig-.+)")


def check_pods(cluster: Cluster) -> Iterator[Finding]:
    """Every pod template, and what scales it."""
    for pods in cluster.pods:
        yield from _restricted(pods)
        yield from _bounded(pods)
        yield from _shared_memory(pods)
    for service in cluster.services.values():
        for pods in cluster.selected(service.selector) if service.selector else ():
            is_store = pods.owner.startswith("StatefulSet")  # of one pod: nobody else is there
            if not is_store and "Deployment/vitrine-shop" not in pods.owner:  # simulated
                yield from _drained(pods)
    yield from _updates(cluster)
    yield from _scalers(cluster)


def _restricted(pods: Pods) -> Iterator[Finding]:
    spec = pods.spec
    context = spec.get("securityContext", {})
    if not (context.get("runAsNonRoot") and context.get("runAsUser", 0) > 0):
        yield Finding("root", pods.owner, "may run as root")
    if context.get("seccompProfile", {}).get("type") != "RuntimeDefault":
        yield Finding("seccomp", pods.owner, "has no seccomp profile")
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield Finding("host", pods.owner, "shares the host's network or processes")
    if any("hostPath" in volume for volume in pods.volumes.values()):
        yield Finding("host", pods.owner, "mounts a folder of the host")
    if spec.get("enableServiceLinks", True):
        yield Finding("links", pods.owner, "services become variables that look like settings")
    if not pods.is_head and spec.get("automountServiceAccountToken", True):
        yield Finding("token", pods.owner, "gets a token that it does not need")
    for container in pods.all_containers:
        own = container.get("securityContext", {})
        dropped = own.get("capabilities", {}).get("drop", ())
        if own.get("allowPrivilegeEscalation", True) or "ALL" not in dropped:
            yield Finding("privileges", pods.owner, f"{container['name']} keeps privileges")
        if own.get("privileged") or own.get("capabilities", {}).get("add"):
            yield Finding("privileges", pods.owner, f"{container['name']} is privileged")
        if not own.get("readOnlyRootFilesystem"):
            yield Finding("writable-root", pods.owner, f"{container['name']} may change its image")


def _bounded(pods: Pods) -> Iterator[Finding]:
    is_job = pods.owner.startswith(("CronJob", "Job"))
    for container in pods.all_containers:
        resources = container.get("resources", {})
        for kind in ("requests", "limits"):
            if not {"cpu", "memory"} <= set(resources.get(kind, {})):
                yield Finding("resources", pods.owner, f"{container['name']} has no {kind}")
    for container in () if is_job else pods.containers:
        missing = {"readinessProbe", "livenessProbe"} - set(container)
        if missing:
            yield Finding("probes", pods.owner, f"{container['name']} has no {sorted(missing)}")
        if container["name"] in _SLOW:
            probe = container.get("startupProbe", {})
            patience_s = probe.get("failureThreshold", 3) * probe.get("periodSeconds", 10)
            if not probe or patience_s < 120:
                yield Finding(
                    "start", pods.owner, f"{container['name']} has {patience_s} s to start"
                )
    for name, volume in pods.volumes.items():
        if "emptyDir" in volume and "sizeLimit" not in (volume["emptyDir"] or {}):
            yield Finding("bounded-disk", pods.owner, f"{name} may fill the node's disk")


def _shared_memory(pods: Pods) -> Iterator[Finding]:
    for container in pods.containers:
        if container["name"] not in _SLOW:
            continue
        mounts = {m["mountPath"]: m["name"] for m in container.get("volumeMounts", ())}
        volume = pods.volumes.get(mounts.get("/dev/shm", ""), {}).get("emptyDir", {})
        if volume.get("medium") != "Memory":
            yield Finding("shm", pods.owner, f"{container['name']} has 64 MB at /dev/shm")


def _drained(pods: Pods) -> Iterator[Finding]:
    grace_s = pods.spec.get("terminationGracePeriodSeconds", 30)
    if pods.is_head:
        return
    waits = [_sleeps(container) for container in pods.containers]
    if not any(waits):
        yield Finding("drain", pods.owner, "ends while calls still come: no preStop")
    for container in pods.containers:
        told = [a for a in container.get("args", ()) if a.startswith("--exit-timeout-secs=")]
        to_end_s = int(told[0].partition("=")[2]) if told else _TO_END_S
        if _sleeps(container) + to_end_s >= grace_s:
            what = f"{_sleeps(container)} s + {to_end_s} s, killed after {grace_s} s"
            yield Finding("drain", pods.owner, f"{container['name']}: {what}")


def _sleeps(container: Mapping[str, Any]) -> int:
    hook = container.get("lifecycle", {}).get("preStop", {})
    if "sleep" in hook:
        return int(hook["sleep"]["seconds"])
    command = hook.get("exec", {}).get("command", ())
    return int(command[1]) if len(command) == 2 and command[0] == "sleep" else 0


def _updates(cluster: Cluster) -> Iterator[Finding]:
    for each in cluster.of("Deployment"):
        spec = each["spec"]
        pod = spec["template"]["spec"]
        limits = [c.get("resources", {}).get("limits", {}) for c in pod["containers"]]
        has_gpu = any(_GPU.fullmatch(name) for names in limits for name in names)
        surge = spec.get("strategy", {}).get("rollingUpdate", {}).get("maxSurge", "25%")
        is_rolling = spec.get("strategy", {}).get("type", "RollingUpdate") == "RollingUpdate"
        if (has_gpu or pod.get("resourceClaims")) and is_rolling and surge not in (0, "0%"):
            yield Finding(
                "surge", where(each), f"maxSurge {surge}: waits for a GPU that is not there"
            )


def _scalers(cluster: Cluster) -> Iterator[Finding]:
    targets: dict[str, str] = {}
    for each in cluster.of("ScaledObject") + cluster.of("HorizontalPodAutoscaler"):
        spec = each["spec"]
        name, kind = (
            spec["scaleTargetRef"]["name"],
            spec["scaleTargetRef"].get("kind", "Deployment"),
        )
        target = cluster.named(kind, name)
        if target is None:
            yield Finding("scaler-target", where(each), f"there is no {kind} {name}")
            continue
        if name in targets:
            yield Finding("scaler-twice", where(each), f"{targets[name]} scales {name}, too")
        targets[name] = where(each)
        if "replicas" in target["spec"]:
            yield Finding("scaler-replicas", where(target), "every apply would undo the scaler")
        low = spec.get("minReplicaCount", spec.get("minReplicas", 0))
        high = spec.get("maxReplicaCount", spec.get("maxReplicas", 100))
        if not 1 <= low <= high:
            yield Finding("scaler-range", where(each), f"from {low} to {high}")
        fallback = spec.get("fallback", {}).get("replicas", low)
        if not low <= fallback <= high:
            yield Finding("scaler-range", where(each), f"falls back to {fallback}")
        containers = {c["name"] for c in target["spec"]["template"]["spec"]["containers"]}
        for metric in spec.get("metrics", ()):
            named = metric.get("containerResource", {}).get("container")
            if named and named not in containers:
                yield Finding("scaler-container", where(each), f"there is no container {named}")
        for trigger in spec.get("triggers", ()):
            if trigger["metadata"].get("ignoreNullValues") != "false":
                what = f"{trigger['name']}: no figure would count as nothing to do"
                yield Finding("scaler-null", where(each), what)
