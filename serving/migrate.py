"""Migrate: brings the database of descriptions to this version's schema, before a door needs it.

    python -m serving.migrate [--settings FILE] [--wait-s S]

The door does the same at its start; in a cluster an init container does it first, and waits for a
database that is not there yet: Ray Serve gives up after three starts that fail. A second run finds
nothing to do, and runs at one time follow each other.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from serving.adapters.version_sql import SqlVersions
from serving.descriptions_service import open_database
from serving.settings import Settings
from serving.settings_reader import load_settings
from shop.errors import DependencyUnavailable, VitrineError

_STEP_S = 1.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 once the schema is there, 1 if it cannot be; the reason is on standard error."""
    options = _parser().parse_args(arguments)
    try:
        settings = load_settings(options.settings)
        patiently(lambda: migrate(settings), within_s=options.wait_s)
    except VitrineError as error:
        sys.stderr.write(f"migrate: {error}\n")
        return 1
    sys.stdout.write(f"the {settings.describe.store} store of descriptions is up to date\n")
    return 0


def migrate(settings: Settings) -> None:
    """Raises DependencyUnavailable if the database is away, or of a newer version."""
    with closing(open_database(settings)) as database:
        SqlVersions(database)


def patiently(work: Callable[[], None], *, within_s: float) -> None:
    """Again and again until it works. Raises what it raised last, once the time is over."""
    until = time.monotonic() + within_s
    while True:
        try:
            work()
            return
        except DependencyUnavailable as error:
            if time.monotonic() + _STEP_S > until:
                raise
            sys.stderr.write(f"migrate: {error}; asked again\n")
        time.sleep(_STEP_S)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.migrate", description="The schema of descriptions, up to date."
    )
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument(
        "--wait-s", type=float, default=0.0, metavar="S", help="for a database that is away"
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
