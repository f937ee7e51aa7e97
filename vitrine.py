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
    """One command. `module` has CONFIGURE(parser) and RUN(arguments) -> exit code."""

    name: str
    summary: str
    module: str
    example: str
    has_siblings: bool = False  # in its module, whose functions then end in _NAME

    @property
    def suffix(self) -> str:
        """What the names of its two functions end in."""
        return f"_{self.name}" if self.has_siblings else ""


def _command(module: str, name: str, summary: str, example: str) -> Command:
    return Command(name, summary, module, example, has_siblings=True)


COMMANDS = (
    Command(
        "up",
        "start the local stack; learn first if there is no release",
        "vitrine",
        "vitrine up --detach",
    ),
    _command("serving.stack.command", "down", "stop it; nothing is left", "vitrine down"),
    _command(
        "serving.stack.command", "status", "services, addresses, memory", "vitrine status --json"
    ),
    _command(
        "serving.command",
        "recommend",
        "ask the door for a list",
        "vitrine recommend --user shopper-00042 -n 10 --explain",
    ),
    _command(
        "serving.command",
        "event",
        "log what a shopper did",
        "vitrine event click --user shopper-00042 --product p-00007",
    ),
    Command(
        "data",
        "take a data set in, check a snapshot",
        "training.data.command",
        "vitrine data import online-retail FOLDER --out SNAPSHOT",
    ),
    _command(
        "loadtest.command",
        "loadtest",
        "open-loop load with a verdict",
        "vitrine loadtest browse --rate 150 --duration 60 --report report",
    ),
    _command(
        "loadtest.benchmarks.command",
        "bench",
        "the benchmark suite",
        "vitrine bench pipeline --json",
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    arguments = _parser(words).parse_args(words)
    command = next(each for each in COMMANDS if each.name == arguments.command)
    run = getattr(importlib.import_module(command.module), f"run{command.suffix}")
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
        if command.name == asked:
            module = importlib.import_module(command.module)
            getattr(module, f"configure{command.suffix}")(sub)
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
