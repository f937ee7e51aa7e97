"""Context feeds: weather and search trends over gRPC. Values are passed on as they came."""

from serving.adapters.grpc_calls import answered, open_channel
from serving.proto import feeds_pb2 as pb
from serving.recommend.context_ports import CountryWeather, TrendingTerm, Trends, WeatherReport
from shop.errors import DependencyUnavailable

_SERVICE = "/vitrine.feeds.v1"
_MAX_COUNTRIES = 300  # there are 249
_MAX_TERMS = 1_000  # of which a shop's rules use the first few


class GrpcWeather:
    """The weather from `vitrine.feeds.v1.Weather`."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._call = self._channel.unary_unary(
            f"{_SERVICE}.Weather/GetWeather",
            request_serializer=pb.WeatherRequest.SerializeToString,
            response_deserializer=pb.WeatherResponse.FromString,
        )

    async def close(self) -> None:
        """The feed cannot be asked any more."""
        await self._channel.close(None)

    async def weather(self, *, timeout_s: float) -> WeatherReport:
        """One call for all countries. Refused whole if it names more than there are."""
        call = self._call(pb.WeatherRequest(), timeout=timeout_s)
        reply: pb.WeatherResponse = await answered("weather", call, timeout_s)
        if len(reply.countries) > _MAX_COUNTRIES:
            raise DependencyUnavailable("weather", f"tells of {len(reply.countries)} countries")
        return WeatherReport(
            tuple(
                CountryWeather(told.country, told.condition, told.temperature_c, float(told.age_ms))
                for told in reply.countries
            )
        )


class GrpcTrends:
    """Search trends from `vitrine.feeds.v1.SearchTrends`."""

    def __init__(self, address: str) -> None:
        self._channel = open_channel(address)
        self._call = self._channel.unary_unary(
            f"{_SERVICE}.SearchTrends/GetSearchTrends",
            request_serializer=pb.SearchTrendsRequest.SerializeToString,
            response_deserializer=pb.SearchTrendsResponse.FromString,
        )

    async def close(self) -> None:
        """The feed cannot be asked any more."""
        await self._channel.close(None)

    async def trends(self, *, timeout_s: float) -> Trends:
        """One call. Refused whole if it names too many terms to go through."""
        call = self._call(pb.SearchTrendsRequest(), timeout=timeout_s)
        reply: pb.SearchTrendsResponse = await answered("trends", call, timeout_s)
        if len(reply.terms) > _MAX_TERMS:
            raise DependencyUnavailable("trends", f"tells of {len(reply.terms)} terms")
        terms = tuple(TrendingTerm(told.term, told.lift) for told in reply.terms)
        return Trends(terms, float(reply.age_ms))
