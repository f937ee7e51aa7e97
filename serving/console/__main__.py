"""The console's process: `python -m serving.console [--settings FILE] [--ready-file PATH]`.

It has an event loop of its own, at a lower priority: a page that is slow to draw never delays a
recommendation. Serves until SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import uvicorn

from serving.adapters.key_files import read_or_create_key
from serving.console.access import Access
from serving.console.site import site, templates
from serving.console.stack import open_stack
from serving.console.visits import Desk
from serving.logging_setup import log_to_stderr
from serving.settings import Settings
from serving.settings_reader import load_settings
from serving.stack.ports import free_port, is_free
from shop.errors import SettingsRejected, VitrineError

logger = logging.getLogger(__name__)

_PATIENCE = 5  # added to the process's niceness: people wait a moment, shoppers do not
_MAX_CONNECTIONS = 200
_HOUR_S = 3_600.0
_STOP_WITHIN_S = 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 after a clean stop, 1 if it could not serve; the reason is on standard error."""
    options = _parser().parse_args(arguments)
    os.nice(_PATIENCE)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C does
    try:
        settings = load_settings(options.settings)
        log_to_stderr(settings.log_level)
        asyncio.run(serve(settings, options.ready_file, example_shopper=options.example_shopper))
    except VitrineError as error:
        sys.stderr.write(f"console: {error}\n")
        return 1
    except KeyboardInterrupt:
        pass  # uvicorn has stopped in good order, and raises the signal again
    return 0


async def serve(
    settings: Settings, ready_file: Path | None = None, *, example_shopper: str = ""
) -> None:
    """Serves until told to stop. Raises SettingsRejected if it cannot."""
    about = settings.console
    port = about.port or free_port()
    if not is_free(port):
        raise SettingsRejected(f"console.port = {port}: something listens there already")
    key = read_or_create_key(settings.console_key_file)
    async with open_stack(settings) as stack:
        desk = Desk(
            access=Access(key, about.session_hours * _HOUR_S, time.time),
            stack=stack,
            templates=templates(),
            cookie_name=f"vitrine_{port}",  # browsers share cookies between the ports of a host
            is_secure=about.behind_tls,
            example_shopper=example_shopper,
        )
        config = uvicorn.Config(
            site(desk, about.names),
            host=about.host,
            port=port,
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_graceful_shutdown=_STOP_WITHIN_S,
        )
        await _Telling(config, ready_file).serve()


class _Telling(uvicorn.Server):
    """Says that it listens once it does."""

    def __init__(self, config: uvicorn.Config, ready_file: Path | None) -> None:
        super().__init__(config)
        self._ready_file = ready_file

    async def startup(self, sockets: list[object] | None = None) -> None:  # type: ignore[override]
        """Opens the port, then writes the file."""
        await super().startup(None)
        if self.started and self._ready_file is not None:
            told = {"pid": os.getpid(), "host": self.config.host, "port": self.config.port}
            part = self._ready_file.with_suffix(".part")
            part.write_text(json.dumps(told) + "\n")
            os.replace(part, self._ready_file)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.console",
        description="The web page for merchandisers and operators.",
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument(
        "--ready-file", type=Path, metavar="PATH", help="written once it listens, as JSON"
    )
    parser.add_argument(
        "--example-shopper", default="", metavar="ID", help="whom the window view proposes"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
