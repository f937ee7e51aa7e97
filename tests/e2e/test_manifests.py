"""What the manifests describe, started for real: their application, and a whole upgrade."""

import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from k8s.checks.monitoring import door_metrics
from loadtest.benchmarks.upgrade import rehearse, result_of
from loadtest.rehearsal.application import (
    Described,
    a_place,
    running,
    variables,
    wait_until_serving,
)
from serving.callers import Scope
from serving.client import VitrineClient, new_event
from shop.errors import Unauthenticated
from tests.contract.described_shop import a_token
from tests.contract.running_redis import RunningRedis, needs_redis
from tests.design.built_manifests import a_cluster, needs_kubectl
from tests.e2e.running_stack import RunningStack, eventually

pytestmark = needs_kubectl


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="k8s-") as folder:
        yield Path(folder)


# Told from the first price or question on.
OF_OTHER_CALLS = ("vitrine_price_", "vitrine_asked", "vitrine_answer_", "vitrine_sentences_")


@needs_redis
def test_the_application_of_the_manifest_serves_from_its_own_config(
    stack: RunningStack, short_folder: Path
) -> None:
    described = Described.of(a_cluster("cpu-local").objects)
    place = a_place(short_folder / "pod", stack.state_dir)
    token = a_token(short_folder / "callers.json", Scope.SHOP)
    with RunningRedis() as redis:
        over = variables(place, stack.state, redis_url=redis.url)
        over |= {
            "VITRINE_DOOR__CALLERS": "tokens",  # as on the pod's own address
            "VITRINE_DOOR__TOKENS_FILE": str(short_folder / "callers.json"),
        }
        with running(described, place, over, f"manifest.{time.time_ns()}") as process:
            wait_until_serving(place, process)
            with (
                VitrineClient(place.address, timeout_s=10.0) as stranger,
                pytest.raises(Unauthenticated),
            ):
                stranger.recommend(user_id=stack.known_shopper, placement="home")
            with VitrineClient(place.address, timeout_s=10.0, token=token) as shop:
                reply = shop.recommend(user_id=stack.known_shopper, placement="home")
                assert len(reply.items) > 0
                click = new_event(
                    "click",
                    user_id=stack.known_shopper,
                    product_id=reply.items[0].product_id,
                    attribution_token=reply.attribution_token,
                )
                assert shop.log_events([click]).accepted == 1
                assert shop.is_serving()
                assert eventually(
                    lambda: (
                        not shop.recommend(user_id=stack.known_shopper, placement="home").degraded
                    )
                )
            with urllib.request.urlopen(place.metrics, timeout=5) as page:
                exported = {
                    line.split(" ")[0].split("{")[0]
                    for line in page.read().decode().splitlines()
                    if not line.startswith("#")
                }
            # What the checks hold alerts and scalers against is what a door really tells.
            always = {name for name in door_metrics() if not name.startswith(OF_OTHER_CALLS)}
            assert {name for name in always if name not in exported} == set()


def test_an_upgrade_by_weight_fails_no_call(stack: RunningStack, short_folder: Path) -> None:
    described = Described.of(a_cluster("cpu-local").objects)
    course = rehearse(described, stack.state_dir, stack.state, short_folder, step_s=3.0)
    result = result_of(course)
    assert result.figures["failed"] == 0
    assert result.figures["calls"] > 500
    assert 0.2 < result.figures["share_at_half"] < 0.8
    assert [share for weight, share, _ in course.shares if weight in (0, 100)] == [0.0, 1.0]
