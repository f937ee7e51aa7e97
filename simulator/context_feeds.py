"""Context feeds: weather and search trends as real gRPC servers.

What they tell is `simulator.weather`'s and `simulator.trends`'; what ails a feed is as with
`simulator.faults`: absurd and negative are temperatures below absolute zero and lifts below 0.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc
import numpy as np
from numpy.typing import NDArray

from serving.proto import business_pb2 as business
from serving.proto import feeds_pb2 as pb
from serving.proto import feeds_pb2_grpc as rpc
from simulator.campaigns import product_keys
from simulator.faults import Ailment, is_nonsensical, nonsense
from simulator.trends import lifts_at
from simulator.weather import CLIMATES, weather_at

Clock = Callable[[], int]
"""Unix milliseconds now."""

_OBSERVED_EVERY_MS = 600_000  # weather stations report every ten minutes
_COUNTED_EVERY_MS = 300_000
_IMPOSSIBLE_C = -999.0


@dataclass(frozen=True, slots=True, eq=False)
class Outside:
    """The world around one shop."""

    clock: Clock
    seed: int
    search_terms: tuple[str, ...]
    keys: NDArray[np.uint64] = field(init=False)  # of the terms

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", product_keys(self.search_terms))


class WeatherFeed(rpc.WeatherServicer):
    """Answers what the weather is."""

    def __init__(self, outside: Outside, ailment: Ailment) -> None:
        self._outside, self._ailment = outside, ailment

    async def GetWeather(
        self, request: pb.WeatherRequest, context: grpc.aio.ServicerContext
    ) -> pb.WeatherResponse:
        await self._ailment.endure(context)
        now_ms, wrong_values = self._outside.clock(), self._ailment.settings.wrong_values
        age_ms = now_ms % _OBSERVED_EVERY_MS
        reply = pb.WeatherResponse()
        for country in CLIMATES:
            sky = weather_at(country, now_ms - age_ms, self._outside.seed)
            reply.countries.add(
                country=country,
                condition=sky.condition,
                temperature_c=sky.temperature_c,
                age_ms=age_ms,
            )
        if wrong_values == business.WRONG_VALUES_NAN:
            for told in reply.countries:
                told.temperature_c = nonsense(wrong_values, _IMPOSSIBLE_C)
        elif is_nonsensical(wrong_values):
            for told in reply.countries:
                told.temperature_c = _IMPOSSIBLE_C
        elif wrong_values == business.WRONG_VALUES_SHORT:
            del reply.countries[:]
        return reply


class TrendFeed(rpc.SearchTrendsServicer):
    """Answers what people look for."""

    def __init__(self, outside: Outside, ailment: Ailment) -> None:
        self._outside, self._ailment = outside, ailment

    async def GetSearchTrends(
        self, request: pb.SearchTrendsRequest, context: grpc.aio.ServicerContext
    ) -> pb.SearchTrendsResponse:
        await self._ailment.endure(context)
        now_ms, wrong_values = self._outside.clock(), self._ailment.settings.wrong_values
        age_ms = now_ms % _COUNTED_EVERY_MS
        terms = self._outside.search_terms
        lifts = lifts_at(self._outside.keys, now_ms - age_ms, self._outside.seed).tolist()
        if is_nonsensical(wrong_values):
            lifts = [nonsense(wrong_values, -5.0)] * len(terms)
        told = [
            pb.TrendingTerm(term=term, lift=lift) for term, lift in zip(terms, lifts, strict=True)
        ]
        return pb.SearchTrendsResponse(terms=told, age_ms=age_ms)


def add_context_feed(
    name: str, server: grpc.aio.Server, outside: Outside, ailment: Ailment
) -> None:
    """Let `server` answer as the feed of this name, one of `simulator.faults.CONTEXT_FEEDS`."""
    if name == "weather":
        rpc.add_WeatherServicer_to_server(WeatherFeed(outside, ailment), server)
    elif name == "trends":
        rpc.add_SearchTrendsServicer_to_server(TrendFeed(outside, ailment), server)
    else:
        raise ValueError(f"{name!r} is no context feed")
