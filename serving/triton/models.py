"""Models: keeps what one running server has loaded equal to the repository, and working.

Triton reloads exactly the versions whose files look newer, in a fraction of a second and without
touching the others. So a version is replaced by touching its model file and asking for a load; an
unload first, as often advised, would take the healthy versions away too.
"""

import asyncio
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from serving.triton.canary import Canary, CanaryResult, Verdict, make_canary
from serving.triton.process import ServerProcess
from serving.triton.repository import MODEL, InstalledVersion, installed_versions, release_of
from serving.triton.status import ModelStatus
from shop.errors import DependencyUnavailable, ReleaseRejected
from shop.tensors import MODELS

_CANARY_TIMEOUT_S = 1.5
_ADMIN_TIMEOUT_S = 2.0
_LOAD_TIMEOUT_S = 45.0  # a stub that does not start within 30 s fails by itself
_SLOW_LIMIT = 1  # canaries after the first slow one, nobody having been answered between
_RETRY_S = (
    1.0,
    2.0,
    5.0,
    15.0,
    60.0,
)  # a version that would not load; a changed file is tried at once


@dataclass(slots=True)
class _Watched:
    """One version of one model, as this server has it."""

    model: str
    version: int
    canary: Canary | None = None
    reason: str = "is being loaded"
    slow: int = 0
    answered: int = -1
    failures: int = 0
    retry_at_s: float = 0.0


class ModelKeeper:
    """Looks after the models of one running server; `attend` is one round."""

    def __init__(
        self,
        server: ServerProcess,
        client: triton.InferenceServerClient,
        repository: Path,
        key: bytes,
        reloads: Counter[tuple[str, int]],
    ) -> None:
        self._server = server
        self._client = client
        self._repository = repository
        self._key = key
        self._reloads = reloads  # outlives this server
        self._seen: tuple[InstalledVersion, ...] = ()
        self._releases: dict[int, str] = {}
        self._watched: dict[tuple[str, int], _Watched] = {}

    async def attend(self) -> None:
        """Follow the repository, try every model, mend what does not answer.

        Raises DependencyUnavailable when only a new server can help.
        """
        versions = await asyncio.to_thread(installed_versions, self._repository)
        if versions != self._seen:
            await self._follow(versions)
        await asyncio.gather(*(self._check(watched) for watched in self._watched.values()))

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Every version of every model as last judged, by model and version."""
        return tuple(
            ModelStatus(
                model=model,
                version=version,
                release=self._releases.get(version, ""),
                is_ready=not watched.reason,
                reason=watched.reason,
                reloads=self._reloads[model, version],
            )
            for (model, version), watched in sorted(self._watched.items())
        )

    async def _follow(self, versions: tuple[InstalledVersion, ...]) -> None:
        changed = {v.version for v in versions} - {
            v.version for v in set(versions) & set(self._seen)
        }
        kept = {v.version for v in versions} - changed
        self._watched = {
            (model, v.version): self._watched[model, v.version]
            if v.version in kept
            else _Watched(model, v.version)
            for model in MODELS
            for v in versions
        }
        self._releases = {}
        rejected = {}
        for version in sorted(v.version for v in versions):
            try:
                self._releases[version] = release_of(self._repository, version, self._key).release
            except (ReleaseRejected, OSError) as error:
                rejected[version] = str(error)
        if versions:
            await asyncio.gather(*(self._load(model) for model in MODELS))
        await asyncio.gather(
            *(self._greet(w) for key, w in self._watched.items() if key[1] in changed)
        )
        for watched in self._watched.values():
            if watched.version in rejected:
                watched.canary, watched.reason = None, rejected[watched.version]
        self._seen = versions

    async def _load(self, model: str) -> str:
        """Ask for a load; "" or what Triton says against it."""
        try:
            await self._client.load_model(
                model, headers=self._server.admin_headers, client_timeout=_LOAD_TIMEOUT_S
            )
        except InferenceServerException as error:
            if error.status() == "StatusCode.DEADLINE_EXCEEDED":
                raise DependencyUnavailable(
                    "triton", f"loading {model} hung for {_LOAD_TIMEOUT_S:.0f} s"
                ) from error
            return str(error.message())
        return ""

    async def _greet(self, watched: _Watched) -> None:
        """After a load: make the version's canary, or note why it is not there."""
        try:
            watched.canary = await make_canary(
                self._client, watched.model, watched.version, _ADMIN_TIMEOUT_S
            )
        except InferenceServerException:
            watched.canary = None
            watched.reason = await self._why_not_loaded(watched) or "is not loaded"
            step = min(watched.failures, len(_RETRY_S) - 1)
            watched.retry_at_s = time.monotonic() + _RETRY_S[step]
            watched.failures += 1

    async def _why_not_loaded(self, watched: _Watched) -> str:
        try:
            index = await self._client.get_model_repository_index(
                headers=self._server.admin_headers, as_json=True, client_timeout=_ADMIN_TIMEOUT_S
            )
        except InferenceServerException as error:
            return str(error.message())
        for entry in index.get("models", ()):
            if entry["name"] == watched.model and entry.get("version") == str(watched.version):
                return str(entry.get("reason", ""))
        return ""

    async def _check(self, watched: _Watched) -> None:
        if watched.canary is None:
            is_due = watched.failures and time.monotonic() >= watched.retry_at_s
            if is_due and watched.version in self._releases:
                await self._reload(watched)
            return
        result = await watched.canary.sing(self._client, _CANARY_TIMEOUT_S)
        if result.verdict is Verdict.SLOW:
            result = await self._judge_slow(watched, result)
        if result.verdict is Verdict.SOUND:
            watched.slow, watched.failures, watched.reason = 0, 0, ""
        elif result.verdict is Verdict.BROKEN and self._server.exit_code is None:
            watched.reason = result.reason
            await self._reload(watched)

    async def _judge_slow(self, watched: _Watched, slow: CanaryResult) -> CanaryResult:
        """Overload is no defect: while anybody is answered, the model is left alone."""
        answered = await self._answered(watched)
        is_first = watched.slow == 0
        watched.slow = watched.slow + 1 if is_first or answered == watched.answered else 1
        watched.answered = answered
        if watched.slow <= _SLOW_LIMIT:
            return slow
        watched.slow = 0
        return CanaryResult(Verdict.BROKEN, f"answered nobody: {slow.reason}")

    async def _answered(self, watched: _Watched) -> int:
        try:
            answer = await self._client.get_inference_statistics(
                watched.model, str(watched.version), as_json=True, client_timeout=_ADMIN_TIMEOUT_S
            )
        except InferenceServerException:
            return watched.answered
        return sum(int(entry.get("execution_count", 0)) for entry in answer["model_stats"])

    async def _reload(self, watched: _Watched) -> None:
        file = self._repository / watched.model / str(watched.version) / MODEL
        before = self._server.stubs_of(file)
        try:
            os.utime(file)
        except FileNotFoundError:
            return  # just taken out of the repository; the next round follows
        self._note_touch(watched.version)
        self._reloads[watched.model, watched.version] += 1
        refusal = await self._load(watched.model)
        self._server.kill_stubs(before)  # a frozen one would otherwise stay for ever
        await self._greet(watched)
        if refusal and watched.canary is None:
            watched.reason = watched.reason or refusal

    def _note_touch(self, version: int) -> None:
        """Our own touch is no news; everything else that changed meanwhile stays to be followed."""
        touched = {v.version: v for v in installed_versions(self._repository)}.get(version)
        if touched is not None:
            self._seen = tuple(touched if v.version == version else v for v in self._seen)
