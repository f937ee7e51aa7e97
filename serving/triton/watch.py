"""Watch: tells over HTTP whether the Triton beside it really answers, judged by canaries.

    python -m serving.triton.watch --triton 127.0.0.1:8001 --port 8003

For a Triton that somebody else starts and ends, a pod's: Triton's own readiness stays good while a
model's process is dead. `/ready` and `/live` answer 200 or 503 with the reason, `/metrics` the same
for Prometheus. Where the supervisor of `serving.triton.server` runs, nobody needs this.
"""

import argparse
import asyncio
import logging
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from serving.logging_setup import log_to_stderr
from serving.triton.canary import Canary, Verdict, make_canary
from serving.triton.supervisor import CLIENT_ARGUMENTS
from shop.tensors import MODELS

_log = logging.getLogger(__name__)

_ROUND_S = 1.0
_TIMEOUT_S = 1.5  # of one canary, as the supervisor's
# A busy server answers late, and taking it away makes the others busier: only long silence counts.
_SLOW_FOR_S = 12.0
_DEAD_AFTER_S = 45.0  # without one sound round, though there was one before
_REQUEST_S = 2.0

Key = tuple[str, int]  # model, version


@dataclass(slots=True)
class Findings:
    """What the rounds so far have shown."""

    clock: Callable[[], float] = time.monotonic
    faults: dict[Key, str] = field(default_factory=dict)  # "" where it answers
    reason: str = "no canary has been answered yet"  # "": sound
    sound_s: float = -math.inf  # when the last sound round was
    slow_since_s: dict[Key, float] = field(default_factory=dict)

    def judge(self, found: dict[Key, str]) -> None:
        """One round's outcome: every version that Triton calls ready, with its fault or ""."""
        self.faults = found
        faults = [f"{model} {version}: {fault}" for (model, version), fault in found.items()]
        missing = sorted(set(MODELS) - {model for model, _ in found})
        self.reason = "; ".join(
            [f"{model} is not loaded" for model in missing]
            + [text for text in faults if not text.endswith(": ")]
        )
        if not self.reason:
            self.sound_s = self.clock()

    def slow(self, key: Key) -> str:
        """The fault of a version that did not answer in time; "" while that may be load."""
        since = self.slow_since_s.setdefault(key, self.clock())
        waited = self.clock() - since
        return f"has answered nobody for {waited:.0f} s" if waited > _SLOW_FOR_S else ""

    @property
    def death(self) -> str:
        """Why only a new server helps; "" otherwise, and before the first sound round."""
        silent = self.clock() - self.sound_s
        if math.isinf(silent) or silent <= _DEAD_AFTER_S:
            return ""
        return f"not sound for {silent:.0f} s: {self.reason}"

    def metrics(self) -> str:
        """For Prometheus."""
        lines = [
            "# HELP vitrine_canary_sound 1: this version answers inferences as it should.",
            "# TYPE vitrine_canary_sound gauge",
        ]
        for (model, version), fault in sorted(self.faults.items()):
            labels = f'{{model="{model}",version="{version}"}}'
            lines.append(f"vitrine_canary_sound{labels} {0 if fault else 1}")
        return "\n".join(lines) + "\n"


class Watcher:
    """Asks one Triton, again and again."""

    def __init__(self, address: str, findings: Findings) -> None:
        self._client = triton.InferenceServerClient(address, channel_args=list(CLIENT_ARGUMENTS))
        self._findings = findings
        self._canaries: dict[Key, Canary] = {}

    async def run(self) -> None:
        """Rounds without end."""
        while True:
            before = self._findings.reason
            self._findings.judge(await self._round())
            if self._findings.reason != before:
                _log.info("%s", self._findings.reason or "every model answers")
            await asyncio.sleep(_ROUND_S)

    async def _round(self) -> dict[Key, str]:
        try:
            keys = await self._loaded()
        except InferenceServerException as error:
            _log.debug("%s", error)
            return {}
        self._canaries = {key: self._canaries[key] for key in keys if key in self._canaries}
        faults = await asyncio.gather(*(self._fault(key) for key in keys))
        return dict(zip(keys, faults, strict=True))

    async def _loaded(self) -> list[Key]:
        answer = await self._client.get_model_repository_index(
            as_json=True, client_timeout=_TIMEOUT_S
        )
        return [
            (entry["name"], int(entry["version"]))
            for entry in answer.get("models", ())
            if entry.get("state") == "READY" and entry.get("version", "").isdigit()
        ]

    async def _fault(self, key: Key) -> str:
        try:
            if key not in self._canaries:
                self._canaries[key] = await make_canary(self._client, *key, _TIMEOUT_S)
            result = await self._canaries[key].sing(self._client, _TIMEOUT_S)
        except InferenceServerException as error:
            return str(error.message())
        if result.verdict is Verdict.SLOW:
            return self._findings.slow(key)
        self._findings.slow_since_s.pop(key, None)
        return result.reason


async def answer(
    findings: Findings, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """One HTTP request: `/ready`, `/live` or `/metrics`."""
    try:
        async with asyncio.timeout(_REQUEST_S):
            words = (await reader.readline()).decode(errors="replace").split()
            while (await reader.readline()).strip():
                pass
        path = words[1] if len(words) == 3 else ""
        writer.write(_page(findings, path))
        await writer.drain()
    except (TimeoutError, OSError, ValueError):
        return  # it went away, or speaks something else
    finally:
        writer.close()


def _page(findings: Findings, path: str) -> bytes:
    faults = {"/ready": findings.reason, "/live": findings.death, "/metrics": ""}
    fault = faults.get(path)
    status = "404 Not Found" if fault is None else "503 Service Unavailable" if fault else "200 OK"
    text = findings.metrics() if path == "/metrics" else f"{fault or 'sound'}\n"
    body = text.encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


async def watch(address: str, host: str, port: int) -> None:
    """Never returns."""
    findings = Findings()
    watcher = Watcher(address, findings)
    server = await asyncio.start_server(lambda r, w: answer(findings, r, w), host, port)
    async with server:
        await watcher.run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs until it is killed."""
    options = _parser().parse_args(arguments)
    log_to_stderr("info")
    asyncio.run(watch(options.triton, options.host, options.port))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.triton.watch", description="Tell whether a Triton really answers."
    )
    parser.add_argument("--triton", default="127.0.0.1:8001", help="its gRPC address")
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (loopback)")
    parser.add_argument("--port", type=int, default=8003, help="where to listen (8003)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
