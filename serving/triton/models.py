"""Models: keeps what one running server has loaded equal to the repository, and working.

Triton reloads exactly the versions whose files look newer, in a fraction of a second and without
touching the others. So a version is replaced by touching its model file and asking for a load; an
unload first, as often advised, would take the healthy versions away too.
"""

import asyncio
import math
import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

from serving.triton.canary import Canary, CanaryResult, Verdict, make_canary
from serving.triton.process import ServerProcess
from serving.triton.repository import InstalledVersion, installed_versions
from serving.triton.served import ServedVersions, model_file, serve_sound_versions
from serving.triton.status import LOADING, ModelStatus
from shop.errors import DependencyUnavailable
from shop.tensors import ALL_MODELS, MODELS

_TRITON = "triton"
_CANARY_TIMEOUT_S = 1.5
_ADMIN_TIMEOUT_S = 2.0
_LOAD_TIMEOUT_S = 45.0  # a stub that does not start within 30 s fails by itself
_LOOK_S = 0.25
_NO_STUB_S = 4.0  # while loading; the first stub of a busy machine took 1.5 s to appear
# Slow canaries in a row, nobody having been answered between: some 12 s. A dead or stopped process
# is told by Triton itself within 2 s; this is for one that runs in circles, and a batch of 16 long
# requests on a busy machine may take seconds.
_SLOW_LIMIT = 5
_RELOAD_PAUSES_S = (0.0, 0.0, 2.0, 5.0, 15.0)  # of a version that breaks again and again
_QUIET_S = 60.0
_RETRY_S = (2.0, 10.0, 60.0, 600.0)  # for a version that Triton cannot load, though it is sound


@dataclass(slots=True)
class _Watched:
    """One version of one model, as this server has it."""

    model: str
    version: int
    canary: Canary | None = None
    stubs: frozenset[int] = frozenset()  # processes that serve it; none where Triton does it itself
    reason: str = LOADING
    slow: int = 0
    answered: int = 0
    reloads: int = 0  # without a quiet minute between
    reloaded_s: float = -math.inf

    def may_reload(self, now_s: float) -> bool:
        """At once when it breaks; one that keeps breaking is not loaded in a circle."""
        pause_s = _RELOAD_PAUSES_S[min(self.reloads, len(_RELOAD_PAUSES_S) - 1)]
        return now_s >= self.reloaded_s + pause_s


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
        self._found = ServedVersions({}, {})
        self._watched: dict[tuple[str, int], _Watched] = {}
        self._hidden: dict[int, str] = {}  # sound, but Triton could not load them: why
        self._failures: Counter[int] = Counter()
        self._retry_at_s = 0.0

    async def attend(self) -> None:
        """Follow the repository, try every model, mend what does not answer.

        Raises DependencyUnavailable when only a new server can help.
        """
        versions = await asyncio.to_thread(installed_versions, self._repository)
        if versions != self._seen:
            self._hidden.clear()
            self._failures.clear()
            await self._follow(versions)
        elif self._hidden and time.monotonic() >= self._retry_at_s:
            self._hidden.clear()
            await self._follow(versions)
        await asyncio.gather(*(self._check(watched) for watched in self._watched.values()))

    def has_all_stubs(self) -> bool:
        """Whether every process that serves a model runs, but for those that must wait."""
        now_s = time.monotonic()
        return all(
            self._server.are_running(watched.stubs) or not watched.may_reload(now_s)
            for watched in self._watched.values()
        )

    def statuses(self) -> tuple[ModelStatus, ...]:
        """Every version of every model as last judged, by model and version."""
        reasons = {key: watched.reason for key, watched in self._watched.items()}
        for version, reason in (self._hidden | self._found.refused).items():
            reasons |= {(model, version): reason for model in MODELS}
        return tuple(
            ModelStatus(
                model=model,
                version=version,
                release=self._found.releases.get(version, ""),
                is_ready=not reason,
                reason=reason,
                reloads=self._reloads[model, version],
            )
            for (model, version), reason in sorted(reasons.items())
        )

    async def _follow(self, versions: tuple[InstalledVersion, ...]) -> None:
        """Load what is new and sound, let go what is no longer there."""
        changed = {v.version for v in set(versions) - set(self._seen)}
        self._seen = versions
        await self._serve()
        # Each turn hides at least one version, so this ends.
        while failed := await self._load_all():
            for version, reason in failed.items():
                self._hide(version, reason)
            await self._serve()
        served = self._found.releases.keys() - self._hidden.keys()
        self._watched = {
            (model, version): self._watched[model, version]
            if (model, version) in self._watched and version not in changed
            else _Watched(model, version)
            for version in served
            for model in self._found.models[version]
        }
        for watched in self._watched.values():
            if watched.canary is None:
                await self._greet(watched)

    async def _serve(self) -> None:
        self._found = await asyncio.to_thread(
            serve_sound_versions,
            self._repository,
            self._server.model_folder,
            self._key,
            frozenset(self._hidden),
        )

    def _hide(self, version: int, reason: str) -> None:
        self._hidden[version] = reason
        step = min(self._failures[version], len(_RETRY_S) - 1)
        self._failures[version] += 1
        self._retry_at_s = time.monotonic() + _RETRY_S[step]

    async def _load_all(self) -> dict[int, str]:
        """Ask for everything that is served; version → why Triton cannot load it."""
        versions = self._found.releases.keys() - self._hidden.keys()
        versions_of = {
            model: [version for version in versions if model in self._found.models[version]]
            for model in ALL_MODELS
        }
        wanted = [model for model in ALL_MODELS if versions_of[model]]
        await asyncio.gather(*(self._unload(model) for model in ALL_MODELS if model not in wanted))
        refusals = await asyncio.gather(*(self._load(model) for model in wanted))
        failed: dict[int, str] = {}
        for model, refusal in zip(wanted, refusals, strict=True):
            if refusal:
                reasons = await self._reasons(model)
                # Where Triton does not say which version it was, none can be trusted.
                failed |= {v: reasons[v] for v in versions if reasons.get(v)} or dict.fromkeys(
                    versions_of[model], refusal
                )
        return failed

    async def _load(self, model: str) -> str:
        """ "" or what Triton says against it. Raises DependencyUnavailable if it hangs."""
        folder = self._server.model_folder / model
        before = self._server.stubs_below(folder)
        loading = asyncio.create_task(self._ask_to_load(model))
        idle_looks = 0
        while not (await asyncio.wait({loading}, timeout=_LOOK_S))[0]:
            # A stub that fails tells Triton why; one that is killed leaves it waiting for ever.
            starting = self._server.stubs_below(folder) - before
            idle_looks = 0 if starting and self._server.are_running(starting) else idle_looks + 1
            if idle_looks * _LOOK_S > _NO_STUB_S:
                loading.cancel()
                raise DependencyUnavailable(_TRITON, f"hung: {model} is loaded by no process")
        return loading.result()

    async def _ask_to_load(self, model: str) -> str:
        try:
            await self._client.load_model(
                model, headers=self._server.admin_headers, client_timeout=_LOAD_TIMEOUT_S
            )
        except InferenceServerException as error:
            if error.status() == "StatusCode.DEADLINE_EXCEEDED":
                raise DependencyUnavailable(
                    _TRITON, f"hung while loading {model} for {_LOAD_TIMEOUT_S:.0f} s"
                ) from error
            return str(error.message())
        return ""

    async def _unload(self, model: str) -> None:
        try:
            await self._client.unload_model(
                model, headers=self._server.admin_headers, client_timeout=_ADMIN_TIMEOUT_S
            )
        except InferenceServerException:
            return  # it was not loaded

    async def _reasons(self, model: str) -> dict[int, str]:
        """Version → why it is not loaded, "" where it is."""
        try:
            index = await self._client.get_model_repository_index(
                headers=self._server.admin_headers, as_json=True, client_timeout=_ADMIN_TIMEOUT_S
            )
        except InferenceServerException:
            return {}
        return {
            int(entry["version"]): str(entry.get("reason", ""))
            for entry in index.get("models", ())
            if entry["name"] == model and entry.get("version", "").isdigit()
        }

    async def _greet(self, watched: _Watched) -> None:
        """After a load: make the version's canary, or note that the version is not there."""
        try:
            watched.canary = await make_canary(
                self._client, watched.model, watched.version, _ADMIN_TIMEOUT_S
            )
        except InferenceServerException as error:
            watched.reason = str(error.message())
            return
        file = model_file(self._server.model_folder, watched.model, watched.version)
        watched.stubs = self._server.stubs_below(file.parent)

    async def _check(self, watched: _Watched) -> None:
        if watched.canary is None:
            await self._greet(watched)
            return
        if not self._server.are_running(watched.stubs):
            # Seen here at once; a call would hang first, and Triton is not always sure.
            result = CanaryResult(Verdict.BROKEN, "its process ended or was stopped")
        else:
            result = await watched.canary.sing(self._client, _CANARY_TIMEOUT_S)
        if result.verdict is Verdict.SLOW:
            result = await self._judge_slow(watched, result)
        if result.verdict is Verdict.SOUND:
            watched.slow, watched.reason = 0, ""
            if time.monotonic() > watched.reloaded_s + _QUIET_S:
                watched.reloads = 0
        elif result.verdict is Verdict.BROKEN and self._server.exit_code is None:
            watched.slow, watched.reason = 0, result.reason
            if watched.may_reload(time.monotonic()):
                await self._reload(watched)

    async def _judge_slow(self, watched: _Watched, slow: CanaryResult) -> CanaryResult:
        """Overload is no defect: while anybody is answered, the model is left alone."""
        answered = await self._answered(watched)
        is_first = watched.slow == 0
        watched.slow = watched.slow + 1 if is_first or answered == watched.answered else 1
        watched.answered = answered
        if watched.slow <= _SLOW_LIMIT:
            return slow
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
        before, watched.canary, watched.stubs = watched.stubs, None, frozenset()
        watched.reloads, watched.reloaded_s = watched.reloads + 1, time.monotonic()
        self._reloads[watched.model, watched.version] += 1
        try:
            os.utime(model_file(self._server.model_folder, watched.model, watched.version))
            refusal = await self._load(watched.model)
        except FileNotFoundError:
            refusal = "its file is gone"
        self._server.kill_stubs(before)  # a frozen one would otherwise stay for ever
        if refusal:
            await self._follow(self._seen)  # the file may be at fault, or this version for good
        else:
            await self._greet(watched)
