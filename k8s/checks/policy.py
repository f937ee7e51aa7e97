"""Policy: checkov over what was built and over the Dockerfiles; every exception has its reason.

checkov knows no RayService: its pods are shown to it as plain Pods.
"""

import json
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from k8s.checks.build import K8S, ROOT, Manifest
from k8s.checks.cluster import Cluster, Finding

EXCEPTIONS = K8S / "checks" / "exceptions.toml"


def checkov() -> str | None:
    """The program, from this project's own folder or the machine's."""
    own = ROOT / ".tools" / "checkov" / "bin" / "checkov"
    return str(own) if own.exists() else shutil.which("checkov")


def exceptions() -> dict[str, dict[str, str]]:
    """Check → resource → reason; the resource "*" is all of them."""
    return tomllib.loads(EXCEPTIONS.read_text())


def check_policy(cluster: Cluster) -> Iterator[Finding]:
    """One build. Raises FileNotFoundError without checkov."""
    objects = [*cluster.objects, *_ray_pods(cluster)]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "built.yaml").write_text(yaml.safe_dump_all(objects))
        yield from _unreasoned(_failed(Path(folder), "kubernetes"))


def check_dockerfiles() -> Iterator[Finding]:
    """The images' recipes. Raises FileNotFoundError without checkov."""
    yield from _unreasoned(_failed(K8S / "images", "dockerfile"))


def _ray_pods(cluster: Cluster) -> Iterator[Manifest]:
    for pods in cluster.pods:
        if pods.is_head or pods.is_worker:
            name = pods.owner.partition("/")[2].replace(" ", "-").lower()
            metadata = {"name": f"ray-{name}", "namespace": "vitrine", "labels": dict(pods.labels)}
            yield {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pods.spec}


def _failed(folder: Path, framework: str) -> list[dict[str, Any]]:
    program = checkov()
    if program is None:
        raise FileNotFoundError("checkov")
    options = ("--framework", framework, "--skip-download", "--quiet", "--compact", "-o", "json")
    command = [program, "-d", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    reports = json.loads(done.stdout)
    found = reports if isinstance(reports, list) else [reports]
    if not any(report.get("summary", {}).get("passed") for report in found):
        raise ValueError(f"checkov looked at nothing: {done.stdout[:500]} {done.stderr[:500]}")
    return [check for report in found for check in report["results"]["failed_checks"]]


def _unreasoned(failed: list[dict[str, Any]]) -> Iterator[Finding]:
    reasons = exceptions()
    for each in failed:
        allowed = reasons.get(each["check_id"], {})
        if not any(part == "*" or part in each["resource"] for part in allowed):
            yield Finding(each["check_id"], each["resource"], each["check_name"])
