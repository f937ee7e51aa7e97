"""`python -m k8s.checks [OVERLAY]`: builds and checks; exit code 1 if anything is found."""

import sys

from k8s.checks.all_checks import check
from k8s.checks.build import OVERLAYS, VARIANTS, build_overlay, build_variant
from k8s.checks.cluster import Cluster
from k8s.checks.schemas import CRDS


def main() -> int:
    """0 without findings."""
    names = sys.argv[1:] or [*OVERLAYS, *VARIANTS]
    count = 0
    for name in names:
        objects = build_overlay(name) if name in OVERLAYS else build_variant(name)
        findings = check(Cluster(objects, name))
        count += len(findings)
        sys.stdout.write(f"{name}: {len(objects)} objects, {len(findings)} findings\n")
        sys.stdout.writelines(f"  {finding}\n" for finding in findings)
    if not CRDS.is_dir():
        sys.stdout.write(f"custom resources were not held to schemas: there is no {CRDS}\n")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
