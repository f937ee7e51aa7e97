"""Requests and events as a caller writes them, and what the decoder says against them."""

from collections.abc import Callable
from typing import Any

import pytest

from serving.codec import Decoder
from serving.field_checks import InvalidFields
from serving.proto import recommendations_pb2 as pb
from tests.unit.time_travel import START_MS

KEY = bytes(range(32))
DECODER = Decoder("EUR", KEY, lambda: START_MS, lambda: "fresh-id")


def a_request(**fields: Any) -> pb.RecommendRequest:
    return pb.RecommendRequest(**({"placement": "home"} | fields))


def an_event(**fields: Any) -> pb.Event:
    usual = {"idempotency_key": "k", "type": "click", "user_id": "ada", "product_id": "p1"}
    return pb.Event(**(usual | fields))


def violations(decode: Callable[[], object]) -> dict[str, str]:
    with pytest.raises(InvalidFields) as caught:
        decode()
    return dict(caught.value.violations)


def wrong(**fields: Any) -> dict[str, str]:
    return violations(lambda: DECODER.ask(a_request(**fields)))


def wrong_event(**fields: Any) -> dict[str, str]:
    request = pb.LogEventsRequest(events=[an_event(), an_event(**fields)])
    return violations(lambda: DECODER.events(request))


class Context:
    """What Ray Serve gives a method, as far as a refusal touches it."""

    def set_code(self, code: Any) -> None:
        self.code = code

    def set_details(self, details: str) -> None:
        self.details = details

    def set_trailing_metadata(self, metadata: list[tuple[str, bytes]]) -> None:
        self.metadata = dict(metadata)
