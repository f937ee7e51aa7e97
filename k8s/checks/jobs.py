"""Jobs: given up in time, tried again only where that helps, tidied away, and no release by night
that the gate did not let through.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from k8s.checks.cluster import Cluster, Finding, where

_PROMOTES = re.compile(r"python -m vitrine promote")
_GATE = re.compile(r"python -m export\.gate")


def check_jobs(cluster: Cluster) -> Iterator[Finding]:
    """Jobs, cron jobs and Ray's, and the scripts that they run."""
    for each in cluster.of("CronJob"):
        spec = each["spec"]
        yield from _bounded(where(each), spec["jobTemplate"]["spec"])
        if spec.get("concurrencyPolicy") != "Forbid":
            yield Finding("job", where(each), "two of them would write the same folders")
        if not {"successfulJobsHistoryLimit", "failedJobsHistoryLimit"} <= set(spec):
            yield Finding("job", where(each), "keeps as many as it likes")
        scripts = _scripts(cluster, spec["jobTemplate"]["spec"])
        if any(_GATE.search(script) for script in scripts.values()) and not _ends_at_the_gate(
            spec["jobTemplate"]["spec"]
        ):
            yield Finding("job", where(each), "would learn again what the gate refused")
        is_by_itself = not re.fullmatch(r"0 0 1 1 \*", spec["schedule"])
        for name, script in scripts.items() if is_by_itself else ():
            yield from _gated(f"{where(each)} {name}", script)
    for each in cluster.of("Job"):
        yield from _bounded(where(each), each["spec"])


def _bounded(at: str, job: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if name not in job:
            yield Finding("job", at, f"has no {name}")


def _scripts(cluster: Cluster, job: Mapping[str, Any]) -> dict[str, str]:
    """Scripts that ConfigMaps bring into the job's pods, by their names."""
    found: dict[str, str] = {}
    for volume in job["template"]["spec"].get("volumes", ()):
        config = cluster.named("ConfigMap", volume.get("configMap", {}).get("name", ""))
        found |= (config or {}).get("data", {})
    return {name: text for name, text in found.items() if name.endswith(".sh")}


def _gated(at: str, script: str) -> Iterator[Finding]:
    promotes, gate = _PROMOTES.search(script), _GATE.search(script)
    if promotes and not (gate and gate.start() < promotes.start()):
        yield Finding("gate", at, "promotes what no gate has looked at")


def _ends_at_the_gate(job: Mapping[str, Any]) -> bool:
    from export.gate import HELD

    return any(
        rule["action"] == "FailJob" and HELD in rule.get("onExitCodes", {}).get("values", ())
        for rule in job.get("podFailurePolicy", {}).get("rules", ())
    )
