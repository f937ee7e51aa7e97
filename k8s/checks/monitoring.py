"""Monitoring: every query asks for figures that somebody exports and a monitor collects."""

import functools
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from k8s.checks.build import K8S, ROOT, Manifest
from k8s.checks.cluster import Cluster, Finding, where
from k8s.checks.settings import Role, readers

RUNBOOK = ROOT / "docs" / "operations.md"
# Of Triton 2.51, read from a running one; tests/k8s holds this list against it.
TRITON_METRICS = frozenset(
    {
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_pending_request_count",
    }
)
CANARY_METRICS = frozenset({"vitrine_canary_sound"})
_NAME = re.compile(r"\b(?:vitrine|nv)_[a-z0-9_]+")
_PANELS = {"type", "title", "id", "gridPos", "datasource", "fieldConfig", "targets"}


def check_monitoring(cluster: Cluster) -> Iterator[Finding]:
    """Alerts, dashboards and scalers of a build."""
    collected = _collected(cluster)
    for at, query in _queries(cluster):
        for name in sorted(set(_NAME.findall(query))):
            if name not in collected:
                yield Finding("metric", at, f"{name} is exported, or collected, by nobody")
    for rules in cluster.of("PrometheusRule"):
        yield from _alerts(rules)
    for dashboard in _dashboards(cluster):
        yield from _dashboard(dashboard)


def promtool() -> str | None:
    """The program, from this project's own folder or the machine's."""
    own = ROOT / ".tools" / "bin" / "promtool"
    return str(own) if own.exists() else shutil.which("promtool")


def check_queries(cluster: Cluster) -> Iterator[Finding]:
    """Whether Prometheus can read every query; asks promtool once."""
    queries = list(_queries(cluster))
    groups = [group for r in cluster.of("PrometheusRule") for group in r["spec"]["groups"]]
    for number, (_, query) in enumerate(queries):
        rule = {"record": f"query:{number}", "expr": query}
        groups.append({"name": f"query-{number}", "rules": [rule]})
    program = promtool()
    if program is None or not groups:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rules.yaml"
        file.write_text(yaml.safe_dump({"groups": groups}))
        done = subprocess.run(
            [program, "check", "rules", str(file)], capture_output=True, text=True, check=False
        )
    if done.returncode:
        yield Finding("query", cluster.name, (done.stderr or done.stdout).strip()[:600])


@functools.cache
def door_metrics() -> frozenset[str]:
    """What a door exports, by asking its own registry with nothing behind it."""
    from serving.telemetry import Telemetry

    telemetry: Any = Telemetry()
    anything = SimpleNamespace
    log = anything(
        counts=_Zeros(), queued_batches=0, queued_impressions=0, histories_are_behind=False
    )
    telemetry.watch_feedback(log)
    telemetry.watch_cache(anything(counts=_Zeros(), kept=_Kept(evicted_count=0, kept_bytes=0)))
    telemetry.watch_offers(anything(questions={}))
    telemetry.watch_surroundings(anything(weather_is_known=False, trends_are_known=False))
    return _names(telemetry.registry)


class _Zeros:
    def __getattr__(self, name: str) -> int:
        return 0


class _Kept(SimpleNamespace):
    def __len__(self) -> int:
        return 0


def descriptions_metrics() -> frozenset[str]:
    """What a door of descriptions exports."""
    from serving.descriptions_telemetry import DescriptionsTelemetry

    return _names(DescriptionsTelemetry().registry)


def _names(registry: Any) -> frozenset[str]:
    names: set[str] = set()
    for family in registry.collect():
        kind = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}
        names |= {f"{family.name}{end}" for end in kind.get(family.type, ("",))}
    return frozenset(names)


def _exported(cluster: Cluster) -> dict[str, frozenset[str]]:
    """By the pods' owner, what doors export; a port of 0 is none."""
    found = {}
    for reader in readers(cluster):
        if reader.role is Role.DOOR:
            found[reader.pods.owner] = door_metrics()
        if reader.role is Role.DESCRIPTIONS:
            try:
                is_on = reader.settings(cluster).describe.metrics_port > 0
            except ValueError:
                is_on = False
            found[reader.pods.owner] = descriptions_metrics() if is_on else frozenset()
    return found


def _collected(cluster: Cluster) -> set[str]:
    found: set[str] = set()
    exported = _exported(cluster)
    for monitor in cluster.of("PodMonitor"):
        ports = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]}
        for pods in cluster.selected(monitor["spec"]["selector"]):
            if "metrics" in ports:
                found |= exported.get(pods.owner, frozenset())
            names = {container["name"] for container in pods.containers}
            found |= TRITON_METRICS if "triton" in names and "metrics" in ports else set()
            found |= CANARY_METRICS if "canary" in names and "canary" in ports else set()
    return found


def _queries(cluster: Cluster) -> Iterator[tuple[str, str]]:
    for rules in cluster.of("PrometheusRule"):
        for group in rules["spec"]["groups"]:
            yield from (
                (f"alert {r.get('alert', r.get('record'))}", r["expr"]) for r in group["rules"]
            )
    for scaled in cluster.of("ScaledObject"):
        for trigger in scaled["spec"]["triggers"]:
            yield f"{where(scaled)} {trigger['name']}", trigger["metadata"]["query"]
    for dashboard in _dashboards(cluster):
        for panel in dashboard.get("panels", ()):
            for target in panel.get("targets", ()):
                yield f"dashboard {dashboard['uid']} {panel['title']}", target["expr"]


def _dashboards(cluster: Cluster) -> Iterator[dict[str, Any]]:
    for config in cluster.of("ConfigMap"):
        if config["metadata"].get("labels", {}).get("grafana_dashboard") == "1":
            yield from (json.loads(text) for text in config["data"].values())


def _alerts(rules: Manifest) -> Iterator[Finding]:
    known = set(re.findall(r"^#{3,4} (\w+)$", RUNBOOK.read_text(), flags=re.MULTILINE))
    for group in rules["spec"]["groups"]:
        for rule in group["rules"]:
            name = rule.get("alert", "")
            if name not in known:
                yield Finding("runbook", f"alert {name}", "docs/operations.md has no entry")
            if rule.get("labels", {}).get("severity") not in ("critical", "warning"):
                yield Finding("severity", f"alert {name}", "must be critical or warning")
            if not {"summary", "runbook"} <= set(rule.get("annotations", {})):
                yield Finding("annotations", f"alert {name}", "says neither what nor what to do")


def _dashboard(dashboard: dict[str, Any]) -> Iterator[Finding]:
    at = f"dashboard {dashboard.get('uid')}"
    sources = {each["name"] for each in dashboard.get("templating", {}).get("list", ())}
    identifiers = [panel.get("id") for panel in dashboard.get("panels", ())]
    if len(set(identifiers)) != len(identifiers):
        yield Finding("dashboard", at, "two panels have one id")
    for panel in dashboard.get("panels", ()):
        unknown = set(panel) - _PANELS
        if unknown or not set(panel) >= _PANELS:
            yield Finding("dashboard", at, f"{panel.get('title')}: keys {sorted(unknown)}")
        for used in re.findall(r"\$\{(\w+)\}", json.dumps(panel)):
            if used not in sources:
                yield Finding("dashboard", at, f"{panel['title']} uses ${{{used}}}, which is none")


def rule_file(folder: Path) -> Path:
    """The alerts in the form that promtool reads."""
    spec = yaml.safe_load((K8S / "monitoring" / "alerts.yaml").read_text())["spec"]
    file = folder / "alerts.yaml"
    file.write_text(yaml.safe_dump(spec))
    return file
