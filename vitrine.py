"""Vitrine's command line: thin and lazy. It composes the packages; each command lives in its own.

Exit codes: 0 done, 1 failed (the message names the fix), 2 wrong usage, 130 stopped by Ctrl-C.
"""

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
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
    is_audited: bool = False  # an operator's or merchandiser's action; see serving.audit

    @property
    def suffix(self) -> str:
        """What the names of its two functions end in."""
        return f"_{self.name}" if self.has_siblings else ""


def _command(
    module: str, name: str, summary: str, example: str, *, is_audited: bool = False
) -> Command:
    return Command(name, summary, module, example, has_siblings=True, is_audited=is_audited)


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
        "vitrine recommend --user U0000042 -n 10 --explain",
    ),
    _command(
        "serving.command",
        "rerank",
        "put a list of your own in a shopper's order",
        "vitrine rerank --user U0000042 P000007 P000042 P000001",
    ),
    _command(
        "serving.command",
        "event",
        "log what a shopper did",
        "vitrine event click --user U0000042 --product P000007",
    ),
    Command(
        "ask",
        "a question about products, answered from their facts",
        "serving.ask_command",
        "vitrine ask 'a warm winter coat under 80' --user U0000042",
    ),
    Command(
        "price",
        "a price inside the limits, and why",
        "serving.price_command",
        "vitrine price P000007 --json",
    ),
    _command(
        "serving.describe_command",
        "describe",
        "a product's text: published, or newly written",
        "vitrine describe P000007 --json",
    ),
    _command(
        "serving.describe_command",
        "review",
        "texts that wait for a person; versions, roll back",
        "vitrine review list",
    ),
    Command(
        "data",
        "take a data set in, check a snapshot",
        "training.data.command",
        "vitrine data import online-retail FOLDER --out SNAPSHOT",
    ),
    Command(
        "train",
        "learn from a snapshot",
        "training.command",
        "vitrine train all --data SNAPSHOT --out MODEL",
    ),
    Command(
        "replay",
        "whether training sees what the models were sent",
        "training.replay_command",
        "vitrine replay --json",
    ),
    _command("export.command", "export", "models to a signed release", "vitrine export MODEL"),
    _command(
        "export.engine_command",
        "engines",
        "TensorRT engines of a release, for this GPU",
        "vitrine engines RELEASE --list",
    ),
    _command(
        "export.command",
        "promote",
        "make a release the active one",
        "vitrine promote RELEASE",
        is_audited=True,
    ),
    _command(
        "export.command",
        "rollback",
        "take the last promotion back",
        "vitrine rollback",
        is_audited=True,
    ),
    _command("export.command", "releases", "what can be served", "vitrine releases --json"),
    Command(
        "rules",
        "check a rule book, show the one in force",
        "serving.rules_command",
        "vitrine rules check rules.toml",
    ),
    Command(
        "token",
        "who may call the door: create, list, revoke",
        "serving.token_command",
        "vitrine token create storefront --scope shop --out storefront.token",
        is_audited=True,
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

    if command.is_audited:
        run = _audited(run, words)
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


def _audited(
    run: Callable[[argparse.Namespace], int], words: Sequence[str]
) -> Callable[[argparse.Namespace], int]:
    """The same, with a line in the audit log, whatever comes of it."""
    from serving.audit import AuditLog, this_user

    def run_and_note(arguments: argparse.Namespace) -> int:
        outcome = "stopped"
        try:
            code = int(run(arguments))
            outcome = "OK" if code == DONE else f"exit code {code}"
        except Exception as error:
            outcome = f"failed: {error}"
            raise
        finally:
            log = AuditLog(arguments.state_dir / "audit.jsonl")
            try:
                log.note(
                    this_user(os.environ.get("SUDO_USER")), f"vitrine {' '.join(words)}", outcome
                )
            except OSError as error:
                sys.stderr.write(f"vitrine: {outcome}, but not in the audit log: {error}\n")
        return code

    return run_and_note


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine up`, which lives here because it composes all packages."""
    parser.add_argument("--detach", action="store_true", help="return once it serves")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="learn from this data (Online Retail, REES46, sequences, a world or a snapshot);"
        " default: the built-in simulated world",
    )
    parser.add_argument(
        "--quick", action="store_true", help="small world, short training: to try out, not to ship"
    )
    parser.add_argument("--first-answer", action="store_true", help="show a list when it is up")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")
    parser.add_argument("--profile", choices=("cpu", "gpu"), default="cpu", help="default: cpu")


def run(arguments: argparse.Namespace) -> int:
    """Brings the local stack up; returns when it was told to stop, or, detached, when it serves."""
    from serving.settings_reader import load_settings
    from serving.stack import up
    from serving.stack.folder import StateFolder
    from serving.stack.local import plan_local
    from serving.stack.profile import check_profile, faiss_has_gpu

    folder = StateFolder(arguments.state_dir.absolute())
    settings = load_settings(arguments.settings)
    on_gpu = arguments.profile == "gpu"
    check_profile(arguments.profile, settings, faiss_has_gpu=on_gpu and faiss_has_gpu())
    module = (sys.executable, "-m")
    prepared_file = folder.run / "prepared.json"
    prepare = [*module, "export.prepare", "--state-dir", str(folder.root)]
    prepare += ["--result", str(prepared_file), "--profile", arguments.profile]
    again = [*module, "vitrine", "up", "--state-dir", str(folder.root)]
    again += ["--profile", arguments.profile]
    for words in _passed_on(arguments):
        prepare += words
        again += words
    if arguments.settings:
        again += ["--settings", str(arguments.settings)]

    def backends(products: Path, ports: Mapping[str, int]) -> tuple[str, ...]:
        chosen = [word for name, port in ports.items() for word in (f"--{name}-port", str(port))]
        return (*module, "simulator.backends", "--products", str(products), *chosen)

    def first_answer(door: str, shopper: str) -> tuple[str, ...]:
        words = ("recommend", "--user", shopper, "-n", "10", "--address", door)
        return (*module, "vitrine", *words)

    composition = up.Composition(
        prepare=tuple(prepare),
        prepared_file=prepared_file,
        plan=lambda prepared: plan_local(folder, settings, arguments.settings, prepared, backends),
        again=tuple(again),
        first_answer=first_answer,
        profile=arguments.profile,
        # A variable that says otherwise has the last word.
        environment=({"VITRINE_GPU__INDEX": "gpu"} if on_gpu else {}) | dict(os.environ),
    )
    if arguments.detach:
        return up.bring_up_detached(folder, composition, first_answer=arguments.first_answer)
    return up.bring_up(folder, composition, first_answer=arguments.first_answer)


def _passed_on(arguments: argparse.Namespace) -> list[list[str]]:
    data = [["--data", str(arguments.data.absolute())]] if arguments.data else []
    return data + ([["--quick"]] if arguments.quick else [])


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
