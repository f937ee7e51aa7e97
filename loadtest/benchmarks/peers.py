"""Peers: the product beside what a team would build instead, on the same models and index."""

import asyncio
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from loadtest.audience import audience_of
from loadtest.benchmarks.result import Check, Grid, Result, at_least
from loadtest.benchmarks.stack import BenchmarkFailed, a_stack
from loadtest.doors import GrpcDoor
from loadtest.peers.contest import P99_MS, Contestant, Turn, equal_to_truth, rounds, warm
from loadtest.peers.contestants import PEERS, PEERS_PYTHON, running
from loadtest.peers.task import shopper_name, truth, write_task
from loadtest.traffic import SCENARIOS, make_calls

ROUNDS = 7
OURS = "vitrine"
_CORES = 2  # processes a peer may have: one a core
_EQUAL = 50  # lists compared one by one before anything is measured
_WARM_S = 5.0
_ASKED = {"ray-serve": 2.5, "litserve": 1.5, "bentoml": 1.5, "kserve": 1.5, "fastapi": 1.0}


def measure(
    state_dir: Path, images: Path, *, rounds_wanted: int = ROUNDS, names: Sequence[str] = ()
) -> Result:
    """Highest rate within the limit, p50 of one in flight and CPU of a call, by contestant."""
    if not PEERS_PYTHON.exists():
        raise BenchmarkFailed(
            "the peers have no environment here; `python3 scripts/bootstrap.py --peers` makes it"
        )
    chosen = [PEERS[name] for name in names or PEERS]
    with tempfile.TemporaryDirectory(prefix="vitrine-peers-") as scratch, ExitStack() as stack:
        folder = Path(scratch)
        write_task(state_dir, folder)
        shoppers = [shopper_name(number) for number in range(_EQUAL)]
        expected = truth(folder, shoppers)
        contestants = []
        for peer in chosen:
            address, pid = stack.enter_context(running(peer, folder, _CORES))
            calls = [peer.call(shopper) for shopper in shoppers]
            one = Contestant(peer.name, address, peer.door, calls, [pid])
            differs = asyncio.run(equal_to_truth(one, shoppers, calls, expected))
            if differs:
                said = (folder / f"{peer.name}.log").read_text(errors="replace")[-2_000:]
                raise BenchmarkFailed(f"{peer.name} is not comparable: {differs}\n{said}")
            contestants.append(one)
        contestants.append(_ourselves(state_dir, stack))
        for contestant in contestants:
            warm(contestant, _WARM_S)
        quiet, void = rounds(contestants, rounds_wanted)
    names = [contestant.name for contestant in contestants]
    judged = quiet or void  # shown in any case; where none was quiet, the first check fails
    turns = [turn for each in judged for turn in each]
    heard = Check(
        "rounds on a quiet machine",
        f"≥ {rounds_wanted}",
        f"{len(quiet)}, and {len(void)} void",
        len(quiet) >= rounds_wanted,
    )
    return _result(turns, heard, names, void_rounds=len(void))


def _ourselves(state_dir: Path, stack: ExitStack) -> Contestant:
    ours = stack.enter_context(a_stack(state_dir))
    rng = np.random.default_rng(21)
    calls = make_calls(SCENARIOS["browse"], audience_of(state_dir), 2_000, rng)
    quiet = [call for call in calls if not call.clicks]  # no peer logs events
    pids = [service.pid for service in ours.services if service.pid is not None]
    return Contestant(OURS, ours.door, GrpcDoor, quiet, pids)


def _result(turns: list[Turn], heard: Check, names: list[str], *, void_rounds: int) -> Result:
    by_round = {name: {turn.round: turn for turn in turns if turn.name == name} for name in names}
    ours = by_round[OURS]
    figures: dict[str, float | int] = {"rounds": len(ours), "void_rounds": void_rounds}
    rows = []
    ratios = {}
    for name in names:
        theirs = by_round[name]
        rate, p50, cpu = (
            float(np.median([getattr(turn, what) for turn in theirs.values()]))
            for what in ("best_rate_per_s", "p50_ms", "cpu_ms")
        )
        ratio = [
            ours[number].best_rate_per_s / max(turn.best_rate_per_s, 1e-9)
            for number, turn in theirs.items()
        ]
        ratios[name] = float(np.median(ratio))
        key = name.replace("-", "_")
        figures |= {
            f"{key}_rate_per_s": round(rate, 1),
            f"{key}_p50_ms": round(p50, 3),
            f"{key}_cpu_ms": round(cpu, 3),
            f"{key}_ratio": round(ratios[name], 3),
            f"{key}_ratio_low": round(min(ratio), 3),
            f"{key}_ratio_high": round(max(ratio), 3),
        }
        rows.append(
            (
                name,
                f"{rate:.0f}/s",
                f"{p50:.2f} ms",
                f"{cpu:.2f} ms",
                f"{ratios[name]:.2f} ({min(ratio):.2f} – {max(ratio):.2f})",
            )
        )
    header = ("", f"highest rate, p99 ≤ {P99_MS:g} ms", "p50, one in flight", "CPU a call")
    return Result(
        name="peers",
        figures=figures,
        checks=(
            heard,
            *(
                at_least(f"our rate against {name}'s", ratios[name], asked, " ×")
                for name, asked in _ASKED.items()
                if name in ratios
            ),
        ),
        grids=(
            Grid(
                f"Medians of {len(ours)} interleaved rounds",
                (*header, "our rate / its rate (lowest – highest)"),
                tuple(rows),
            ),
        ),
        notes=(
            f"Peers hold the release's own ONNX files and index, by their SHA-256, on {_CORES}"
            f" processes of one thread a model, and answered {_EQUAL} shoppers with exactly the"
            " same products before anything was measured. They run the models and nothing else:"
            " no history store, live offers, rules, filters, exploration or log, all of which are"
            " in our figure. CPU a call is of the server's processes at 40 calls/s, so it holds"
            " what they do while they wait.",
        ),
    )
