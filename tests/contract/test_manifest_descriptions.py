"""The descriptions of the manifests, started for real: migration, application, tokens, figures."""

import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from k8s.checks.monitoring import descriptions_metrics
from loadtest.rehearsal.application import Described, Place, running
from serving.callers import Scope
from serving.proto import descriptions_pb2 as pb
from serving.proto import descriptions_pb2_grpc as rpc
from serving.stack.ports import LOOPBACK, free_port
from tests.contract.described_shop import a_token, a_writer, write_shop
from tests.contract.running_postgres import RunningPostgres, needs_postgres
from tests.design.built_manifests import a_cluster, needs_kubectl
from tests.unit.described_products import a_page

STARTS_WITHIN_S = 180.0


@pytest.fixture
def short_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="k8s-") as folder:
        yield Path(folder)


def _variables(place: Place, shop: Path, postgres: str, writer: str) -> dict[str, str]:
    """What this machine puts over the manifest's settings."""
    over = {
        "STATE_DIR": str(place.state_dir),
        "DOOR__HOST": LOOPBACK,
        "DOOR__CALLERS": "tokens",  # as on the pod's own address
        "DESCRIBE__PORT": str(place.port),
        "DESCRIBE__METRICS_PORT": str(place.metrics_port),
        "DESCRIBE__SNAPSHOT": str(shop),
        "DESCRIBE__SPECIFICATIONS": str(shop / "specifications.parquet"),
        "DESCRIBE__BRAND": str(shop / "brand.npz"),
        "DESCRIBE__POSTGRES": postgres,
        "WRITER__ADDRESS": writer,
    }
    return {f"VITRINE_{name}": value for name, value in over.items()}


def _is_serving(address: str) -> bool:
    """What kubelet's probe of the manifest asks, as it does by a connection of its own.

    One that is kept could be to Serve's own proxy: the head, here on the same machine, has the same
    port, and listens before the replica does.
    """
    asked = health_pb2.HealthCheckRequest(service="vitrine.v1.Descriptions")
    alone = (("grpc.use_local_subchannel_pool", 1),)
    try:
        with grpc.insecure_channel(address, alone) as channel:
            reply = health_pb2_grpc.HealthStub(channel).Check(asked, timeout=2)
    except grpc.RpcError:
        return False
    return bool(reply.status == health_pb2.HealthCheckResponse.SERVING)


def _becomes(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < until:
        if holds():
            return True
        time.sleep(0.1)
    return holds()


@needs_kubectl
@needs_postgres
def test_the_descriptions_of_the_manifest_serve_from_their_own_config(short_folder: Path) -> None:
    described = Described.of(a_cluster("cpu-local").objects, "vitrine-descriptions")
    place = Place(short_folder / "pod", free_port(), free_port())
    (place.state_dir / "keys").mkdir(parents=True)
    write_shop(short_folder / "shop")
    token = a_token(place.state_dir / "keys" / "callers.json", Scope.SHOP, Scope.MERCHANDISER)
    mine = (("authorization", f"Bearer {token}"),)
    with RunningPostgres() as postgres, a_writer(a_page().to_json()) as writer:
        over = _variables(place, short_folder / "shop", postgres.address, writer)
        _migrate(described, short_folder, over)
        with (
            running(described, place, over, f"texts.{time.time_ns()}") as process,
            ExitStack() as up,
        ):
            is_told = _becomes(lambda: _is_serving(place.address) or process.poll() is not None)
            assert is_told, _said(place)
            assert process.poll() is None, _said(place)
            channel = up.enter_context(grpc.insecure_channel(place.address))
            stub = rpc.DescriptionsStub(channel)
            ask = pb.GetDescriptionRequest(product_id="P1")
            with pytest.raises(grpc.RpcError) as stranger:
                stub.GetDescription(ask, timeout=10)
            assert stranger.value.code() is grpc.StatusCode.UNAUTHENTICATED
            wish = pb.GenerateDescriptionRequest(product_id="P1", actor="ada", seed=5)
            steps = list(stub.GenerateDescription(wish, timeout=60, metadata=mine))
            kept = steps[-1].finished
            assert kept.text.opening == a_page().opening
            if kept.state != pb.VERSION_PUBLISHED:  # as its readability, measured here, wants it
                decision = pb.ApproveRequest(version_id=kept.version_id, actor="ada")
                stub.Approve(decision, timeout=10, metadata=mine)
            shown = stub.GetDescription(ask, timeout=10, metadata=mine)
            assert shown.version.version_id == kept.version_id
            assert _becomes(lambda: "answers 1" in _page(place).replace(".0", ""))
            exported = {line.split("{")[0].split(" ")[0] for line in _page(place).splitlines()}
            assert descriptions_metrics() <= exported


def _migrate(described: Described, folder: Path, over: dict[str, str]) -> None:
    settings = folder / "settings.toml"
    settings.write_text(described.settings)
    command = [
        sys.executable,
        "-m",
        "serving.migrate",
        "--settings",
        str(settings),
        "--wait-s",
        "60",
    ]
    done = subprocess.run(
        command, env={**os.environ, **over}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "postgres store" in done.stdout


def _said(place: Place) -> str:
    logs = [place.state_dir / "cluster.log", place.state_dir / "logs" / "descriptions.jsonl"]
    return "\n".join(log.read_text()[-3000:] for log in logs if log.exists())


def _page(place: Place) -> str:
    with urllib.request.urlopen(place.metrics, timeout=5) as page:
        return str(page.read().decode())
