"""Field checks: what a request's fields may hold, and everything that is wrong with one at once."""

import math
import re
from collections.abc import Iterable

from shop.errors import InvalidRequest

MAX_ID_BYTES = 128  # products, shoppers, sessions, requests, idempotency keys
MAX_NAME_BYTES = 64  # device, country, segment
MAX_QUERY_BYTES = 512
MAX_LISTED = 20  # violations in an answer: they travel in a header, which holds 8 kB
MAX_QUANTITY = 1_000_000
MAX_PRICE_MINOR = 10**12
MAX_POSITION = 10_000
MAX_VALUE = 1e9  # seconds of dwelling, stars
MAX_DEADLINE_MS = 600_000
MAX_OFFSET_MINUTES = 14 * 60  # the Line Islands; no clock is further from UTC
EARLIEST_MS = 946_684_800_000  # the year 2000: a time before is seconds taken for milliseconds
MAX_AHEAD_MS = 86_400_000  # a clock a day ahead is wrong, a few hours is a time zone taken for UTC
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")

Violation = tuple[str, str]  # path of the field, what is allowed


class InvalidFields(InvalidRequest):
    """Several fields are wrong; `field` and `reason` are the first one's."""

    def __init__(self, violations: tuple[Violation, ...]) -> None:
        super().__init__(*violations[0])
        self.args = (violations,)  # what it is made again from when unpickled
        self.violations = violations

    def __str__(self) -> str:
        listed = "; ".join(f"{field}: {reason}" for field, reason in self.violations[:MAX_LISTED])
        more = len(self.violations) - MAX_LISTED
        return listed if more <= 0 else f"{listed}; and {more} more"


class FieldChecks:
    """Collects what is wrong. Each check gives back the value, to read like an assignment."""

    def __init__(self) -> None:
        self._violations: list[Violation] = []

    def add(self, field: str, reason: str) -> None:
        """This field is wrong."""
        self._violations.append((field, reason))

    def raise_if_any(self) -> None:
        """Raises InvalidFields if any check failed."""
        if self._violations:
            raise InvalidFields(tuple(self._violations))

    def text(self, field: str, value: str, max_bytes: int, *, required: bool = False) -> str:
        """At most `max_bytes` of UTF-8 and no control characters."""
        # A character has at most 4 bytes, so short texts need no encoding to be judged.
        if len(value) * 4 > max_bytes and len(value.encode()) > max_bytes:
            self.add(field, f"has {len(value.encode())} bytes, at most {max_bytes} are allowed")
        elif required and not value:
            self.add(field, "is required")
        elif _CONTROL.search(value):
            self.add(field, "holds control characters")
        return value

    def ids(self, field: str, values: Iterable[str], max_count: int) -> tuple[str, ...]:
        """At most `max_count` product ids, none of them empty."""
        ids = tuple(values)
        self.count(field, len(ids), max_count)
        for at, value in enumerate(ids[:max_count]):
            self.text(f"{field}[{at}]", value, MAX_ID_BYTES, required=True)
        return ids

    def different_ids(self, field: str, values: Iterable[str], max_count: int) -> tuple[str, ...]:
        """1 to `max_count` product ids, each once."""
        ids = self.ids(field, values, max_count)
        if not ids:
            self.add(field, f"names no product; name 1 to {max_count}")
        seen: set[str] = set()
        for at, product_id in enumerate(ids[:max_count]):
            if product_id in seen:
                self.add(f"{field}[{at}]", "is named before; name each product once")
            seen.add(product_id)
        return ids

    def count(self, field: str, found: int, max_count: int) -> None:
        """At most `max_count` elements."""
        if found > max_count:
            self.add(field, f"has {found} elements, at most {max_count} are allowed")

    def whole(self, field: str, value: int, low: int, high: int) -> int:
        """Between `low` and `high`, both allowed."""
        if not low <= value <= high:
            self.add(field, f"is {value}, must be {low} to {high}")
        return value

    def real(self, field: str, value: float, low: float, high: float) -> float:
        """A number between `low` and `high`, both allowed."""
        if not math.isfinite(value) or not low <= value <= high:
            self.add(field, f"is {value:g}, must be {low:g} to {high:g}")
        return value

    def time_ms(self, field: str, value: int, now_ms: int) -> int:
        """Unix milliseconds since 2000 and not from the future; 0 is now."""
        if value == 0:
            return now_ms
        if not EARLIEST_MS <= value <= now_ms + MAX_AHEAD_MS:
            self.add(
                field,
                f"is {value}, must be Unix milliseconds from {EARLIEST_MS} (the year 2000)"
                f" to {now_ms + MAX_AHEAD_MS} (a day ahead), or 0 for now",
            )
        return value

    def one_of(self, field: str, value: str, allowed: Iterable[str]) -> str:
        """One of these texts."""
        choices = tuple(allowed)
        if value not in choices:
            self.add(field, f"is {_shortened(value)!r}, must be one of {', '.join(choices)}")
        return value


def _shortened(value: str) -> str:
    return value if len(value) <= 40 else f"{value[:40]}…"
