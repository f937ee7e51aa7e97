"""Assist settings: how questions are answered; `[assist]` for `serving.settings_reader`."""

from dataclasses import dataclass

MAX_CONTEXT = 4


@dataclass(frozen=True, slots=True)
class AssistSettings:
    """Answers to questions. The model is the writer's, see `[writer]`."""

    # Of one answer, the wait for its turn included; a caller may name less or more.
    total_ms: float = 10_000.0
    # The prompt holds all of their lines: more than a handful are neither read nor answered well.
    products: int = 5
    max_tokens: int = 320  # six sentences, some with a long title
    # Facts are told, not phrased: the likeliest words are most often those of the lines.
    temperature: float = 0.2
    # Whether the model chooses which lines answer, of sentences that tell them. Turn it off for a
    # large model that is to phrase answers itself.
    binds_wording: bool = True
    # Of one replica. A model writes several at once; searches take their turn among the lists'.
    at_once: int = 4
    queued: int = 8  # more are refused

    def __post_init__(self) -> None:
        for name in ("total_ms", "products", "at_once", "queued"):
            _require(getattr(self, name) > 0, f"{name}: must be above 0")
        _require(self.total_ms <= 600_000, "total_ms: must be at most 600000")
        _require(MAX_CONTEXT < self.products <= 20, f"products: must be {MAX_CONTEXT + 1} to 20")
        _require(50 <= self.max_tokens <= 4_096, "max_tokens: must be 50 to 4096")
        _require(0.0 <= self.temperature <= 2.0, "temperature: must be 0 to 2")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
