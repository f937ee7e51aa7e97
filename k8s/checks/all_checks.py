"""All checks: everything that can be said of a build within seconds and without a cluster."""

from k8s.checks.cluster import Cluster, Finding
from k8s.checks.commands import check_commands
from k8s.checks.jobs import check_jobs
from k8s.checks.monitoring import check_monitoring
from k8s.checks.network import check_network
from k8s.checks.pods import check_pods
from k8s.checks.references import check_references
from k8s.checks.schemas import check_schemas
from k8s.checks.serving import check_serving
from k8s.checks.settings import check_settings

_CHECKS = (
    check_schemas,
    check_references,
    check_serving,
    check_settings,
    check_pods,
    check_network,
    check_monitoring,
    check_commands,
    check_jobs,
)


def check(cluster: Cluster) -> list[Finding]:
    """What is wrong, each said once. What only an operator's cluster knows is not judged."""
    findings: dict[str, Finding] = {}
    for each in _CHECKS:
        try:
            findings |= {str(finding): finding for finding in each(cluster)}
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            # A manifest so unlike one that a check trips over it; the schemas say where.
            found = Finding("unreadable", cluster.name, f"{each.__name__}: {error!r}")
            findings[str(found)] = found
    return list(findings.values())
