"""The manifests before programs that judge such things: checkov, promtool."""

import subprocess
from pathlib import Path

import pytest
import yaml

from k8s.checks.build import K8S, OVERLAYS, VARIANTS
from k8s.checks.monitoring import check_queries, promtool, rule_file
from k8s.checks.policy import check_dockerfiles, check_policy, checkov, exceptions
from tests.design.built_manifests import a_cluster, needs_kubectl

needs_checkov = pytest.mark.skipif(
    checkov() is None, reason="no checkov here: scripts/bootstrap.py --for-tests"
)
needs_promtool = pytest.mark.skipif(
    promtool() is None, reason="no promtool here: scripts/bootstrap.py --for-tests"
)
ALERTS = Path(__file__).with_name("alerts.test.yaml")


@needs_kubectl
@needs_checkov
@pytest.mark.parametrize("name", [*OVERLAYS, "postgres", "release-s3"])
def test_a_build_breaks_no_policy_without_a_reason(name: str) -> None:
    assert [str(finding) for finding in check_policy(a_cluster(name))] == []


@needs_kubectl
@needs_checkov
def test_a_policy_that_is_broken_is_found() -> None:
    cluster = a_cluster("cpu-local")
    redis = cluster.named("StatefulSet", "vitrine-redis")
    assert redis is not None
    redis["spec"]["template"]["spec"]["hostNetwork"] = True
    assert "CKV_K8S_19" in {finding.rule for finding in check_policy(cluster)}


@needs_checkov
def test_the_images_recipes_break_no_policy_without_a_reason() -> None:
    assert [str(finding) for finding in check_dockerfiles()] == []


def test_every_exception_has_a_reason() -> None:
    reasons = [reason for places in exceptions().values() for reason in places.values()]
    assert reasons
    assert all(len(reason.split()) > 4 for reason in reasons)


@needs_kubectl
@needs_promtool
@pytest.mark.parametrize("name", [*OVERLAYS, *VARIANTS])
def test_prometheus_can_read_every_query(name: str) -> None:
    assert [str(finding) for finding in check_queries(a_cluster(name))] == []


@needs_kubectl
@needs_promtool
def test_a_query_that_prometheus_cannot_read_is_found() -> None:
    cluster = a_cluster("multi-gpu")
    (rules,) = cluster.of("PrometheusRule")
    rules["spec"]["groups"][0]["rules"][0]["expr"] = "sum(vitrine_serving"
    assert [finding.rule for finding in check_queries(cluster)] == ["query"]


@needs_promtool
def test_alerts_call_somebody_when_they_should(tmp_path: Path) -> None:
    rule_file(tmp_path)
    (tmp_path / ALERTS.name).write_text(ALERTS.read_text())
    done = _promtool("test", "rules", str(tmp_path / ALERTS.name))
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_its_own_test() -> None:
    spec = yaml.safe_load((K8S / "monitoring" / "alerts.yaml").read_text())["spec"]
    alerts = {rule["alert"] for group in spec["groups"] for rule in group["rules"]}
    tested = {each["name"] for each in yaml.safe_load(ALERTS.read_text())["tests"]}
    assert tested == alerts | {"a quiet shop calls nobody"}


@needs_promtool
def test_an_alert_that_never_calls_fails_its_test(tmp_path: Path) -> None:
    file = rule_file(tmp_path)
    file.write_text(file.read_text().replace("== 0 or absent", "< 0 or absent"))
    (tmp_path / ALERTS.name).write_text(ALERTS.read_text())
    assert _promtool("test", "rules", str(tmp_path / ALERTS.name)).returncode != 0


def _promtool(*words: str) -> subprocess.CompletedProcess[str]:
    program = promtool()
    assert program is not None
    return subprocess.run([program, *words], capture_output=True, text=True, check=False)
