"""A test of the tests: mistakes of each kind, planted one at a time, are found as what they are."""

from collections.abc import Callable
from typing import Any

import pytest
import yaml

from k8s.checks.all_checks import check
from k8s.checks.cluster import Cluster
from k8s.checks.schemas import CRDS
from tests.design.built_manifests import a_cluster, needs_kubectl

pytestmark = needs_kubectl

Plant = Callable[[Cluster], None]


def _of(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    found = cluster.named(kind, name)
    assert found is not None
    return found


def _triton(cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "Deployment", "vitrine-triton")["spec"]
    return spec


def _triton_pod(cluster: Cluster) -> dict[str, Any]:
    pod: dict[str, Any] = _triton(cluster)["template"]["spec"]
    return pod


def _ray(cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "RayService", "vitrine")["spec"]
    return spec


def _worker(cluster: Cluster) -> dict[str, Any]:
    group = _ray(cluster)["rayClusterConfig"]["workerGroupSpecs"][0]
    pod: dict[str, Any] = group["template"]["spec"]
    return pod


def _config(cluster: Cluster, change: Callable[[dict[str, Any]], None]) -> None:
    spec = _ray(cluster)
    config = yaml.safe_load(spec["serveConfigV2"])
    change(config)
    spec["serveConfigV2"] = yaml.safe_dump(config)


def _settings(cluster: Cluster, old: str, new: str, of: str = "vitrine-settings-") -> None:
    for each in cluster.of("ConfigMap"):
        if each["metadata"]["name"].startswith(of):
            assert old in each["data"]["settings.toml"]
            each["data"]["settings.toml"] = each["data"]["settings.toml"].replace(old, new)


def _variable(container: dict[str, Any], name: str) -> dict[str, Any]:
    variable: dict[str, Any] = next(each for each in container["env"] if each["name"] == name)
    return variable


def _texts(cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "RayService", "vitrine-descriptions")["spec"]
    return spec


def _texts_pod(cluster: Cluster) -> dict[str, Any]:
    group = _texts(cluster)["rayClusterConfig"]["workerGroupSpecs"][0]
    pod: dict[str, Any] = group["template"]["spec"]
    return pod


def _pod_of(cluster: Cluster, name: str) -> dict[str, Any]:
    pod: dict[str, Any] = _of(cluster, "Deployment", name)["spec"]["template"]["spec"]
    return pod


def _writer(cluster: Cluster) -> dict[str, Any]:
    container: dict[str, Any] = _pod_of(cluster, "vitrine-writer")["containers"][0]
    return container


def _console(cluster: Cluster) -> dict[str, Any]:
    container: dict[str, Any] = _pod_of(cluster, "vitrine-console")["containers"][0]
    return container


def _texts_config(cluster: Cluster, change: Callable[[dict[str, Any]], None]) -> None:
    spec = _texts(cluster)
    config = yaml.safe_load(spec["serveConfigV2"])
    change(config)
    spec["serveConfigV2"] = yaml.safe_dump(config)


def _nightly(cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "CronJob", "vitrine-nightly")["spec"]
    return spec


def _without_init(pod: dict[str, Any], name: str) -> None:
    pod["initContainers"] = [each for each in pod["initContainers"] if each["name"] != name]


def _without(cluster: Cluster, kind: str, name: str) -> None:
    cluster.objects.remove(_of(cluster, kind, name))


def _gateway(config: dict[str, Any]) -> dict[str, Any]:
    deployment: dict[str, Any] = config["applications"][0]["deployments"][0]
    return deployment


def _route(cluster: Cluster) -> dict[str, Any]:
    rule: dict[str, Any] = _of(cluster, "GRPCRoute", "vitrine")["spec"]["rules"][0]
    return rule


def _scaler(cluster: Cluster) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "ScaledObject", "vitrine-triton")["spec"]
    return spec


def _alert(cluster: Cluster) -> dict[str, Any]:
    groups = _of(cluster, "PrometheusRule", "vitrine")["spec"]["groups"]
    rule: dict[str, Any] = groups[0]["rules"][0]
    return rule


def _policy(cluster: Cluster, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "NetworkPolicy", name)["spec"]
    return spec


def _service(cluster: Cluster, name: str) -> dict[str, Any]:
    spec: dict[str, Any] = _of(cluster, "Service", name)["spec"]
    return spec


def _rules(cluster: Cluster, old: str, new: str) -> None:
    for each in cluster.of("ConfigMap"):
        for name, text in each["data"].items():
            each["data"][name] = text.replace(old, new)


# What is planted → the rule that must say so. Each is a mistake that somebody made somewhere.
MISTAKES: dict[str, tuple[str, Plant]] = {
    "a misspelt key of a container": (
        "schema-1.34.0",
        lambda c: _triton_pod(c)["containers"][0].update(imagePullPolcy="Always"),
    ),
    "a number where a text belongs": (
        "schema-1.37.0",
        lambda c: _triton_pod(c)["containers"][0].update(image=7),
    ),
    "an API that is gone": (
        "schema-1.37.0",
        lambda c: _of(c, "PodDisruptionBudget", "vitrine-triton").update(
            apiVersion="policy/v1beta1"
        ),
    ),
    "a misspelt key deep in a RayService": (
        "schema-crd",
        lambda c: _worker(c)["containers"][0].update(readynessProbe={}),
    ),
    "a timeout on a GRPCRoute": (
        "schema-crd",
        lambda c: _route(c).update(timeouts={"request": "1s"}),
    ),
    "an upgrade strategy that KubeRay does not know": (
        "upgrade-type",
        lambda c: _ray(c).update(upgradeStrategy={"type": "BlueGreen"}),
    ),
    "a stepwise upgrade without a Gateway's class": (
        "upgrade-options",
        lambda c: _ray(c).update(upgradeStrategy={"type": "NewClusterWithIncrementalUpgrade"}),
    ),
    "a service without pods": (
        "service-without-pods",
        lambda c: _service(c, "vitrine-triton").update(selector={"app": "triton"}),
    ),
    "a service to a port that nobody opens": (
        "service-port",
        lambda c: _service(c, "vitrine-triton")["ports"][0].update(targetPort=8080),
    ),
    "a probe on a port that nobody opens": (
        "probe-port",
        lambda c: _worker(c)["containers"][0]["readinessProbe"].update(
            exec=None, grpc={"port": 9001}
        ),
    ),
    "a ConfigMap that is not there": (
        "configmap",
        lambda c: _worker(c)["volumes"][0]["configMap"].update(name="vitrine-setings"),
    ),
    "a secret that nobody makes": (
        "secret",
        lambda c: _worker(c)["volumes"][4]["secret"].update(secretName="vitrine-key"),
    ),
    "a key that a secret has not": (
        "secret",
        lambda c: _variable(_worker(c)["containers"][0], "VITRINE_REDIS__URL")["valueFrom"][
            "secretKeyRef"
        ].update(key="uri"),
    ),
    "a claim that is not there": (
        "claim",
        lambda c: _without(c, "PersistentVolumeClaim", "vitrine-feedback"),
    ),
    "a mount without its volume": (
        "volume",
        lambda c: _worker(c)["volumes"].pop(0),
    ),
    "an account that is not there": (
        "account",
        lambda c: _without(c, "ServiceAccount", "vitrine-triton"),
    ),
    "an image without a version": (
        "image-tag",
        lambda c: _triton_pod(c)["containers"][0].update(image="vitrine/triton:latest"),
    ),
    "two versions of one image": (
        "image-mix",
        lambda c: _triton_pod(c)["containers"][1].update(image="vitrine/serving:0.0.9"),
    ),
    "an image that nothing builds": (
        "image-unknown",
        lambda c: _triton_pod(c)["containers"][0].update(image="vitrine/tritn:0.1.0"),
    ),
    "a route to a service that is not there": (
        "route-backend",
        lambda c: _route(c)["backendRefs"][0].update(name="vitrine-serve-svc"),
    ),
    "weights that send nobody anywhere": (
        "route-weight",
        lambda c: [each.update(weight=0) for each in _route(c)["backendRefs"]],
    ),
    "a route without its Gateway": (
        "route-parent",
        lambda c: _of(c, "GRPCRoute", "vitrine")["spec"]["parentRefs"][0].update(name="edge"),
    ),
    "a monitor that finds nobody": (
        "selects-nobody",
        lambda c: _of(c, "PodMonitor", "vitrine-gateway")["spec"].update(
            selector={"matchLabels": {"app": "gateway"}}
        ),
    ),
    "a monitor at a port that nobody opens": (
        "monitor-port",
        lambda c: _of(c, "PodMonitor", "vitrine-gateway")["spec"]["podMetricsEndpoints"][0].update(
            port="http-metrics"
        ),
    ),
    "a scaler on a figure that nobody exports": (
        "metric",
        lambda c: _scaler(c)["triggers"][0]["metadata"].update(
            query="sum(rate(nv_inference_queue_time_us[1m]))"
        ),
    ),
    "an alert on a figure that nobody exports": (
        "metric",
        lambda c: _alert(c).update(expr="sum(vitrine_served) == 0"),
    ),
    "a scaler to which no figure is no work": (
        "scaler-null",
        lambda c: _scaler(c)["triggers"][0]["metadata"].pop("ignoreNullValues"),
    ),
    "a scaler of a deployment that is not there": (
        "scaler-target",
        lambda c: _scaler(c)["scaleTargetRef"].update(name="triton"),
    ),
    "a number of pods that undoes the scaler": (
        "scaler-replicas",
        lambda c: _triton(c).update(replicas=2),
    ),
    "a surge on a fixed pool of GPUs": (
        "surge",
        lambda c: _triton(c)["strategy"]["rollingUpdate"].update(maxSurge=1),
    ),
    "an end before the calls have ended": (
        "drain",
        lambda c: _worker(c).update(terminationGracePeriodSeconds=30),
    ),
    "no wait before the end": (
        "drain",
        lambda c: _triton_pod(c)["containers"][0].pop("lifecycle"),
    ),
    "too little patience for a start": (
        "start",
        lambda c: _triton_pod(c)["containers"][0].pop("startupProbe"),
    ),
    "shared memory left at 64 MB": (
        "shm",
        lambda c: _triton_pod(c)["containers"][0]["volumeMounts"].pop(1),
    ),
    "a container as root": (
        "root",
        lambda c: _triton_pod(c)["securityContext"].update(runAsUser=0),
    ),
    "a container that may gain privileges": (
        "privileges",
        lambda c: _worker(c)["containers"][0]["securityContext"].update(
            allowPrivilegeEscalation=True
        ),
    ),
    "services as variables": (
        "links",
        lambda c: _worker(c).pop("enableServiceLinks"),
    ),
    "no limits": (
        "resources",
        lambda c: _triton_pod(c)["containers"][1].pop("resources"),
    ),
    "no default deny": (
        "default-deny",
        lambda c: _without(c, "NetworkPolicy", "vitrine-deny"),
    ),
    "a policy that cuts the doors off from Triton": (
        "egress",
        lambda c: _policy(c, "vitrine-door")["egress"].pop(0),
    ),
    "a policy that keeps Prometheus out": (
        "ingress",
        lambda c: _policy(c, "vitrine-door")["ingress"].pop(1),
    ),
    "a policy for a port that nobody opens": (
        "policy-port",
        lambda c: _policy(c, "vitrine-redis")["ingress"][0]["ports"][0].update(port=6380),
    ),
    "a head that takes replicas": (
        "head-works",
        lambda c: _ray(c)["rayClusterConfig"]["headGroupSpec"]["rayStartParams"].pop("num-cpus"),
    ),
    "a head without the port that KubeRay reads": (
        "head-port",
        lambda c: _ray(c)["rayClusterConfig"]["headGroupSpec"]["template"]["spec"]["containers"][0][
            "ports"
        ].pop(),
    ),
    "fault tolerance on a Redis that is not there": (
        "head-redis",
        lambda c: _ray(c)["rayClusterConfig"]["gcsFaultToleranceOptions"].update(
            redisAddress="redis://redis:6379"
        ),
    ),
    "one state for two clusters of an upgrade": (
        "head-redis",
        lambda c: _ray(c)["rayClusterConfig"]["gcsFaultToleranceOptions"].update(
            externalStorageNamespace="vitrine"
        ),
    ),
    "another Ray than the one pinned": (
        "ray-version",
        lambda c: _ray(c)["rayClusterConfig"].update(rayVersion="2.49.0"),
    ),
    "an application that is no module": (
        "import-path",
        lambda c: _config(
            c, lambda f: f["applications"][0].update(import_path="serving.cluster:build")
        ),
    ),
    "a misspelt key of a deployment": (
        "serve-config",
        lambda c: _config(c, lambda f: _gateway(f).update(max_ongoing_request=5)),
    ),
    "a value that Ray refuses": (
        "serve-config",
        lambda c: _config(c, lambda f: _gateway(f).update(max_ongoing_requests=-1)),
    ),
    "a deployment that the application has not": (
        "deployment-name",
        lambda c: _config(c, lambda f: _gateway(f).update(name="Gateway")),
    ),
    "a servicer that is not there": (
        "servicer",
        lambda c: _config(
            c,
            lambda f: f["grpc_options"].update(grpc_servicer_functions=["serving.arrival.add"]),
        ),
    ),
    "another port in the config than in the pods": (
        "door-port",
        lambda c: _config(c, lambda f: f["grpc_options"].update(port=9001)),
    ),
    "more gateways than pods": (
        "replica-count",
        lambda c: _config(c, lambda f: _gateway(f)["autoscaling_config"].update(max_replicas=99)),
    ),
    "pods that no gateway fills": (
        "replica-count",
        lambda c: _ray(c)["rayClusterConfig"]["workerGroupSpecs"][0].update(
            minReplicas=5, replicas=5
        ),
    ),
    "a setting that is none": (
        "settings",
        lambda c: _settings(c, "metrics_port", "metric_port"),
    ),
    "a door on the loopback": (
        "settings-port",
        lambda c: _settings(c, '"0.0.0.0"', '"127.0.0.1"'),
    ),
    "figures at a port that nobody opens": (
        "settings-port",
        lambda c: _settings(c, "9464", "9465"),
    ),
    "a system's address that leads nowhere": (
        "address",
        lambda c: _settings(c, "vitrine-pricing:9101", "pricing:9101"),
    ),
    "Ray without the product's own switches": (
        "ray-environment",
        lambda c: [
            each["data"].pop("RAY_SERVE_ENABLE_DIRECT_INGRESS", None) for each in c.of("ConfigMap")
        ],
    ),
    "a command that is no module": (
        "module",
        lambda c: _triton_pod(c)["containers"][1].update(
            command=["python", "-m", "serving.triton.canary_watch"]
        ),
    ),
    "an argument that a command does not know": (
        "arguments",
        lambda c: _triton_pod(c)["containers"][1]["args"].append("--prot=8003"),
    ),
    "a script with an argument that is none": (
        "arguments",
        lambda c: _rules(c, "--prune 5", "--keep 5"),
    ),
    "an alert without a word on what to do": (
        "runbook",
        lambda c: _alert(c).update(alert="VitrineUnheardOf"),
    ),
    "a panel's key that Grafana would drop": (
        "dashboard",
        lambda c: _rules(c, '"fieldConfig"', '"fieldConfigs"'),
    ),
    "a door that nobody gives its callers": (
        "settings-file",
        lambda c: _without_init(_worker(c), "callers"),
    ),
    "a rule book that is mounted nowhere": (
        "settings-file",
        lambda c: _settings(c, "/etc/vitrine-rules/", "/etc/rules/"),
    ),
    "descriptions of another application": (
        "application-name",
        lambda c: _texts_config(c, lambda f: f["applications"][0].update(name="describe")),
    ),
    "descriptions under another deployment's name": (
        "deployment-name",
        lambda c: _texts_config(
            c, lambda f: f["applications"][0]["deployments"][0].update(name="door")
        ),
    ),
    "more replicas of descriptions than pods": (
        "replica-count",
        lambda c: _texts_config(
            c, lambda f: f["applications"][0]["deployments"][0].update(num_replicas=5)
        ),
    ),
    "descriptions at a port that their settings do not name": (
        "door-port",
        lambda c: _settings(c, "port = 9000", "port = 9010", "vitrine-descriptions-settings-"),
    ),
    "descriptions that nobody tells where PostgreSQL is": (
        "settings",
        lambda c: _texts_pod(c)["containers"][0]["env"].remove(
            _variable(_texts_pod(c)["containers"][0], "VITRINE_DESCRIBE__POSTGRES")
        ),
    ),
    "a PostgreSQL that is nowhere": (
        "address",
        lambda c: _without(c, "Service", "vitrine-postgres"),
    ),
    "a policy that cuts descriptions off from PostgreSQL": (
        "egress",
        lambda c: _policy(c, "vitrine-descriptions")["egress"].pop(1),
    ),
    "a policy that cuts descriptions off from the writer": (
        "egress",
        lambda c: _policy(c, "vitrine-descriptions")["egress"].pop(0),
    ),
    "a writer that lets nobody in": (
        "ingress",
        lambda c: _policy(c, "vitrine-writer").update(ingress=[]),
    ),
    "product data on no volume": (
        "settings-file",
        lambda c: _settings(c, "/store/snap", "/srv/snap", "vitrine-descriptions-settings-"),
    ),
    "a migration with an argument that is none": (
        "arguments",
        lambda c: _texts_pod(c)["initContainers"][0]["command"].__setitem__(
            2, _texts_pod(c)["initContainers"][0]["command"][2].replace("--wait-s", "--patience")
        ),
    ),
    "a variable that is no setting": (
        "settings",
        lambda c: _variable(_texts_pod(c)["containers"][0], "VITRINE_DOOR__AUDIT_FILE").update(
            name="VITRINE_DOOR__AUDIT"
        ),
    ),
    "a variable that nobody reads": (
        "settings-unread",
        lambda c: _triton_pod(c)["containers"][1].update(
            env=[{"name": "VITRINE_DOOR__PORT", "value": "9001"}]
        ),
    ),
    "a writer on the loopback": (
        "settings-port",
        lambda c: _settings(c, "0.0.0.0", "127.0.0.1", "vitrine-writer-settings-"),
    ),
    "a writer at a port that nobody opens": (
        "settings-port",
        lambda c: _settings(c, "9300", "9301", "vitrine-writer-settings-"),
    ),
    "a model on no volume": (
        "settings-file",
        lambda c: _writer(c)["volumeMounts"].pop(1),
    ),
    "a surge of the writer on the one GPU": (
        "surge",
        lambda c: _of(c, "Deployment", "vitrine-writer")["spec"]["strategy"][
            "rollingUpdate"
        ].update(maxSurge=1),
    ),
    "a writer with a minute to load its model": (
        "start",
        lambda c: _writer(c)["startupProbe"].update(failureThreshold=6),
    ),
    "a writer with 64 MB of shared memory": (
        "shm",
        lambda c: _writer(c)["volumeMounts"].pop(3),
    ),
    "a writer that ends in the middle of a text": (
        "drain",
        lambda c: _writer(c).pop("lifecycle"),
    ),
    "a probe of a service that no door answers for": (
        "probe-service",
        lambda c: _writer(c)["readinessProbe"]["grpc"].update(service="vitrine.v1.Writer"),
    ),
    "a console whose token nobody brings": (
        "settings-file",
        lambda c: _settings(c, "door.token", "doors.token", "vitrine-console-settings-"),
    ),
    "a certificate that a secret has not": (
        "settings-file",
        lambda c: _variable(_console(c), "VITRINE_CONSOLE__TLS_KEY").update(
            value="/etc/vitrine-tls/key.pem"
        ),
    ),
    "a console that asks a door that is not there": (
        "address",
        lambda c: _settings(
            c, '"vitrine-descriptions:', '"vitrine-texts:', "vitrine-console-settings-"
        ),
    ),
    "a probe of the console by the pod's address": (
        "console-name",
        lambda c: _console(c)["readinessProbe"]["httpGet"].pop("httpHeaders"),
    ),
    "a route to the console under a name that it does not know": (
        "console-name",
        lambda c: _settings(c, "console.shop", "pages.shop", "vitrine-console-settings-"),
    ),
    "a console whose cookies travel without TLS": (
        "console-tls",
        lambda c: _settings(c, "tls = true", "tls = false", "vitrine-console-settings-"),
    ),
    "a console that may not ask the doors": (
        "egress",
        lambda c: _policy(c, "vitrine-console")["egress"].pop(),
    ),
    "doors that do not let the console in": (
        "ingress",
        lambda c: _without(c, "NetworkPolicy", "vitrine-doors-of-the-console"),
    ),
    "a route to descriptions that are not there": (
        "route-backend",
        lambda c: _of(c, "GRPCRoute", "vitrine-descriptions")["spec"]["rules"][0]["backendRefs"][
            0
        ].update(port=9010),
    ),
    "a listener that the Gateway has not": (
        "route-parent",
        lambda c: _of(c, "Gateway", "vitrine")["spec"]["listeners"].pop(),
    ),
    "a budget that protects nobody": (
        "selects-nobody",
        lambda c: _of(c, "PodDisruptionBudget", "vitrine-descriptions")["spec"].update(
            selector={"matchLabels": {"app.kubernetes.io/name": "vitrine-texts"}}
        ),
    ),
    "figures of descriptions that are switched off": (
        "metric",
        lambda c: _settings(
            c, "metrics_port = 9464", "metrics_port = 0", "vitrine-descriptions-settings-"
        ),
    ),
    "a nightly job that promotes past the gate": (
        "gate",
        lambda c: _rules(c, "python -m export.gate", "python -m vitrine releases"),
    ),
    "nights that run into each other": (
        "job",
        lambda c: _nightly(c).update(concurrencyPolicy="Allow"),
    ),
    "a job that is never given up": (
        "job",
        lambda c: _nightly(c)["jobTemplate"]["spec"].pop("activeDeadlineSeconds"),
    ),
    "finished jobs that stay for ever": (
        "job",
        lambda c: _nightly(c)["jobTemplate"]["spec"].pop("ttlSecondsAfterFinished"),
    ),
    "a refusal of the gate that is tried again": (
        "job",
        lambda c: _nightly(c)["jobTemplate"]["spec"].pop("podFailurePolicy"),
    ),
    "an object twice": (
        "duplicate",
        lambda c: c.objects.append(dict(_of(c, "Service", "vitrine-triton"))),
    ),
}
_NEED_DEFINITIONS = {"schema-crd"}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_planted_mistake_is_found(mistake: str) -> None:
    rule, plant = MISTAKES[mistake]
    if rule in _NEED_DEFINITIONS and not CRDS.is_dir():
        pytest.skip(f"no custom resource definitions beside the project: {CRDS} is not there")
    cluster = a_cluster("multi-gpu")
    plant(cluster)
    found = check(cluster)
    assert rule in {finding.rule for finding in found}, [str(finding) for finding in found]


def test_mistakes_of_many_kinds_are_planted() -> None:
    assert len(MISTAKES) >= 25
    assert len({rule for rule, _ in MISTAKES.values()}) >= 25
