"""Ports on the loopback: free ones, and whether something listens."""

import random
import socket

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections: a client that keeps
# trying to reconnect could otherwise be given the server's own port, and hold it.
_FIRST, _LAST = 10_000, 19_999
# Eleven systems that draw their ports before the first of them listens: one start in 180 drew one
# twice.
_given: set[int] = set()


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nobody has it, else any that is free now. Raises OSError if none is.

    A port that was given before, and that perhaps nobody listens at yet, is not given again until
    all were.
    """
    if preferred is not None and is_free(preferred):
        return preferred
    start = random.randint(_FIRST, _LAST)  # two stacks that start together should try others
    candidates: tuple[int, ...] = (*range(start, _LAST + 1), *range(_FIRST, start))
    if _given.issuperset(candidates):
        _given.clear()
    for port in candidates:
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise OSError(f"no free port from {_FIRST} to {_LAST}")


def is_free(port: int) -> bool:
    """Whether a server could listen here now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def is_listening(port: int) -> bool:
    """Whether a connection to this port of the loopback is accepted."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((LOOPBACK, port)) == 0
