"""The manifests of k8s/: built, held to schemas, and every name in them leads somewhere."""

import re

import pytest
import yaml

from k8s.checks.all_checks import check
from k8s.checks.build import K8S, OVERLAYS, ROOT, VARIANTS, unbuilt_components
from k8s.checks.schemas import CRDS, VERSIONS, core_schemas
from k8s.checks.secrets import known_secrets
from tests.design.built_manifests import a_cluster, needs_kubectl

pytestmark = needs_kubectl


@pytest.mark.parametrize("name", [*OVERLAYS, *VARIANTS])
def test_a_build_has_no_findings(name: str) -> None:
    assert [str(finding) for finding in check(a_cluster(name))] == []


def test_every_component_is_tried_somewhere() -> None:
    assert unbuilt_components() == set()


def test_custom_resources_are_held_to_their_own_schemas() -> None:
    if not CRDS.is_dir():
        pytest.skip(f"no custom resource definitions beside the project: {CRDS} is not there")
    kinds = {each["kind"] for name in OVERLAYS for each in a_cluster(name).objects}
    assert {"RayService", "ScaledObject", "GRPCRoute", "PodMonitor", "PrometheusRule"} <= kinds


def test_two_versions_of_kubernetes_are_known() -> None:
    assert all((core_schemas() / f"v{version}-local-strict").is_dir() for version in VERSIONS)


def test_the_overlays_differ_in_numbers_only_where_the_application_is_said_again() -> None:
    def shape(name: str, service: str) -> str:
        found = a_cluster(name).named("RayService", service)
        assert found is not None
        config = yaml.safe_load(found["spec"]["serveConfigV2"])
        for deployment in config["applications"][0]["deployments"]:
            deployment.pop("autoscaling_config", None)
            deployment.pop("num_replicas", None)
        return yaml.safe_dump(config)

    shapes = {shape(name, "vitrine") for name in OVERLAYS} | {shape("multi-gpu", "vitrine-canary")}
    assert len(shapes) == 1
    assert len({shape(name, "vitrine-descriptions") for name in OVERLAYS}) == 1


def test_every_secret_is_explained_to_operators() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    assert [name for name in known_secrets() if name not in page] == []


def test_every_overlay_has_its_diagram_as_built() -> None:
    from k8s.diagram import diagram

    for name in OVERLAYS:
        drawn = (ROOT / "docs" / "images" / f"k8s-{name}.svg").read_text()
        assert drawn == diagram(a_cluster(name)), f"{name}: run `python -m k8s.diagram`"


@pytest.mark.parametrize("name", sorted(each.name for each in (K8S / "images").iterdir()))
def test_an_image_is_pinned_by_argument_and_does_not_run_as_root(name: str) -> None:
    text = (K8S / "images" / name / "Dockerfile").read_text()
    bases = re.findall(r"^FROM (\S+)", text, flags=re.MULTILINE)
    stages = set(re.findall(r"^FROM \S+ AS ([\w-]+)", text, flags=re.MULTILINE))
    own = [base for base in bases if base not in stages and base != "scratch"]
    assert all(re.fullmatch(r"\$\{\w+\}", base) for base in own)
    last_stages = [
        each for each in re.split(r"^FROM ", text, flags=re.MULTILINE) if "\nCMD " in each
    ]
    for stage in last_stages or [text]:
        assert re.findall(r"^USER (\S+)", stage, flags=re.MULTILINE) == ["10001:10001"]
    copied = re.findall(r"^COPY (?!--)(.+) \S+$", text, flags=re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert [each for each in sources if not (ROOT / each).exists()] == []
