"""vLLM: the Writer on a real engine in this process, as its asynchronous interface of 0.32 is.

Texts are written together (continuous batching), what prompts have in common is computed once
(prefix caching), answers obey their JSON schema (guidance: the xgrammar backend lets raw control
characters into strings), and a closed iterator aborts its text. The engine's core is a process of
its own, a child of this one.

What the engine is started with is in `vllm_engine`.
"""

import asyncio
import contextlib
import copy
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from serving.adapters.chat_prompt import chat_tokens
from serving.adapters.vllm_engine import check_device, engine_arguments, weights_digest
from serving.describe.ports import Piece, WritingRequest
from serving.writer_settings import WriterSettings
from shop.errors import (
    DependencyTimeout,
    DependencyUnavailable,
    InvalidRequest,
    NotFound,
    Overloaded,
    SettingsRejected,
)

_NAME = "writer"
_ADAPTER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_TOKEN = 24  # characters, on average over a prompt; real text has about four
_RETRY_MS = 2_000  # about a text's time
_MOST_SEED = 2**63


class VllmWriter:
    """A language model that writes; see `serving.describe.ports.Writer`."""

    def __init__(self, engine: Any, settings: WriterSettings, model: Path, adapters: Path) -> None:
        self._engine = engine
        self._settings = settings
        self._adapters_dir = adapters
        self._loaded: dict[str, Any] = {}  # LoRA requests by version
        self._loading = asyncio.Lock()
        self._numbers = itertools.count(1)
        self._under_way = 0
        self._version = f"{model.resolve().name}-{weights_digest(model)}"

    @staticmethod
    async def open(settings: WriterSettings, state_dir: Path) -> "VllmWriter":
        """Loads the model; whoever opens it closes it. Raises SettingsRejected if it cannot be."""
        model = state_dir / settings.model_dir
        if not (model / "config.json").exists():
            raise SettingsRejected(
                f"writer.model_dir = {model}: holds no model; `vitrine train describer` makes one"
            )
        check_device(settings)
        from vllm.engine.arg_utils import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM

        arguments = AsyncEngineArgs(**engine_arguments(settings, model))
        try:
            engine = await asyncio.to_thread(AsyncLLM.from_engine_args, arguments)
        except (ValueError, RuntimeError, OSError) as error:
            raise SettingsRejected(f"vLLM cannot load {model}: {str(error)[:500]}") from error
        engine._run_output_handler()  # started lazily where no loop runs, as in that thread
        return VllmWriter(engine, settings, model, state_dir / settings.adapters_dir)

    @property
    def model_version(self) -> str:
        """The folder's name and a digest of its weights."""
        return self._version

    @property
    def under_way(self) -> int:
        """Texts that are being written or wait."""
        return self._under_way

    @property
    def texts_in_engine(self) -> int:
        """Texts that the engine itself still works on."""
        return int(self._engine.get_num_unfinished_requests())

    def with_settings(self, settings: WriterSettings) -> "VllmWriter":
        """The same engine under other limits; closed with this one."""
        other = copy.copy(self)
        other._settings, other._under_way = settings, 0
        return other

    def adapters(self) -> tuple[str, ...]:
        """Versions that can be asked for, in alphabetical order."""
        if not self._settings.max_adapters or not self._adapters_dir.is_dir():
            return ()
        found = (file.parent.name for file in self._adapters_dir.glob("*/adapter_config.json"))
        return tuple(sorted(name for name in found if _ADAPTER.fullmatch(name)))

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """Pieces as they are written; closing the iterator cancels the generation.

        Raises InvalidRequest, NotFound (the adapter), Overloaded, DependencyTimeout or
        DependencyUnavailable.
        """
        settings = self._settings
        if self._under_way >= settings.texts_at_once + settings.queued_texts:
            raise Overloaded("too many texts are being written", _RETRY_MS)
        self._under_way += 1
        try:
            async with asyncio.timeout(settings.deadline_s) as deadline:
                stream = await self._started(request)
            until = deadline.when() or 0.0
            async with contextlib.aclosing(stream):
                async for piece in _pieces(stream, until, settings.deadline_s):
                    yield piece
        except TimeoutError as error:
            raise _too_late(settings.deadline_s) from error
        finally:
            self._under_way -= 1

    def cached_share(self) -> float:
        """Share (0..1) of all prompt tokens so far that were not computed again."""
        asked, found = _counted("prefix_cache_queries"), _counted("prefix_cache_hits")
        return found / asked if asked else 0.0

    def check(self) -> None:
        """Raises DependencyUnavailable if the engine is dead."""
        if self._engine.errored:
            raise DependencyUnavailable(_NAME, "the engine has stopped; see its log")

    def close(self) -> None:
        """Ends the engine and its core, at once."""
        self._engine.shutdown(timeout=0.0)

    async def _started(self, request: WritingRequest) -> Any:
        """The engine's stream for a request, checked."""
        tokens = self._prompt_tokens(request)
        parameters = self._sampling(request, len(tokens))
        adapter = await self._adapter(request.adapter) if request.adapter else None
        from vllm import TokensPrompt

        (asked,) = await self._engine.renderer.render_cmpl_async(
            [TokensPrompt(prompt_token_ids=tokens)]
        )
        number = f"text-{next(self._numbers)}"
        return self._engine.generate(asked, parameters, number, lora_request=adapter)

    def _prompt_tokens(self, request: WritingRequest) -> list[int]:
        room = self._settings.max_model_len - 1
        characters = len(request.system) + len(request.prompt)
        if characters > room * _LONGEST_TOKEN:  # not worth reading
            raise InvalidRequest("prompt", f"has {characters} characters, for {room} tokens")
        tokens = chat_tokens(self._engine.get_tokenizer(), request.system, request.prompt)
        if len(tokens) > room:
            raise InvalidRequest("prompt", f"has {len(tokens)} tokens, at most {room} are read")
        return tokens

    def _sampling(self, request: WritingRequest, asked: int) -> Any:
        from vllm.sampling_params import (
            RequestOutputKind,
            SamplingParams,
            StructuredOutputsParams,
        )

        if request.max_tokens < 1:
            raise InvalidRequest("max_tokens", "must be at least 1")
        if not 0 <= request.temperature <= 2:
            raise InvalidRequest("temperature", "must be 0 to 2")
        room = self._settings.max_model_len - asked
        return SamplingParams(
            temperature=request.temperature,
            seed=request.seed % _MOST_SEED,
            max_tokens=min(request.max_tokens, self._settings.max_tokens, room),
            structured_outputs=StructuredOutputsParams(json=_plain(request.schema)),
            output_kind=RequestOutputKind.DELTA,
        )

    async def _adapter(self, version: str) -> Any:
        """Loaded before it is used: a broken one is refused then, and does not end the engine."""
        async with self._loading:
            if version not in self._loaded:
                self._loaded[version] = await self._load(version)
        return self._loaded[version]

    async def _load(self, version: str) -> Any:
        from vllm.lora.request import LoRARequest

        if version not in self.adapters():
            known = ", ".join(self.adapters()) or "none"
            raise NotFound(f"no adapter {version[:64]!r} of the description model; known: {known}")
        request = LoRARequest(
            version, len(self._loaded) + 1, str((self._adapters_dir / version).absolute())
        )
        try:
            await self._engine.add_lora(request)
        # Broad, because the folder is foreign and is read in the engine's core, which sends back
        # whatever its loader raised as it was: OSError, KeyError, ValueError, safetensors' own.
        except Exception as error:
            raise DependencyUnavailable(
                _NAME, f"adapter {version} cannot be loaded: {str(error)[:300]}"
            ) from error
        return request


async def _pieces(stream: Any, until: float, allowed_s: float) -> AsyncIterator[Piece]:
    """The engine's outputs as ours, its errors as ours."""
    from vllm.exceptions import VLLMClientError
    from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

    tokens = 0
    while True:
        try:
            async with asyncio.timeout_at(until):
                output = await anext(stream, None)
        except TimeoutError as error:
            raise _too_late(allowed_s) from error
        except (VLLMClientError, ValueError) as error:
            raise InvalidRequest("schema", str(error)[:300]) from error
        except (EngineDeadError, EngineGenerateError) as error:
            raise DependencyUnavailable(_NAME, str(error)[:300]) from error
        if output is None:
            return
        written = output.outputs[0]
        tokens += len(written.token_ids)
        yield Piece(written.text, bool(output.finished), tokens)
        if output.finished:
            return


def _counted(name: str) -> float:
    """One of vLLM's own counters, over all engines of this process."""
    from prometheus_client import REGISTRY

    return sum(
        sample.value
        for metric in REGISTRY.collect()
        if metric.name == f"vllm:{name}"
        for sample in metric.samples
        if sample.name.endswith("_total")
    )


def _plain(schema: Mapping[str, object]) -> dict[str, object]:
    return dict(schema)


def _too_late(allowed_s: float) -> DependencyTimeout:
    return DependencyTimeout(_NAME, f"the text was not written within {allowed_s:g} s")
