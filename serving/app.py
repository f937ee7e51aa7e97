"""App: starts Ray Serve with the gateway, says where the door is, and leaves nothing behind.

    python -m serving.app [--settings FILE] [--ports-file PATH] [--die-with-parent]

The composition root of a machine: settings are read here and passed on as values. Serves until
SIGTERM or SIGINT. However it ends, and if its parent is killed, every process that Ray started ends
with it.
"""

import argparse
import contextlib
import ctypes
import dataclasses
import json
import logging
import os
import secrets
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from serving.adapters.key_files import read_key
from serving.adapters.release_files import current_release, read_release_manifest
from serving.caller_check import check_callers
from serving.client import VitrineClient
from serving.deployments import (
    APPLICATION,
    SERVICER_FUNCTIONS,
    DoorGateway,
    gateway_application,
    replica_resources,
    serve_environment,
)
from serving.gateway import Gateway
from serving.logging_setup import log_to_stderr
from serving.rulebooks import check_start
from serving.scratch import scratch_folder
from serving.settings import DoorSettings, Settings
from serving.settings_reader import load_settings
from serving.sharding import check_shards
from serving.stack.folder import StateFolder
from serving.stack.ports import free_port, is_free
from serving.stack.profile import visible_gpus
from serving.stack.served import says_it_serves
from serving.tls import check_certificates, with_absolute_files
from shop.errors import SettingsRejected, VitrineError

logger = logging.getLogger(__name__)

_PROJECT = Path(__file__).resolve().parents[1]
_PR_SET_PDEATHSIG = 1
_PARENT_CHECK_S = 0.5
_MEGABYTE = 1 << 20
_WARM_STEP_S = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 if it could not serve; the reason is on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = with_absolute_paths(load_settings(options.settings))
        log_to_stderr(settings.log_level)
        check_certificates(settings.door)
        check_callers(settings.door)
        check_shards(settings)
        _check_release(settings)
        check_start(settings)
        serve(
            settings,
            ports_file=options.ports_file,
            die_with_parent=options.die_with_parent,
        )
    except VitrineError as error:
        sys.stderr.write(f"door: {error}\n")
        return 1
    return 0


def serve(
    settings: Settings,
    *,
    ports_file: Path | None,
    die_with_parent: bool,
    gateway: type[Gateway] = DoorGateway,
) -> None:
    """Serves until told to stop. Raises SettingsRejected or GatewayFailed if it cannot.

    `gateway` is made with the settings; tests put twins behind the same door.
    """
    parent = os.getppid()
    if die_with_parent:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    settings = dataclasses.replace(settings, door=_with_free_ports(settings.door))
    settings = _with_descriptions_port(settings)
    try:
        with scratch_folder(os.environ) as scratch, running_ray(settings, scratch):
            _forget_last_run(settings)
            _deploy(gateway, settings)
            _wait_until_warm(settings)
            if ports_file is not None:
                _write_ports(ports_file, settings)
            logger.info("the door is open at %s", _door_address(settings))
            _deploy_descriptions(settings)
            wait_for_the_end_of(parent if die_with_parent else None)
    except KeyboardInterrupt:
        logger.info("stopped")


def _forget_last_run(settings: Settings) -> None:
    """What its replicas told each other: their metrics' addresses, the book they agreed upon."""
    settings.machine_rules_file.unlink(missing_ok=True)
    for told in StateFolder(settings.state_dir).run.glob("metrics-*"):
        told.unlink(missing_ok=True)


def _check_release(settings: Settings) -> None:
    """Says within a second what the gateway would say after Ray has started three times.

    Raises NotFound, ReleaseRejected or SettingsRejected. The files are left to the gateway.
    """
    folder = settings.releases_dir / current_release(settings.releases_dir)
    read_release_manifest(folder, read_key(settings.release_key_file))


def with_absolute_paths(settings: Settings) -> Settings:
    """Ray's workers run in folders of their own."""
    door = dataclasses.replace(
        with_absolute_files(settings.door),
        tokens_file=str(settings.callers_file.absolute()),
        audit_file=str(settings.audit_file.absolute()),
    )
    return dataclasses.replace(settings, state_dir=settings.state_dir.absolute(), door=door)


def _with_free_ports(door: DoorSettings) -> DoorSettings:
    """Ports that were left open are chosen; those that were named must be free."""
    for name, wanted in (("port", door.port), ("metrics_port", door.metrics_port)):
        if wanted and not is_free(wanted):
            raise SettingsRejected(f"door.{name} = {wanted}: something listens there already")
    return dataclasses.replace(
        door, port=door.port or free_port(), metrics_port=door.metrics_port or free_port()
    )


def _with_descriptions_port(settings: Settings) -> Settings:
    about = settings.describe
    if not about.is_on:
        return settings
    if about.port and not is_free(about.port):
        raise SettingsRejected(f"describe.port = {about.port}: something listens there already")
    return dataclasses.replace(
        settings, describe=dataclasses.replace(about, port=about.port or free_port())
    )


@contextlib.contextmanager
def running_ray(
    settings: Settings, scratch: str, servicers: Sequence[str] = tuple(SERVICER_FUNCTIONS)
) -> Iterator[None]:
    """Ray Serve for a door with these services, for as long as the context lasts."""
    free = [free_port() for _ in range(5)]
    os.environ.update(serve_environment(settings, scratch=scratch, free_ports=free))
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, (str(_PROJECT), os.environ.get("PYTHONPATH")))
    )
    import ray  # after its environment is set: it reads some of it when imported
    from ray import serve as ray_serve

    try:
        try:
            _start_ray(settings, scratch, servicers, http_port=free[4])
        except (RuntimeError, OSError, ray.exceptions.RayError) as error:
            raise GatewayFailed(f"Ray did not start: {_last_line(error)}") from error
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # Ray put its own there
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)  # stopping has begun, and is nearly over
        if ray.is_initialized():
            ray_serve.shutdown()  # type: ignore[no-untyped-call]
        ray.shutdown()


def _start_ray(
    settings: Settings, scratch: str, servicers: Sequence[str], *, http_port: int
) -> None:
    import ray
    from ray import serve as ray_serve
    from ray.serve.config import HTTPOptions, gRPCOptions

    if settings.ray.address:
        ray.init(address=settings.ray.address, namespace="vitrine", log_to_driver=False)
    else:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        ray.init(
            num_cpus=settings.door.replicas + 1,  # room for a replica that takes over
            num_gpus=len(visible_gpus()) if settings.gpu.index == "gpu" else 0,
            include_dashboard=False,
            object_store_memory=settings.ray.object_store_mb * _MEGABYTE,
            _node_ip_address="127.0.0.1",
            _temp_dir=scratch,
            namespace="vitrine",
            log_to_driver=False,
            logging_level=logging.WARNING,
        )
    by_haproxy = settings.door.kind == "haproxy"
    ray_serve.start(
        proxy_location="HeadOnly" if by_haproxy else "Disabled",
        # Without a host Serve starts no proxy and no HTTP server: nobody speaks HTTP here.
        http_options=HTTPOptions(host=settings.door.host, port=http_port)
        if by_haproxy
        else HTTPOptions(host=None),
        grpc_options=gRPCOptions(port=settings.door.port, grpc_servicer_functions=list(servicers)),
    )


def _last_line(error: BaseException) -> str:
    """Of a message that may hold a whole trace from another process."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else repr(error)


def _deploy(gateway: type[Gateway], settings: Settings) -> None:
    from ray import serve as ray_serve

    application = gateway_application(
        gateway, settings.door, settings, resources=replica_resources(settings)
    )
    try:
        ray_serve.run(application, name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        raise GatewayFailed(
            f"the gateway did not start; its log is {settings.logs_dir}/gateway-0.jsonl: {error}"
        ) from error


def _deploy_descriptions(settings: Settings) -> None:
    """Beside the open door, which never waits for them: what they lack is told in the log."""
    from ray import serve as ray_serve

    if not settings.describe.is_on:
        return
    # Only here: measuring texts takes libraries that the door's own process has no use for.
    from serving.descriptions_door import APPLICATION as DESCRIPTIONS
    from serving.descriptions_door import DescriptionsDoor, descriptions_application

    application = descriptions_application(DescriptionsDoor, settings)
    try:
        # Without a route HAProxy leaves it out: it has a port of its own.
        ray_serve.run(application, name=DESCRIPTIONS, route_prefix=None)
    except RuntimeError as error:
        logger.error("no descriptions; see %s/descriptions.jsonl: %s", settings.logs_dir, error)


class GatewayFailed(VitrineError):
    """Ray Serve could not start the gateway."""


def _wait_until_warm(settings: Settings) -> None:
    """Returns when the first good list was made, or after a while without: the door is open."""
    until = time.monotonic() + settings.door.warm_within_s
    with VitrineClient(_door_address(settings)) as client:
        # Who holds no certificate that the door's TLS accepts reads its metrics.
        told = StateFolder(settings.state_dir).metrics_address(rank=0)
        while not (says_it_serves(told) if settings.door.speaks_tls else client.is_serving()):
            if time.monotonic() > until:
                logger.warning("no list by both models yet; health stays NOT_SERVING until then")
                return
            time.sleep(_WARM_STEP_S)


def _door_address(settings: Settings) -> str:
    door = settings.door
    host = "127.0.0.1" if door.host == "0.0.0.0" else door.host
    return f"{host}:{door.port}"


def _write_ports(file: Path, settings: Settings) -> None:
    ports = {
        "pid": os.getpid(),
        "door": _door_address(settings),
        "descriptions": f"{settings.door.host}:{settings.describe.port}"
        if settings.describe.is_on
        else "",
        "tls": settings.door.speaks_tls,
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps(ports, indent=2) + "\n")
    os.replace(part, file)


def wait_for_the_end_of(parent: int | None) -> None:
    """Returns when the parent is gone; without one, only a signal ends the wait."""
    while parent is None or os.getppid() == parent:
        time.sleep(_PARENT_CHECK_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.app", description="The gRPC door of Vitrine, on Ray Serve."
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument(
        "--ports-file", type=Path, metavar="PATH", help="where to write the addresses, as JSON"
    )
    parser.add_argument(
        "--die-with-parent", action="store_true", help="stop when the process that started it ends"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
