"""Builds shared by the tests of the manifests: each is made once, and never changed."""

import copy
import functools

import pytest

from k8s.checks.build import OVERLAYS, Manifest, build_overlay, build_variant, kubectl
from k8s.checks.cluster import Cluster

needs_kubectl = pytest.mark.skipif(
    kubectl() is None,
    reason="no kubectl on this machine; `scripts/bootstrap.py` says how to get it",
)


@functools.cache
def _built(name: str) -> tuple[Manifest, ...]:
    return tuple(build_overlay(name) if name in OVERLAYS else build_variant(name))


def a_cluster(name: str) -> Cluster:
    """One overlay or variant, to be changed as a test likes."""
    return Cluster(copy.deepcopy(list(_built(name))), name)
