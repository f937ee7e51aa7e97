"""HAProxy's own ports, as its configuration has them when it starts."""

import subprocess
from pathlib import Path

import pytest

from serving.haproxy_binds import write_program

CONFIGURATION = """frontend prometheus
    bind :12001
frontend door
    bind 127.0.0.1:9000 proto h2
    bind *:9001
listen stats
  bind *:12002
  bind :120021
"""


@pytest.mark.parametrize("words", [["-f", "CONFIG"], ["-db", "-f", "CONFIG", "-sf", "7"]])
def test_only_its_metrics_and_statistics_are_moved_to_the_loopback(
    tmp_path: Path, words: list[str]
) -> None:
    shown = tmp_path / "show configuration"
    shown.write_text('#!/bin/sh\necho "$@"\ncat "' + str(tmp_path / "cfg") + '"\n')
    shown.chmod(0o700)
    (tmp_path / "cfg").write_text(CONFIGURATION)
    program = write_program(str(tmp_path), ["12001", "12002"], real=str(shown))
    named = [str(tmp_path / "cfg") if word == "CONFIG" else word for word in words]
    for _ in range(2):  # Serve starts it again at every change
        answer = subprocess.run([program, *named], capture_output=True, text=True, check=True)
        said, _, found = answer.stdout.partition("\n")
        assert said == " ".join(named)
        assert found == CONFIGURATION.replace("bind :12001", "bind 127.0.0.1:12001").replace(
            "bind *:12002", "bind 127.0.0.1:12002"
        )
