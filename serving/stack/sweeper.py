"""Last resort: a process that outlives a killed supervisor just long enough to clear up after it.

    python -m serving.stack.sweeper RUN

Reads its standard input, whose other end only the supervisor holds. When that closes, for whatever
reason, nothing of the run may be left: what still carries its mark is stopped.
"""

import signal
import sys

from serving.stack.processes import marked, stop_all

_GRACE_S = 8.0  # Triton takes 3–7 s to stop


def main() -> int:
    """Waits for the supervisor's end, then stops what is left of the run."""
    run = sys.argv[1]
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it must outlive the others
    sys.stdin.buffer.read()
    stop_all(marked(run), within_s=_GRACE_S)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
