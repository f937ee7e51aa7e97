"""Rehearsal: what a cluster would do, on one machine: the manifests' application, its upgrade."""
