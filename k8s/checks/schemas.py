"""Schemas: Kubernetes' own, strict, of two versions, and those of custom resources where present.

Unknown keys are errors. A custom resource's CEL rules are not run.
"""

import functools
import gzip
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from referencing import Registry, Resource

from k8s.checks.build import ROOT, Manifest
from k8s.checks.cluster import Cluster, Finding, Pods, where

VERSIONS = ("1.34.0", "1.37.0")  # the oldest with all that is used, and the newest known
CRDS = ROOT.parent / "shared" / "crds"
_CORE_GROUPS = ("", "apps", "batch", "autoscaling", "policy")


def core_schemas() -> Path:
    """The folder of the package that bundles them. Raises ModuleNotFoundError."""
    spec = importlib.util.find_spec("kubernetes_validate")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("kubernetes-validate is not installed; run `make setup`")
    return Path(spec.origin).parent / "kubernetes-json-schema"


def check_schemas(cluster: Cluster) -> Iterator[Finding]:
    """Every object against what a cluster would hold it to."""
    for each in cluster.objects:
        text = json.dumps(each, sort_keys=True)
        for rule, what in _faults(text):
            yield Finding(rule, where(each), what)
    for pods in cluster.pods:  # a custom resource's pods are held to Kubernetes' schema, too
        if pods.is_head or pods.is_worker:
            for rule, what in _faults(json.dumps(_as_pod(pods), sort_keys=True)):
                yield Finding(rule, pods.owner, what)


def _as_pod(pods: Pods) -> Manifest:
    metadata = {"name": "pod", "labels": dict(pods.labels)}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pods.spec}


@functools.cache
def _faults(text: str) -> tuple[tuple[str, str], ...]:
    """Of one object as JSON; unchanged objects are judged once."""
    each = json.loads(text)
    group, _, version = each.get("apiVersion", "").rpartition("/")
    if group in _CORE_GROUPS or (group.endswith(".k8s.io") and "gateway" not in group):
        return tuple(
            (f"schema-{core}", fault)
            for core in VERSIONS
            for fault in _core_faults(core, group, version, each)
        )
    if not CRDS.is_dir():
        return ()
    validator = _custom_validator(group, version, each["kind"])
    if validator is None:
        return (("schema-unknown", f"no schema for {each['apiVersion']} {each['kind']}"),)
    return tuple(("schema-crd", _told(error)) for error in validator.iter_errors(each))


def _core_faults(core: str, group: str, version: str, each: Manifest) -> Iterator[str]:
    # Files are named by kind and the group's first word.
    name = "-".join(filter(None, (each["kind"].lower(), group.split(".")[0], version)))
    validator = _core_validator(core, name)
    if validator is None:
        yield f"Kubernetes {core} has no {each['apiVersion']} {each['kind']}"
        return
    yield from (_told(error) for error in validator.iter_errors(each))


def _told(error: jsonschema.ValidationError) -> str:
    path = ".".join(str(step) for step in error.absolute_path)
    return f"{path}: {error.message[:300]}"


@functools.cache
def _core_validator(core: str, name: str) -> Any:
    folder = core_schemas() / f"v{core}-local-strict"
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    definitions = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    registry: Any = Registry().with_resource("/api/_definitions.json", definitions)
    return jsonschema.Draft202012Validator(json.loads(file.read_text()), registry=registry)


@functools.cache
def _custom_schemas() -> dict[tuple[str, str, str], Any]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    found = {}
    for file in CRDS.glob("*.yaml.gz"):
        with gzip.open(file) as opened:
            spec = yaml.load(opened, Loader=loader)["spec"]
        for version in spec["versions"]:
            key = (spec["group"], version["name"], spec["names"]["kind"])
            found[key] = version["schema"]["openAPIV3Schema"]
    return found


@functools.cache
def _custom_validator(group: str, version: str, kind: str) -> Any:
    schema = _custom_schemas().get((group, version, kind))
    return None if schema is None else jsonschema.Draft202012Validator(_strict(schema))


def _strict(schema: Any) -> Any:
    """The same, refusing unknown keys wherever some are named."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {key: _strict(value) for key, value in schema.items()}
    if strict.pop("nullable", False) and "type" in strict:
        strict["type"] = [strict["type"], "null"]
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") is True
    if isinstance(schema.get("properties"), dict) and not is_open:
        strict.setdefault("additionalProperties", False)
    return strict
