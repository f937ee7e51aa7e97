"""Progress: how long work says where it is, without knowing who shows it."""

from collections.abc import Callable
from typing import TextIO

# The step now under way, and the share of the whole that is done (0..1).
Progress = Callable[[str, float], None]
_LINES = 20


def no_progress(step: str, share: float) -> None:
    """For callers that show nothing."""


def progress_lines(stream: TextIO) -> Progress:
    """For logs, where no bar moves: a line for each new step and each twentieth of the whole."""
    told: tuple[str, int] | None = None

    def tell(step: str, share: float) -> None:
        nonlocal told
        now = (step, int(share * _LINES))
        if now != told:
            stream.write(f"{share:4.0%} {step}\n")
            stream.flush()
            told = now

    return tell
