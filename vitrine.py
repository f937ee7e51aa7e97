"""Vitrine's command line: thin and lazy. It composes the packages; each command lives in its own.

Exit codes: 0 done, 1 failed (the message names the fix), 2 wrong usage, 130 stopped by Ctrl-C.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

DONE, FAILED, USAGE, INTERRUPTED = 0, 1, 2, 130
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Command:
    """One command. Its module has `add_NAME_arguments(parser)` and `run_NAME(arguments) -> int`."""

    name: str
    summary: str
    module: str
    example: str


COMMANDS = (
    Command(
        "up",
        "start the local stack; learn first if there is no release",
        "vitrine_up",
        "vitrine up --detach",
    ),
    Command("down", "stop it; nothing is left", "serving.stack.command", "vitrine down"),
    Command(
        "status", "services, addresses, memory", "serving.stack.command", "vitrine status --json"
    ),
    Command(
        "recommend",
        "ask the door for a list",
        "serving.command",
        "vitrine recommend --user shopper-00042 -n 10 --explain",
    ),
    Command(
        "event",
        "log what a shopper did",
        "serving.command",
        "vitrine event click --user shopper-00042 --product p-00007",
    ),
    Command(
        "loadtest",
        "open-loop load with a verdict",
        "loadtest.command",
        "vitrine loadtest browse --rate 150 --duration 60 --report report",
    ),
    Command("bench", "the benchmark suite", "loadtest.command", "vitrine bench pipeline --json"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    run = getattr(importlib.import_module(arguments.module), f"run_{arguments.command}")
    from shop.errors import VitrineError

    try:
        return int(run(arguments))
    except VitrineError as error:
        sys.stderr.write(f"vitrine {arguments.command}: {error}\n")
        return FAILED
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # `vitrine … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def default_state_dir() -> Path:
    """`.vitrine` in the project, or in the working folder where Vitrine is installed as a wheel."""
    project = _HERE if (_HERE / "pyproject.toml").exists() else Path.cwd()
    return project / ".vitrine"


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands by name; only the one that is asked for is imported."""
    parser = argparse.ArgumentParser(
        prog="vitrine",
        description="The shop window that arranges itself for whoever looks in.",
        epilog="exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by Ctrl-C",
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    asked = next((word for word in words if not word.startswith("-")), None)
    for command in COMMANDS:
        sub = commands.add_parser(
            command.name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            epilog=f"example: {command.example}",
        )
        sub.set_defaults(module=command.module)
        if command.name == asked:
            module = importlib.import_module(command.module)
            getattr(module, f"add_{command.name}_arguments")(sub)
            sub.add_argument(
                "--state-dir",
                type=Path,
                default=default_state_dir(),
                metavar="DIR",
                help="state folder of the stack (default: .vitrine in the project)",
            )
    return parser


if __name__ == "__main__":
    sys.exit(main())
