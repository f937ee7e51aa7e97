"""Settings of price suggestions, `[recommend.pricing]` for `serving.settings_reader`."""

from dataclasses import dataclass, field

from shop.price_drivers import PriceMethod
from shop.price_limits import PriceLimits


@dataclass(frozen=True, slots=True)
class PricingSettings:
    """Limits and method of suggestions, and how the feeds behind them are asked."""

    limits: PriceLimits = field(default_factory=PriceLimits)
    method: PriceMethod = field(default_factory=PriceMethod)
    total_ms: float = 500.0  # a merchandiser waits for this, no shopper does
    lookups_ms: float = 100.0  # the shop's own systems
    # Each feed's own budget; an answer too late for the call that asked still serves the next ones.
    competitors_ask_ms: float = 200.0
    demand_ask_ms: float = 200.0
    calendar_ask_ms: float = 200.0
    competitors_ttl_ms: int = 60_000  # crawled once a day: a minute old is as good as new
    demand_ttl_ms: int = 600_000
    calendar_ttl_ms: int = 5_000  # a promotion that was just planned must freeze its products
    second_call_share: float = 0.1  # this and the breakers as with the shop's own systems
    breaker_failures: int = 5
    breaker_open_ms: int = 1_000

    def __post_init__(self) -> None:
        """Raises ValueError, naming the setting first."""
        if not 0.0 <= self.second_call_share <= 0.1:
            raise ValueError("second_call_share: must be 0 to 0.1")
        for name in self.__slots__:
            if name in ("limits", "method", "second_call_share"):
                continue
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}: must be above 0")
