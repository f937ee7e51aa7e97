"""Shard app: one part of the index, in a process of its own.

    python -m serving.shard_app --number 0 [--settings FILE] [--listen HOST:PORT]
                                [--ready-file PATH]

How many shards there are is `index.shards` of the settings, the same for all of them and for the
gateways. It listens where `index.addresses` names it unless told otherwise, at once, and says that
it is ready when it has looked at the current release.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from serving.adapters.key_files import read_key
from serving.adapters.release_files import current_release
from serving.logging_setup import log_to_stderr
from serving.settings import Settings
from serving.settings_reader import load_settings
from serving.shard_service import ShardService
from shop.errors import NotFound, SettingsRejected, VitrineError

logger = logging.getLogger(__name__)

_STOP_WITHIN_S = 2
_KEEP_ALIVE_S = 3_600  # gateways keep their connections; ours close with the process


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 if it could not serve; the reason is on standard error."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        settings = load_settings(options.settings)
        log_to_stderr(settings.log_level)
        service, address = shard_of(settings, options.number, options.listen)
        server = server_of(service, address, options.ready_file)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve())
    except VitrineError as error:
        sys.stderr.write(f"shard: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass  # uvicorn has stopped in good order, and raises the signal again
    return 0


def shard_of(settings: Settings, number: int, listen: str = "") -> tuple[ShardService, str]:
    """The shard and where it listens. Raises SettingsRejected if there is no such shard."""
    about = settings.index
    if not 0 <= number < about.shards:
        raise SettingsRejected(f"--number {number}: index.shards is {about.shards}")
    address = listen or (about.addresses[number] if about.addresses else "")
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise SettingsRejected(
            f"--listen {address!r}: must be host:port, unless index.addresses says where"
        )
    key = read_key(settings.release_key_file)
    return ShardService(settings.releases_dir, key, number, about.shards), address


def server_of(
    service: ShardService, address: str, ready_file: Path | None = None
) -> uvicorn.Server:
    """Serves, on the quickest event loop there is, until told to stop."""
    host, _, port = address.rpartition(":")
    config = uvicorn.Config(
        service,
        host=host.strip("[]"),
        port=int(port),
        lifespan="off",
        ws="none",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )
    return _Holding(config, service, ready_file)


class _Holding(uvicorn.Server):
    """Looks at the current release once it listens, and says when it has."""

    def __init__(
        self, config: uvicorn.Config, service: ShardService, ready_file: Path | None
    ) -> None:
        super().__init__(config)
        self._service, self._ready_file = service, ready_file
        self._looking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Opens the port."""
        await super().startup(None)
        if self.started:
            self._looking = asyncio.create_task(self._hold_current())

    async def _hold_current(self) -> None:
        service = self._service
        try:
            await service.hold(current_release(service.releases_dir))
        except (NotFound, ValueError) as error:
            logger.warning("nothing to hold yet: %s", error)
        logger.info("shard %d of %d is ready", service.shard, service.shards)
        if self._ready_file is not None:
            self._ready_file.parent.mkdir(parents=True, exist_ok=True)
            part = self._ready_file.with_suffix(".part")
            part.write_text(json.dumps({"pid": os.getpid(), "port": self.config.port}) + "\n")
            os.replace(part, self._ready_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.shard_app", description="One part of Vitrine's index."
    )
    parser.add_argument("--number", type=int, required=True, metavar="N", help="from 0")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument(
        "--listen", default="", metavar="HOST:PORT", help="else as index.addresses says"
    )
    parser.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="written once it is ready, as JSON"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
