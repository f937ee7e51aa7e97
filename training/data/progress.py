"""Progress: how long work says where it is, without knowing who shows it."""

from collections.abc import Callable

# The step now under way, and the share of the whole that is done (0..1).
Progress = Callable[[str, float], None]


def no_progress(step: str, share: float) -> None:
    """For callers that show nothing."""
