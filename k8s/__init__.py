"""Kubernetes: manifests, and what checks and draws them. Not a part of the wheel."""
