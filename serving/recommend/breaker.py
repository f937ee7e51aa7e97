"""Circuit breaker: stops asking a system that keeps failing, and tries it again with one probe."""

from serving.deadline import Clock


class CircuitBreaker:
    """Open for `open_s` after `failures` failed asks in a row; then one probe decides."""

    def __init__(self, clock: Clock, *, failures: int, open_s: float) -> None:
        self._clock = clock
        self._failures = failures
        self._open_s = open_s
        self._failed_in_a_row = 0
        self._next_probe_s = 0.0
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether the system is left alone, but for probes."""
        return self._failed_in_a_row >= self._failures

    def allows(self) -> bool:
        """Whether to ask now. After True, `note` must say how it went."""
        if not self.is_open:
            return True
        if self._probing or self._clock() < self._next_probe_s:
            return False
        self._probing = True
        return True

    def note(self, *, succeeded: bool) -> None:
        """How an ask went."""
        self._probing = False
        if succeeded:
            self._failed_in_a_row = 0
            return
        self._failed_in_a_row += 1
        self._next_probe_s = self._clock() + self._open_s
