"""A door that speaks TLS on a real Ray Serve: heard by who is signed for, and by nobody else."""

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import vitrine
from serving.async_client import AsyncVitrineClient
from serving.client import ClientTls, VitrineClient
from serving.settings import DoorSettings
from serving.stack.folder import StateFolder
from serving.stack.served import says_it_serves
from serving.tls import check_certificates
from shop.errors import DependencyError, SettingsRejected
from tests.contract.certificates import Authority

ROOT = Path(__file__).resolve().parents[2]
START_S = 60.0


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = Authority(folder)
    authority.sign("door")
    authority.sign("shop")
    strangers = folder / "strangers"
    strangers.mkdir()
    Authority(strangers).sign("shop")
    return folder


@pytest.fixture(scope="module")
def ports(certificates: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    state = tmp_path_factory.mktemp("door")
    words = ("tests.contract.twin_door", str(state), str(state / "ports"), str(certificates))
    with (state / "door.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=log, stderr=log)
    try:
        until = time.monotonic() + START_S
        while not (state / "ports").exists():
            assert process.poll() is None, (state / "door.log").read_text()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield json.loads((state / "ports").read_text()) | {"state": str(state)}
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def a_client(certificates: Path) -> ClientTls:
    shop = (certificates / "shop.pem", certificates / "shop.key")
    return ClientTls.of_files(certificates / "ca.pem", *shop)


def test_whoever_is_signed_for_is_answered(ports: dict[str, str], certificates: Path) -> None:
    async def from_asyncio() -> int:
        tls = a_client(certificates)
        async with AsyncVitrineClient(ports["door"], tls=tls) as client:
            return len((await client.recommend(placement="home")).items)

    with VitrineClient(ports["door"], tls=a_client(certificates)) as client:
        assert len(client.recommend(placement="home").items) == 20
        assert client.is_serving()
    assert asyncio.run(from_asyncio()) == 20


@pytest.mark.parametrize("how", ["plain", "unsigned", "signed by strangers", "distrustful"])
def test_whoever_is_not_is_not_heard(ports: dict[str, str], certificates: Path, how: str) -> None:
    ours = a_client(certificates)
    theirs = a_client(certificates / "strangers")
    tls = {
        "plain": None,
        "unsigned": ClientTls(ca=ours.ca),
        "signed by strangers": replace(theirs, ca=ours.ca),
        "distrustful": replace(ours, ca=theirs.ca),
    }[how]
    with VitrineClient(ports["door"], tls=tls, timeout_s=5.0, retries=False) as client:
        with pytest.raises(DependencyError):
            client.recommend(placement="home")
        assert not client.is_serving()


def test_health_is_in_the_metrics_for_who_holds_no_certificate(ports: dict[str, str]) -> None:
    told = StateFolder(Path(ports["state"])).metrics_address(rank=0)
    assert says_it_serves(told)
    assert not says_it_serves(told.with_name("nobody"))
    assert ports["tls"]


def test_the_command_line_speaks_tls(
    ports: dict[str, str], certificates: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["rerank", "p9", "p3", "--address", ports["door"], "--json"]
    files = [f"--tls-ca={certificates}/ca.pem", f"--tls-key={certificates}/shop.key"]
    files.append(f"--tls-certificate={certificates}/shop.pem")
    assert vitrine.main([*words, *files]) == vitrine.DONE
    assert json.loads(capsys.readouterr().out)["items"][0]["product_id"] == "p3"
    assert vitrine.main(words) == vitrine.FAILED
    assert "TLS" in capsys.readouterr().err
    assert vitrine.main([*words, "--tls-ca=none.pem"]) == vitrine.FAILED
    assert "none.pem" in capsys.readouterr().err


def test_certificates_that_do_not_work_stop_the_start(certificates: Path, tmp_path: Path) -> None:
    good = DoorSettings(
        tls_certificate=f"{certificates}/door.pem",
        tls_key=f"{certificates}/door.key",
        tls_client_ca=f"{certificates}/ca.pem",
    )
    check_certificates(good)
    check_certificates(DoorSettings())
    (tmp_path / "no.pem").write_text("no certificate")
    for name, file in (
        ("tls_certificate", "gone.pem"),
        ("tls_key", f"{certificates}/shop.key"),
        ("tls_client_ca", f"{tmp_path}/no.pem"),
    ):
        with pytest.raises(SettingsRejected, match=rf"door\.{name}"):
            check_certificates(replace(good, **{name: file}))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"tls_certificate": "c.pem"}, "tls_key"),
        ({"tls_key": "k.pem"}, "tls_key"),
        ({"tls_client_ca": "ca.pem"}, "tls_client_ca"),
        ({"tls_certificate": "c", "tls_key": "k", "kind": "haproxy"}, "tls_certificate"),
    ],
)
def test_half_of_a_pair_and_a_door_that_cannot_are_refused(
    settings: dict[str, str], name: str
) -> None:
    with pytest.raises(ValueError, match=f"^{name}: "):
        DoorSettings(**settings)
