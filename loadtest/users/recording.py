"""Recording: what the users of one locust process, or of all its workers, have seen."""

import time
from collections.abc import Sequence

from loadtest.call_log import CallLog, Outcome, Sending, log_bytes, log_of, merged, read_log

REPORT_KEY = "vitrine_calls"  # in what a worker reports to its master


class Recorder:
    """Collects outcomes here, and logs of other processes. Times count from `begin`."""

    def __init__(self) -> None:
        self._outcomes: list[Outcome] = []
        self._event_latency_ms: list[float] = []
        self._event_errors = 0
        self._reported: list[CallLog] = []
        self._began_unix_s, self._began_s, self._cpu_s = 0.0, 0.0, 0.0
        self.begin(warm_up_s=0.0)

    def begin(self, *, warm_up_s: float) -> None:
        """A test starts; what comes in the first `warm_up_s` is not recorded."""
        self._take()
        self._reported.clear()
        self._began_s = time.monotonic() + warm_up_s
        self._began_unix_s = time.time() + warm_up_s
        self._cpu_s = time.process_time()

    def at_s(self, moment_s: float) -> float:
        """A moment of the monotonic clock in seconds of the test; below 0 it warms up."""
        return moment_s - self._began_s

    def add(self, outcome: Outcome) -> None:
        """One call has ended."""
        self._outcomes.append(outcome)

    def add_event(self, latency_ms: float, *, logged: bool, at_s: float) -> None:
        """One LogEvents call has ended."""
        if at_s < 0:
            return
        if logged:
            self._event_latency_ms.append(latency_ms)
        else:
            self._event_errors += 1

    def report(self) -> bytes:
        """What was recorded since the last report, to be sent."""
        return log_bytes(self._take())

    def take_report(self, raw: bytes) -> None:
        """What another process sent. Raises NotFound if it is no log."""
        self._reported.append(read_log(raw))

    def whole(self) -> CallLog:
        """All of it: recorded here and reported by others."""
        logs: Sequence[CallLog] = [*self._reported, self._take()]
        return merged(logs)

    def _take(self) -> CallLog:
        cpu_s = time.process_time()
        sending = Sending(
            self._began_unix_s,
            self._event_latency_ms,
            self._event_errors,
            cpu_s - self._cpu_s,
            max(0.0, time.monotonic() - self._began_s),
        )
        taken = log_of(self._outcomes, sending)
        self._outcomes, self._event_latency_ms, self._event_errors = [], [], 0
        self._cpu_s = cpu_s
        return taken
