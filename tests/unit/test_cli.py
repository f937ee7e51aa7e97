"""The command line: thin, lazy, and every error names its fix."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import vitrine

NAMES = [command.name for command in vitrine.COMMANDS]


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        vitrine.main(["--help"])
    assert ended.value.code == vitrine.DONE
    shown = capsys.readouterr().out
    assert all(name in shown for name in NAMES)
    assert "exit codes" in shown


@pytest.mark.parametrize("command", vitrine.COMMANDS, ids=NAMES)
def test_every_command_has_help_with_an_example_that_parses_as_its_own(
    command: vitrine.Command, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        vitrine.main([command.name, "--help"])
    assert ended.value.code == vitrine.DONE
    assert "example: vitrine " + command.name in " ".join(capsys.readouterr().out.split())
    words = shlex.split(command.example)
    assert words[0] == "vitrine"
    assert vitrine._parser(words[1:]).parse_args(words[1:]).command == command.name


def test_help_loads_nothing_heavy() -> None:
    program = (
        "import sys, vitrine\n"
        "try: vitrine.main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'grpc', 'ray', 'torch', 'rich', 'pyarrow', 'psutil'}\n"
        "raise SystemExit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


def test_running_commands_load_no_training_library() -> None:
    program = (
        "import sys, vitrine\n"
        "for name in ('up', 'down', 'status', 'recommend', 'event', 'promote', 'releases'):\n"
        "    try: vitrine.main([name, '--help'])\n"
        "    except SystemExit: pass\n"
        "raise SystemExit(', '.join({'ray', 'torch', 'faiss', 'onnx'} & set(sys.modules)) or 0)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["no-such-command"],
        ["recommend"],
        ["recommend", "--user", "u", "-n", "0"],
        ["recommend", "--user", "u", "-n", "501"],
        ["recommend", "--user", "u", "-n", "many"],
        ["recommend", "--user", "u", "--placement", "attic"],
        ["event", "kiss", "--user", "u", "--product", "p"],
        ["loadtest", "browse", "--rate", "-1"],
        ["loadtest", "browse", "--errors", "2"],
        ["bench", "no-such-benchmark"],
        ["up", "--profile", "tpu"],
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        vitrine.main(words)
    assert ended.value.code == vitrine.USAGE
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["status"],
        ["recommend", "--user", "u"],
        ["event", "click", "--user", "u", "--product", "p"],
        ["loadtest", "browse", "--duration", "1"],
    ],
)
def test_without_a_stack_the_message_names_the_way_to_one(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = vitrine.main([*words, "--state-dir", str(tmp_path)])
    assert code == vitrine.FAILED
    assert "start one with `vitrine up`" in capsys.readouterr().err


def test_a_door_that_nobody_opens_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    code = vitrine.main(["recommend", "--user", "u", "--address", "127.0.0.1:9"])
    assert code == vitrine.FAILED
    assert "nobody answers at 127.0.0.1:9" in capsys.readouterr().err


def test_down_without_a_stack_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert vitrine.main(["down", "--state-dir", str(tmp_path)]) == vitrine.DONE
    assert capsys.readouterr().out == "no stack was running here\n"
