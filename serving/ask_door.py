"""Ask door: answers to questions as the gateway gives them, behind the lists in every respect.

A search takes its turn among the lists' and counts as one of a batch, so it begins when nobody at a
page is held up by it; texts have turns of their own, and what writes them is another process.
"""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

from serving.arrival import Arrival, allowed_s
from serving.ask_codec import AnswerEncoder, question_of, told_of
from serving.assist.pipeline import answer
from serving.assist.steps import Finished, Found
from serving.guard import THIS_DOOR
from serving.proto import recommendations_pb2 as pb
from serving.service import Service
from serving.turns import Turns
from shop.errors import DependencyUnavailable


class AskDoor:
    """Of one replica. `list_turns` are those of its lists."""

    def __init__(self, list_turns: Turns) -> None:
        self._list_turns = list_turns
        self._turns: Turns | None = None  # made with the first question

    async def answer(
        self, request: pb.AskRequest, service: Service, arrival: Arrival, metadata_ms: int
    ) -> AsyncGenerator[tuple[pb.AskResponse, dict[str, Any]], None]:
        """Each message, and what the log's line tells of it. Raises errors of `shop.errors`."""
        question = question_of(request, service.decoder)
        assistant = service.assistant
        if assistant is None:
            raise DependencyUnavailable(
                "writer", "this door answers no questions; its log says why"
            )
        settings = assistant.settings
        if self._turns is None:
            self._turns = Turns(at_once=settings.at_once, waiting=settings.queued)
        total_s = allowed_s(
            request.deadline_ms or metadata_ms, arrival, default_ms=settings.total_ms
        )
        encoder = AnswerEncoder(
            question,
            service.tables.catalogue,
            service.token_key,
            release=service.release,
            attribution_ttl_ms=service.deps.settings.attribution_ttl_ms,
            texts=service.texts,
        )
        steps = answer(
            question,
            service.deps,
            assistant,
            service.deadline(arrival.at_s, total_s, arrival.client_until_s),
            to_search=self._one_of_the_lists,
            to_write=self._turns.turn,
        )
        async with aclosing(steps):  # whoever leaves wants no more written
            async for step in steps:
                told: dict[str, Any] = {}
                if isinstance(step, Found) and step.search is not None:
                    service.telemetry.answered(step.search)
                    told = {"release": service.release, "facts": len(step.facts)}
                elif isinstance(step, Finished):
                    service.telemetry.told(step.outcome.value, step.left_out, step.stage_ms)
                    told = told_of(question, step)
                yield encoder.encode(step), told

    @asynccontextmanager
    async def _one_of_the_lists(self) -> AsyncIterator[None]:
        with THIS_DOOR.one_of_a_batch():
            async with self._list_turns.turn():
                yield
