"""Commands about a stack that was started: `vitrine down` and `vitrine status`."""

import argparse
import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace

from rich.console import Console

from serving.rules_state import RulesState, rules_state_file
from serving.stack.admission_state import AdmissionState
from serving.stack.folder import StateFolder
from serving.stack.local import door_speaks_tls
from serving.stack.processes import marked, stop_all
from serving.stack.served import metrics_of, says_it_serves
from serving.stack.shards import shards_line, shards_shown
from serving.stack.showing import as_json, as_table, cached_lately, lost_lately
from shop.errors import VitrineError

_STOP_WITHIN_S = 30.0
_NOT_SERVING = 1


class StillRunning(VitrineError):
    """The supervisor did not end in time."""


def configure_down(parser: argparse.ArgumentParser) -> None:
    """`vitrine down` has no arguments of its own."""


def run_down(arguments: argparse.Namespace) -> int:
    """Stops the stack, waits, and makes sure that nothing is left."""
    folder = StateFolder(arguments.state_dir)
    supervisor = folder.holder()
    if supervisor is not None:
        os.kill(supervisor, signal.SIGTERM)
        _wait_until_unlocked(folder)
    left = marked(folder.name)
    killed = stop_all(left, within_s=8.0) if left else 0
    folder.forget_state()
    if supervisor is None and not left:
        sys.stdout.write("no stack was running here\n")
    else:
        extra = f", {killed} processes had to be killed" if killed else ""
        sys.stdout.write(f"the stack is down; none of its processes is left{extra}\n")
    return 0


def configure_status(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine status`."""
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run_status(arguments: argparse.Namespace) -> int:
    """Shows services, addresses, memory and what was lost lately; 0 only if the door serves."""
    from serving.client import VitrineClient  # gRPC takes a while to load: only where it is used

    folder = StateFolder(arguments.state_dir)
    state = replace(folder.running(), release=folder.active_release())
    with VitrineClient(state.door) as client:
        by_metrics = door_speaks_tls(folder)  # this command holds no certificate
        told = folder.metrics_address(rank=0)
        serves = says_it_serves(told) if by_metrics else client.is_serving()
    lost, cached = lost_lately(folder.logs), cached_lately(folder.logs)
    admission = AdmissionState.of(metrics_of(told))
    rules = RulesState.read(rules_state_file(folder.root))
    shards = shards_shown(folder, state)
    if arguments.json:
        found = as_json(state, serves=serves, lost=lost, cached=cached, rules=rules)
        found["admission"] = None if admission is None else asdict(admission)
        found["shards"] = [asdict(each) for each in shards]
        sys.stdout.write(json.dumps(found, indent=2) + "\n")
    else:
        shown = as_table(
            state, serves=serves, lost=lost, cached=cached, rules=rules, logs=folder.logs
        )
        full = () if admission is None else (admission.line(),)
        parts = (shards_line(shards, state.release),) if shards else ()
        Console().print(*shown, *full, *parts, sep="\n", soft_wrap=True)
    return 0 if serves else _NOT_SERVING


def _wait_until_unlocked(folder: StateFolder) -> None:
    until = time.monotonic() + _STOP_WITHIN_S
    while folder.is_locked():
        if time.monotonic() > until:
            raise StillRunning(
                f"the stack did not stop within {_STOP_WITHIN_S:.0f} s; see {folder.logs}"
            )
        time.sleep(0.05)
