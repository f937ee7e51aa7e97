"""Before a benchmark measures, the doors that open late are open."""

import socket
import threading

import pytest

from loadtest.benchmarks.stack import BenchmarkFailed, wait_for_late_doors


def test_a_stack_whose_words_are_still_loading_is_waited_for() -> None:
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*door.getsockname())
        opening = threading.Timer(0.3, door.listen)
        opening.start()
        wait_for_late_doors({"descriptions": address}, within_s=30.0)
        assert door.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        opening.join()


def test_a_door_that_never_opens_is_named() -> None:
    with socket.socket() as door:  # bound, so that nobody else listens there
        door.bind(("127.0.0.1", 0))
        address = "{}:{}".format(*door.getsockname())
        with pytest.raises(BenchmarkFailed, match=f"writer did not open at {address}"):
            wait_for_late_doors({"writer": address}, within_s=0.2)


def test_a_stack_without_words_is_ready() -> None:
    wait_for_late_doors({"door": "127.0.0.1:1"}, within_s=0.0)
