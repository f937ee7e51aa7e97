"""Settings of a simulated world: how large it is, which seed it grows from, when it ends."""

from dataclasses import dataclass

from shop.errors import SettingsRejected

MS_PER_DAY = 86_400_000
# 2026-06-01 00:00 UTC. Fixed, so that one seed means one world; pass `end_ms` for "until today".
DEFAULT_END_MS = 1_780_272_000_000
_LEAST = {"product_count": 300, "shopper_count": 50, "days": 2, "seed": 0}


@dataclass(frozen=True, slots=True)
class WorldSettings:
    """Everything a world is made from: equal settings give the same world, byte for byte.

    The defaults give about 5 million impressions.
    """

    seed: int = 7
    product_count: int = 6_000
    shopper_count: int = 20_000
    days: int = 60
    sessions_per_shopper: float = 8.0  # mean over the shoppers who ever come
    end_ms: int = DEFAULT_END_MS  # no event is at or after this time

    def __post_init__(self) -> None:
        """Raises SettingsRejected where no world could grow."""
        for name, least in _LEAST.items():
            if getattr(self, name) < least:
                raise SettingsRejected(f"{name} = {getattr(self, name)}: must be at least {least}")
        if not 0.0 < self.sessions_per_shopper <= 2.0 * self.days:
            raise SettingsRejected(
                f"sessions_per_shopper = {self.sessions_per_shopper}: must be above 0 and at most "
                f"two a day ({2 * self.days})"
            )

    @property
    def start_ms(self) -> int:
        """When the first day begins."""
        return self.end_ms - self.days * MS_PER_DAY

    @staticmethod
    def small(seed: int = 7) -> "WorldSettings":
        """A world for tests: grown and written in under three seconds."""
        return WorldSettings(
            seed=seed, product_count=600, shopper_count=1_500, days=21, sessions_per_shopper=5.0
        )
