"""Rate limits: a bucket of tokens for each caller, in bounded memory. Pure: time is passed in.

A token bucket (Turner, "New Directions in Communications", 1986): it fills at the caller's rate, a
call takes one token, and what has gathered in quiet times is the burst.
"""

from collections import OrderedDict


class RateLimits:
    """Who may ask now. Of more callers than `max_callers`, the one silent for longest goes.

    A caller who is forgotten begins with a full bucket: one who can take on any number of names
    gets past a limit by name, and is for the limit on what is under way.
    """

    def __init__(self, *, calls_per_s: float, burst: float, max_callers: int) -> None:
        if calls_per_s <= 0 or burst < 1 or max_callers < 1:
            raise ValueError(f"{calls_per_s} calls/s, a burst of {burst}, {max_callers} callers")
        self._usual = (calls_per_s, burst)
        self._max_callers = max_callers
        self._buckets: OrderedDict[str, list[float]] = OrderedDict()  # tokens, when counted

    def __len__(self) -> int:
        return len(self._buckets)

    def wait_s(self, caller: str, now_s: float, calls_per_s: float | None = None) -> float:
        """0 if the caller may ask now, which takes a token; else seconds until the next one.

        `calls_per_s` is the caller's own rate, with a burst of two seconds of it.
        """
        rate, burst = self._usual if calls_per_s is None else (calls_per_s, 2.0 * calls_per_s + 1.0)
        bucket = self._buckets.get(caller)
        if bucket is None:
            self._remember(caller, [burst - 1.0, now_s])
            return 0.0
        self._buckets.move_to_end(caller)
        tokens = min(burst, bucket[0] + (now_s - bucket[1]) * rate)
        bucket[1] = now_s
        if tokens < 1.0:
            bucket[0] = tokens
            return (1.0 - tokens) / rate
        bucket[0] = tokens - 1.0
        return 0.0

    def _remember(self, caller: str, bucket: list[float]) -> None:
        if len(self._buckets) >= self._max_callers:
            self._buckets.popitem(last=False)
        self._buckets[caller] = bucket
