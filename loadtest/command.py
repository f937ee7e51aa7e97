"""Commands of this package: `vitrine loadtest` and `vitrine bench`."""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from loadtest.arrivals import Arrivals, schedule
from loadtest.audience import audience_of
from loadtest.openloop import LoadPlan, run_apart
from loadtest.report import as_text, write_report
from loadtest.traffic import SCENARIOS, make_calls
from loadtest.verdict import Limits, faults_of, summary_of
from serving.command import add_address_argument, door_address

_TIMEOUT_S = 5.0  # the generator's patience; far above the limit, so that slow calls are seen


def configure_loadtest(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine loadtest`."""
    summaries = "; ".join(f"{s.name}: {s.summary}" for s in SCENARIOS.values())
    parser.add_argument("scenario", choices=sorted(SCENARIOS), help=summaries)
    parser.add_argument("--rate", type=_positive, default=150.0, help="calls a second, default 150")
    parser.add_argument("--duration", type=_positive, default=60.0, help="seconds, default 60")
    parser.add_argument(
        "--warm-up", type=_not_negative, default=5.0, help="unrecorded seconds before, default 5"
    )
    parser.add_argument("--arrivals", choices=[str(a) for a in Arrivals], default="poisson")
    parser.add_argument("--seed", type=int, default=1, help="of arrivals and traffic")
    parser.add_argument(
        "--p99-ms", type=_positive, default=100.0, help="the limit, from the intended send time"
    )
    parser.add_argument(
        "--errors", type=_share, default=0.0, help="share of calls that may fail, default 0"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write a page and the figures")
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object")
    add_address_argument(parser)


def run_loadtest(arguments: argparse.Namespace) -> int:
    """Sends the load and judges it: 0 within the limits, 1 not."""
    rng = np.random.default_rng(arguments.seed)
    at_s = schedule(
        Arrivals(arguments.arrivals),
        rate_per_s=arguments.rate,
        duration_s=arguments.duration + arguments.warm_up,
        rng=rng,
    )
    audience = audience_of(arguments.state_dir)
    calls = make_calls(SCENARIOS[arguments.scenario], audience, at_s.size, rng)
    plan = LoadPlan(door_address(arguments), at_s - arguments.warm_up, calls, _TIMEOUT_S)
    if not audience.shoppers:
        sys.stderr.write("no release here to draw shoppers from: all callers are new visitors\n")
    sys.stderr.write(f"{arguments.scenario}: {at_s.size} calls to {plan.address} …\n")
    log = run_apart(plan).result()
    limits = Limits(arguments.p99_ms, arguments.errors)
    summary = summary_of(log)
    faults = faults_of(summary, limits)
    if arguments.json:
        verdict = {"passed": not faults, "faults": faults}
        sys.stdout.write(json.dumps(verdict | summary.to_json(), indent=2) + "\n")
    else:
        sys.stdout.write(as_text(summary, limits, faults) + "\n")
    if arguments.report is not None:
        title = f"{arguments.scenario}, {arguments.rate:g}/s {arguments.arrivals}"
        page = write_report(
            arguments.report, title=title, log=log, summary=summary, limits=limits, faults=faults
        )
        sys.stderr.write(f"report: {page}\n")
    return 1 if faults else 0


def _positive(text: str) -> float:
    return _number(text, 0.0, None, "a number above 0")


def _not_negative(text: str) -> float:
    return _number(text, -1e-12, None, "0 or more")


def _share(text: str) -> float:
    return _number(text, -1e-12, 1.0, "a share from 0 to 1")


def _number(text: str, above: float, at_most: float | None, allowed: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no number; give {allowed}") from error
    if not value > above or (at_most is not None and value > at_most) or value == float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not allowed; give {allowed}")
    return value
