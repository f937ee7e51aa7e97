"""Checks of the manifests, all without a cluster: `python -m k8s.checks` runs the quick ones."""
