"""Command of this package: `vitrine loadtest`."""

import argparse
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, Shape, schedule
from loadtest.audience import lifelike_audience_of
from loadtest.call_log import CallLog
from loadtest.canary import Quiet, idle_p99_ms, p99_ms
from loadtest.comparison import as_text as compared
from loadtest.comparison import read_run, write_comparison
from loadtest.doors import GrpcDoor
from loadtest.locust_engine import LocustPlan, run_locust
from loadtest.openloop import LoadPlan, run_apart
from loadtest.patience import as_our_client
from loadtest.report import FAILED, PASSED, VOID, Report, as_text, write_report
from loadtest.slo import DEFAULT_SLO, read_limits
from loadtest.traffic import SCENARIOS
from loadtest.traffic import make_calls as made
from loadtest.verdict import Limits, summary_of
from serving.command import add_address_argument, door_address
from shop.errors import InvalidRequest

_TIMEOUT_S = 5.0  # the generator's patience; far above the limit, so that slow calls are seen
_BATCH_TIMEOUT_S = 30.0  # lists of a batch wait for calls of their own
_COMPARE = "compare"
_EXIT = {PASSED: 0, FAILED: 1, VOID: 3}
_EXAMPLES = """\
scenarios:
{scenarios}
  compare     two reports: vitrine loadtest compare REPORT_A REPORT_B

more examples:
  vitrine loadtest browse --shape step --rate 400 --duration 120 --report steps
  vitrine loadtest flash-sale --shape spike --rate 100 --peak 4
  vitrine loadtest browse --rate 3000 --processes 4 --address shop.internal:9000
  vitrine loadtest search --engine locust --workers 4
  vitrine loadtest compare before after --report difference
  locust -f loadtest/users/locustfile.py --host 127.0.0.1:9000     (with its web page)

A latency counts from the moment a call was meant to be sent. What is asked of a scenario stands in
loadtest/slo.toml; --slo names another file, --p99-ms and --errors go before both.

exit codes: 0 within the limits, 1 not, 2 wrong usage, 3 void: the machine was busy elsewhere
"""


def configure_loadtest(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine loadtest`."""
    names = [*SCENARIOS, _COMPARE]
    lines = "\n".join(f"  {s.name:11} {s.summary}" for s in SCENARIOS.values())
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = f"{parser.epilog}\n\n{_EXAMPLES.format(scenarios=lines)}"
    parser.add_argument("scenario", choices=names, metavar="SCENARIO", help="one of those below")
    parser.add_argument(
        "reports", nargs="*", type=Path, metavar="REPORT", help="two folders, for compare"
    )
    load = parser.add_argument_group("the load")
    load.add_argument(
        "--rate", type=_positive, help="calls a second, default 150 (email: 1, of 25 lists)"
    )
    load.add_argument("--duration", type=_positive, default=60.0, help="seconds, default 60")
    load.add_argument(
        "--warm-up", type=_not_negative, default=5.0, help="unrecorded seconds before, default 5"
    )
    load.add_argument(
        "--shape",
        choices=[str(shape) for shape in Shape],
        default="constant",
        help="how the rate moves: step (up to it in four), spike (the middle sixth at --peak), soak"
        " (long, gently begun), daily (24 hours in the duration, --rate their mean)",
    )
    load.add_argument("--peak", type=_positive, default=3.0, help="of a spike, times the rate")
    load.add_argument(
        "--arrivals",
        choices=[str(a) for a in Arrivals],
        default="poisson",
        help="how calls are spread around the rate, default poisson",
    )
    load.add_argument("--seed", type=int, default=1, help="of arrivals and traffic")
    sender = parser.add_argument_group("who sends it")
    sender.add_argument(
        "--engine",
        choices=["open-loop", "locust"],
        default="open-loop",
        help="open-loop: least work a call, times fixed beforehand; locust: its users and workers",
    )
    sender.add_argument(
        "--processes",
        type=_count,
        default=1,
        help="of the open-loop engine; one sends some 1,000/s",
    )
    sender.add_argument(
        "--ask-again",
        action="store_true",
        help="clients that were turned away ask once again, as serving.client does; open-loop only",
    )
    sender.add_argument("--workers", type=_count, default=1, help="locust processes, default 1")
    add_address_argument(parser)
    _configure_verdict(parser)


def _configure_verdict(parser: argparse.ArgumentParser) -> None:
    judged = parser.add_argument_group("the verdict")
    judged.add_argument("--slo", type=Path, default=DEFAULT_SLO, metavar="FILE", help="limits")
    judged.add_argument("--p99-ms", type=_positive, help="instead of the file's")
    judged.add_argument("--errors", type=_share, help="share of calls that may fail, likewise")
    judged.add_argument(
        "--no-canary", action="store_true", help="do not look whether this machine is quiet (2 s)"
    )
    judged.add_argument("--report", type=Path, metavar="DIR", help="write a page and the figures")
    judged.add_argument("--json", action="store_true", help="the summary as one JSON object")


def run_loadtest(arguments: argparse.Namespace) -> int:
    """Sends the load and judges it: 0 within the limits, 1 not, 3 void."""
    if arguments.scenario == _COMPARE:
        return _compare(arguments)
    if arguments.reports:
        raise InvalidRequest("REPORT", f"{arguments.reports[0]} is for compare; leave it out")
    if arguments.engine == "locust" and arguments.arrivals != str(Arrivals.POISSON):
        raise InvalidRequest("--arrivals", "locust's users are Poisson; leave it out")
    if arguments.engine == "locust" and arguments.ask_again:
        raise InvalidRequest("--ask-again", "locust's users do not; leave it out")
    arguments.rate = arguments.rate or SCENARIOS[arguments.scenario].rate_per_s
    limits = _limits(arguments)
    address = door_address(arguments)
    before = None if arguments.no_canary else (idle_p99_ms(), p99_ms())
    log = _sent(arguments, address)
    quiet = None if before is None else Quiet(*before, p99_ms())
    title = (
        f"{arguments.scenario}, {arguments.rate:g}/s {arguments.shape},"
        f" {arguments.duration:g} s by {_senders(arguments)}"
    )
    report = Report(title, log, summary_of(log), limits, quiet)
    if arguments.json:
        judged = {"passed": report.verdict == PASSED, "verdict": report.verdict}
        told = judged | {"faults": report.faults} | report.summary.to_json()
        sys.stdout.write(json.dumps(told, indent=2) + "\n")
    else:
        sys.stdout.write(as_text(report) + "\n")
    if arguments.report is not None:
        sys.stderr.write(f"report: {write_report(arguments.report, report)}\n")
    return _EXIT[report.verdict]


def _senders(arguments: argparse.Namespace) -> str:
    if arguments.engine == "locust":
        return f"{arguments.workers} locust workers"
    return f"{arguments.processes} open-loop processes"


def _limits(arguments: argparse.Namespace) -> Limits:
    limits = read_limits(arguments.slo, arguments.scenario, SCENARIOS)
    if arguments.p99_ms is not None:
        limits = replace(limits, p99_ms=arguments.p99_ms)
    if arguments.errors is not None:
        limits = replace(limits, error_share=arguments.errors)
    return limits


def _sent(arguments: argparse.Namespace, address: str) -> CallLog:
    scenario = SCENARIOS[arguments.scenario]
    timeout_s = _BATCH_TIMEOUT_S if scenario.batch else _TIMEOUT_S
    shape = Shape(arguments.shape)
    if arguments.engine == "locust":
        return run_locust(
            LocustPlan(
                arguments.scenario,
                address,
                arguments.state_dir,
                arguments.rate,
                arguments.duration,
                arguments.warm_up,
                shape,
                arguments.peak,
                arguments.seed,
                arguments.workers,
                timeout_s,
            )
        )
    rng = np.random.default_rng(arguments.seed)
    how = {"rate_per_s": arguments.rate, "rng": rng}
    at_s = schedule(
        Arrivals(arguments.arrivals),
        duration_s=arguments.duration,
        shape=shape,
        peak=arguments.peak,
        **how,
    )
    if arguments.warm_up > 0:  # at the rate, so that the shape is whole inside the record
        warm_s = schedule(Arrivals(arguments.arrivals), duration_s=arguments.warm_up, **how)
        at_s = np.concatenate([warm_s - arguments.warm_up, at_s])
    audience = lifelike_audience_of(arguments.state_dir)
    if not audience.shoppers:
        sys.stderr.write("no release here to draw shoppers from: all callers are new visitors\n")
    calls = made(scenario, audience, at_s.size, rng)
    sys.stderr.write(f"{arguments.scenario}: {at_s.size} calls to {address} …\n")
    door = as_our_client if arguments.ask_again else GrpcDoor
    plan = LoadPlan(address, at_s, calls, timeout_s, door=door)
    return run_apart(plan, arguments.processes).result()


def _compare(arguments: argparse.Namespace) -> int:
    """Two reports side by side; 0 unless they cannot be read."""
    if len(arguments.reports) != 2:
        raise InvalidRequest(
            "REPORT", f"{len(arguments.reports)} given, compare needs two folders: A and B"
        )
    before, after = (read_run(folder) for folder in arguments.reports)
    sys.stdout.write(compared(before, after) + "\n")
    if arguments.report is not None:
        page = write_comparison(arguments.report / "index.html", before, after)
        sys.stderr.write(f"report: {page}\n")
    return 0


def _positive(text: str) -> float:
    return _number(text, 0.0, None, "a number above 0")


def _not_negative(text: str) -> float:
    return _number(text, -1e-12, None, "0 or more")


def _share(text: str) -> float:
    return _number(text, -1e-12, 1.0, "a share from 0 to 1")


def _count(text: str) -> int:
    value = _number(text, 0.0, 64.0, "a whole number from 1 to 64")
    if value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is not allowed; give a whole number from 1 to 64")
    return int(value)


def _number(text: str, above: float, at_most: float | None, allowed: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; give {allowed}") from error
    if not value > above or (at_most is not None and value > at_most) or value == float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not allowed; give {allowed}")
    return value
