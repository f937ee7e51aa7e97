"""Writer: tokens a second through our stack, against bare vLLM with the same model and settings.

Two models: one of 500 million parameters with random weights, whose arithmetic is most of the
work, and the small one, where everything around it shows. Eight texts at a time, streamed through
Ray Serve and gRPC by us, written in one go by bare vLLM. Rounds alternate; the ratio is the median
of the rounds' own.
"""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from loadtest.benchmarks.bare_writer import READY
from loadtest.benchmarks.result import Grid, Result, at_least
from loadtest.benchmarks.stack import BenchmarkFailed
from serving.adapters.writer_service import WriterService
from serving.describe.ports import WritingRequest
from serving.stack.ports import LOOPBACK, free_port
from serving.writer_settings import WriterSettings
from shop.descriptions.facts import Facts
from shop.descriptions.prompts import ANSWER_SCHEMA, SYSTEM, page_prompt
from training.texts.inventions import invent_attributes, invent_name

ROUNDS = 7
TEXTS = 8
LARGE_LIMIT, SMALL_LIMIT = 0.95, 0.6
_READY_WITHIN_S = 300.0
_PLANS = (("large", 48, LARGE_LIMIT), ("small", 200, SMALL_LIMIT))  # model, tokens, least ratio


def measure(state_dir: Path, images: Path) -> Result:
    """Ratios and rates for both models. Raises BenchmarkFailed if a writer does not come up."""
    rows, checks = [], []
    figures: dict[str, Any] = {}
    for name, tokens, limit in _PLANS:
        with tempfile.TemporaryDirectory(prefix="vitrine-writer-") as folder:
            _write_model(name, state_dir, Path(folder) / "model")
            rounds = _rounds(Path(folder), tokens)
        ratio = statistics.median(ours / bare for ours, bare in rounds)
        ours, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
        figures |= {
            f"{name}_tokens_per_s": round(ours, 1),
            f"{name}_bare_tokens_per_s": round(bare, 1),
            f"{name}_ratio": round(ratio, 3),
        }
        checks.append(at_least(f"{name} model, ours against bare vLLM", ratio, limit, " ×"))
        spread = sorted(ours / bare for ours, bare in rounds)
        between = f"{spread[0]:.2f} to {spread[-1]:.2f}"
        rows.append((name, f"{ours:.0f}", f"{bare:.0f}", f"{ratio:.2f}", between))
    header = ("model", "ours, tokens/s", "bare, tokens/s", "ratio", "rounds")
    return Result(
        name="writer",
        figures=figures,
        checks=tuple(checks),
        grids=(Grid(f"{TEXTS} texts at a time", header, tuple(rows)),),
        notes=(
            "Large: 500 million parameters, random weights. Small: the trained description model,"
            " or one of its shape with random weights where none was trained.",
        ),
    )


def _rounds(folder: Path, tokens: int) -> list[tuple[float, float]]:
    """Tokens a second of ours and of bare vLLM, by round; a first round of each warms up."""
    settings = WriterSettings(
        address=f"{LOOPBACK}:{free_port()}",
        model_dir=folder / "model",
        max_tokens=tokens,
        texts_at_once=TEXTS,
        max_adapters=0,
        niceness=0,
    )
    rng = np.random.default_rng(1)
    rates = []
    with _bare(settings) as bare, _ours(settings, folder):
        for _ in range(ROUNDS + 1):
            prompts = [_prompt(rng) for _ in range(TEXTS)]
            rates.append((asyncio.run(_rate_of_ours(settings, prompts)), _rate_of(bare, prompts)))
    return rates[1:]


async def _rate_of_ours(settings: WriterSettings, prompts: Sequence[str]) -> float:
    service = WriterService(settings.address, settings.deadline_s)

    async def tokens_of(seed: int, prompt: str) -> int:
        asked = WritingRequest(SYSTEM, prompt, ANSWER_SCHEMA, settings.max_tokens, seed, 1.0, None)
        tokens = 0
        async for piece in service.write(asked):
            tokens = piece.tokens
        return tokens

    try:
        await service.look()
        began = time.perf_counter()
        written = await asyncio.gather(*(tokens_of(s, p) for s, p in enumerate(prompts)))
        return sum(written) / (time.perf_counter() - began)
    finally:
        await service.close()


def _rate_of(bare: "subprocess.Popen[str]", prompts: Sequence[str]) -> float:
    told = _answer(bare, json.dumps(list(prompts)))
    return float(told["tokens"]) / float(told["seconds"])


def _answer(bare: "subprocess.Popen[str]", line: str) -> dict[str, float]:
    if bare.stdin is None or bare.stdout is None:
        raise BenchmarkFailed("bare vLLM cannot be spoken to")
    bare.stdin.write(line + "\n")
    bare.stdin.flush()
    answer = bare.stdout.readline()
    if not answer:
        raise BenchmarkFailed("bare vLLM ended before it answered; see above")
    told: dict[str, float] = json.loads(answer)
    return told


@contextmanager
def _bare(settings: WriterSettings) -> Iterator["subprocess.Popen[str]"]:
    plain = {name: str(v) if isinstance(v, Path) else v for name, v in asdict(settings).items()}
    argv = (sys.executable, "-m", "loadtest.benchmarks.bare_writer", json.dumps(plain))
    process = subprocess.Popen(
        (*argv, str(settings.model_dir)), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        if process.stdout is None or process.stdout.readline().strip() != READY:
            raise BenchmarkFailed("bare vLLM did not start; see above")
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def _ours(settings: WriterSettings, folder: Path) -> Iterator[None]:
    """The writer's application, as `vitrine up` starts it."""
    ports = folder / "ports.json"
    variables = {f"VITRINE_WRITER__{n.upper()}": str(v) for n, v in asdict(settings).items()}
    process = subprocess.Popen(
        (sys.executable, "-m", "serving.writer_app", "--ports-file", str(ports)),
        env=os.environ | variables | {"VITRINE_STATE_DIR": str(folder)},
        stdout=sys.stderr,
    )
    try:
        until = time.monotonic() + _READY_WITHIN_S
        while not ports.exists():
            if process.poll() is not None or time.monotonic() > until:
                raise BenchmarkFailed("the writer did not come up; see above")
            time.sleep(0.2)
        yield
    finally:
        process.terminate()
        process.wait()


def _prompt(rng: np.random.Generator) -> str:
    attributes = tuple(invent_attributes(10, rng))
    return page_prompt(Facts("P1", invent_name(rng), "shelves", "Halden", attributes)).text


def _write_model(name: str, state_dir: Path, folder: Path) -> None:
    """In a process of its own, whose memory is free afterwards."""
    trained = state_dir / WriterSettings().model_dir
    if name == "small" and (trained / "config.json").exists():
        folder.symlink_to(trained.absolute(), target_is_directory=True)
        return
    argv = (sys.executable, "-m", "loadtest.benchmarks.random_describer", name, str(folder))
    subprocess.run(argv, check=True)
