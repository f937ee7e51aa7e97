"""What rounds of canaries say of a Triton that somebody else starts and ends."""

import asyncio

from serving.triton.watch import Findings, answer
from shop.tensors import MODELS

SOUND = {(model, 1): "" for model in MODELS}


class Clock:
    """A time that stands until it is moved."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_before_the_first_round_it_is_not_ready_and_not_dead() -> None:
    findings = Findings(Clock())
    assert findings.reason
    assert not findings.death


def test_it_is_ready_once_every_model_answers() -> None:
    findings = Findings(Clock())
    findings.judge(SOUND)
    assert findings.reason == ""


def test_a_model_that_is_not_loaded_is_named() -> None:
    findings = Findings(Clock())
    findings.judge({(MODELS[0], 1): ""})
    assert findings.reason == f"{MODELS[1]} is not loaded"


def test_one_broken_version_takes_it_out() -> None:
    findings = Findings(Clock())
    findings.judge(SOUND | {(MODELS[1], 2): "output is missing"})
    assert findings.reason == f"{MODELS[1]} 2: output is missing"


def test_a_slow_answer_counts_only_after_long_silence() -> None:
    clock = Clock()
    findings = Findings(clock)
    assert findings.slow((MODELS[0], 1)) == ""
    clock.now_s += 11.0
    assert findings.slow((MODELS[0], 1)) == ""
    clock.now_s += 2.0
    assert "answered nobody" in findings.slow((MODELS[0], 1))


def test_it_is_dead_only_if_it_was_sound_and_is_not_for_long() -> None:
    clock = Clock()
    findings = Findings(clock)
    findings.judge({})
    clock.now_s += 1_000.0
    assert not findings.death, "one that waits for its first release is not restarted"
    findings.judge(SOUND)
    findings.judge({})
    clock.now_s += 44.0
    assert not findings.death
    clock.now_s += 2.0
    assert "not loaded" in findings.death


def test_figures_tell_versions_apart() -> None:
    findings = Findings(Clock())
    findings.judge(SOUND | {(MODELS[1], 2): "broken"})
    lines = findings.metrics().splitlines()
    assert f'vitrine_canary_sound{{model="{MODELS[1]}",version="1"}} 1' in lines
    assert f'vitrine_canary_sound{{model="{MODELS[1]}",version="2"}} 0' in lines


def test_http_answers_by_path() -> None:
    findings = Findings(Clock())
    findings.judge({})

    async def ask(path: str) -> str:
        server = await asyncio.start_server(lambda r, w: answer(findings, r, w), "127.0.0.1", 0)
        async with server:
            reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
            writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            status = (await reader.readline()).decode()
            await reader.read()
            writer.close()
            return status

    async def all_of_them() -> list[str]:
        return [await ask(path) for path in ("/ready", "/live", "/metrics", "/else")]

    statuses = [status.split()[1] for status in asyncio.run(all_of_them())]
    assert statuses == ["503", "200", "200", "404"]
