"""Shown: numbers and moments as people read them; filters of the templates."""

from datetime import UTC, datetime


def moment(at_ms: int) -> str:
    """A moment in UTC, to the minute."""
    try:
        return datetime.fromtimestamp(at_ms / 1_000.0, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        return "unknown"


def number(value: float, digits: int = 0) -> str:
    """With thousands apart."""
    return f"{value:,.{digits}f}"


def percent(share: float, digits: int = 0) -> str:
    """Of 0 to 1."""
    return f"{share * 100.0:.{digits}f} %"
