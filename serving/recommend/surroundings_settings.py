"""Surroundings settings: how often weather and trends are asked for, and how long they count."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SurroundingsSettings:
    """Of the context feeds, which no call waits for."""

    # National weather services publish observations every ten minutes to an hour; showers pass in
    # hours, so after three the last report says little.
    weather_every_s: float = 300.0
    weather_max_age_s: float = 10_800.0
    # Search trends move within an hour; a wave lasts a day.
    trends_every_s: float = 60.0
    trends_max_age_s: float = 21_600.0
    trending_lift: float = 2.0  # a term trends from so many times its usual share of searches on
    trending_terms: int = 20  # the most that count at a time, highest lift first
    ask_ms: float = 2_000.0  # nobody waits
    again_after_s: float = 5.0  # after a failure

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0")
        for feed in ("weather", "trends"):
            if getattr(self, f"{feed}_max_age_s") < getattr(self, f"{feed}_every_s"):
                raise ValueError(f"{feed}_max_age_s: must be at least {feed}_every_s")
