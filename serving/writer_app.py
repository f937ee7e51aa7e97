"""Writer app: vLLM on a Ray Serve application of its own, apart from the door's.

    python -m serving.writer_app [--settings FILE] [--ports-file PATH]

On one machine it has a Ray of its own, so that neither ever restarts with the other, and a lower
priority, so that lists go first. In a cluster (`ray.address`) it is one more application there.
"""

import argparse
import dataclasses
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from serving.adapters.vllm_engine import engine_environment
from serving.app import running_ray, wait_for_the_end_of, with_absolute_paths
from serving.logging_setup import log_to_stderr
from serving.scratch import scratch_folder
from serving.settings import DoorSettings, Settings
from serving.settings_reader import load_settings
from serving.stack.ports import is_free
from serving.writer_gateway import APPLICATION, SERVICER_FUNCTIONS, WriterGateway
from shop.errors import SettingsRejected, VitrineError

logger = logging.getLogger(__name__)

_DRAIN_S = 2.0
_SERVE_CALLS = 256  # the writer's own limit comes first; these include questions for its status


class WriterFailed(VitrineError):
    """Ray Serve could not start the writer."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 if it could not serve; the reason is on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = with_absolute_paths(load_settings(options.settings))
        log_to_stderr(settings.log_level)
        serve_writer(settings, ports_file=options.ports_file)
    except VitrineError as error:
        sys.stderr.write(f"writer: {error}\n")
        return 1
    return 0


def serve_writer(settings: Settings, *, ports_file: Path | None) -> None:
    """Serves until told to stop. Raises SettingsRejected or WriterFailed if it cannot."""
    if not is_free(settings.writer.port):
        raise SettingsRejected(
            f"writer.address = {settings.writer.address}: something listens there already"
        )
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    parent = os.getppid()
    os.nice(settings.writer.niceness)
    os.environ.update(engine_environment(settings.writer))
    as_door = dataclasses.replace(settings, door=_door(settings))
    try:
        with (
            scratch_folder(os.environ) as scratch,
            running_ray(as_door, scratch, SERVICER_FUNCTIONS),
        ):
            _deploy(settings)
            if ports_file is not None:
                _write_ports(ports_file, settings)
            logger.info("the writer listens at %s", settings.writer.address)
            wait_for_the_end_of(parent)
    except KeyboardInterrupt:
        logger.info("stopped")


def _door(settings: Settings) -> DoorSettings:
    """The writer's own: it speaks plainly, on the loopback or behind a cluster's mesh."""
    return DoorSettings(host=settings.writer.host, port=settings.writer.port, replicas=1)


def _deploy(settings: Settings) -> None:
    from ray import serve

    deployment: Any = serve.deployment(WriterGateway)
    application = deployment.options(
        name="writer",
        num_replicas=1,
        max_ongoing_requests=_SERVE_CALLS,
        max_queued_requests=_SERVE_CALLS,
        graceful_shutdown_timeout_s=_DRAIN_S,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=5.0,
        health_check_timeout_s=30.0,
        ray_actor_options={
            "num_cpus": 1,
            "num_gpus": 1 if settings.writer.device == "cuda" else 0,
            "runtime_env": {"env_vars": engine_environment(settings.writer)},
        },
        logging_config={"enable_access_log": False},
    ).bind(settings)
    try:
        serve.run(application, name=APPLICATION, route_prefix="/")
    except RuntimeError as error:
        raise WriterFailed(
            f"the writer did not start; its log is {settings.logs_dir}/writer.jsonl: {error}"
        ) from error


def _write_ports(file: Path, settings: Settings) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_suffix(".part")
    part.write_text(json.dumps({"pid": os.getpid(), "address": settings.writer.address}) + "\n")
    os.replace(part, file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.writer_app", description="The language model behind descriptions."
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument(
        "--ports-file", type=Path, metavar="PATH", help="written once it serves, as JSON"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
