"""Deployments: how the gateway runs on Ray Serve, and what it takes to have Serve run it lean.

What Serve reads from the environment is decided here and set by `app.py` before Ray is imported.
"""

import gc
import logging
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import grpc

from serving.gateway import Gateway, OpenService
from serving.haproxy_binds import write_program
from serving.logging_setup import log_to_file
from serving.service import open_service
from serving.settings import DoorSettings, Settings
from serving.stack.folder import StateFolder
from serving.telemetry import Telemetry
from serving.tls import server_credentials
from shop.errors import VitrineError

logger = logging.getLogger(__name__)

APPLICATION = "recommendations"
SERVICER_FUNCTIONS = ["serving.arrival.add_services"]
_GRPC_MESSAGE_BYTES = 16 << 20  # 1,000 events of at most 4 kB, four times over; Serve's own is 2 GB
_SERVE_CALLS = (
    1_000  # a last line of defence: the gateway's own limits (`serving.turns`) come first
)
_REUSE_PORT = "grpc.so_reuseport"
_DRAIN_S = 1.0  # our calls take 0.1 s; Serve waits 30 s by default
_HAPROXY_REPLICA_PORTS = (40_000, 41_000)  # Serve's own range, behind HAProxy's one port


def serve_environment(settings: Settings, *, scratch: str, free_ports: list[int]) -> dict[str, str]:
    """The variables under which Ray Serve's processes run. `free_ports` holds five ports."""
    door = settings.door
    first, last = (
        # One more than the gateway's replicas: Serve counts the descriptions' door, which listens
        # at a port of its own, among them.
        (door.port, door.port + door.replicas + settings.describe.is_on)
        if door.kind == "direct"
        else _HAPROXY_REPLICA_PORTS
    )
    lean = {
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_AUTH_MODE": "token",
        "RAY_DEDUP_LOGS": "0",
        "RAY_worker_niceness": "0",  # Ray's is 15: any busy process would starve the door
        "RAY_enable_metrics_collection": "0",  # ours are served by the gateway itself
        # The gateway's replica serves gRPC itself, in the loop where its code runs: 0.6 ms instead
        # of 2.9 ms a call.
        "RAY_SERVE_ENABLE_DIRECT_INGRESS": "1",
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(first),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(last),
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": str(_DRAIN_S),
        "RAY_SERVE_GRPC_MAX_MESSAGE_SIZE": str(_GRPC_MESSAGE_BYTES),
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": str(settings.ray.control_interval_s),
    }
    if not settings.ray.address:
        # Ray takes the machine's outer address for its own otherwise, whatever it is told, and
        # listens on every interface (its switch for systems on which it knows no cluster).
        lean["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if door.kind == "direct":
        # A replica that was replaced comes back on the port that clients know.
        return lean | {"RAY_SERVE_PORT_QUARANTINE_S": "0"}
    return lean | _haproxy_environment(scratch, free_ports)


def _haproxy_environment(scratch: str, free_ports: list[int]) -> dict[str, str]:
    names = (
        "RAY_SERVE_HAPROXY_METRICS_PORT",
        "RAY_SERVE_HAPROXY_STATS_PORT",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT",
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT",
    )
    ports = {name: str(port) for name, port in zip(names, free_ports, strict=False)}
    own = [ports[name] for name in names[:2]]
    return ports | {
        "RAY_SERVE_HAPROXY_BINARY_PATH": write_program(scratch, own),
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Short names: Serve puts 57 bytes between folder and file, HAProxy allows 97 for a socket.
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{scratch}/h/cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{scratch}/h/a",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": f"{scratch}/h",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{scratch}/h/state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{scratch}/h/m",
    }


class DoorGateway(Gateway):
    """The gateway as Ray Serve makes it: one per replica process."""

    async def __init__(self, settings: Settings) -> None:  # type: ignore[misc]  # Serve awaits it
        from ray import serve

        # Of this node: on one machine the same as the rank; a pod's first replica is its number 0.
        rank = serve.get_replica_context().rank.local_rank
        log_to_file(settings.logs_dir / f"gateway-{rank}.jsonl", settings.log_level)
        port = settings.door.port if settings.door.kind == "direct" else None
        listen_on(settings.door.host, server_credentials(settings.door), port=port)
        try:
            await super().__init__(self._opener(settings), settings.door)
        except VitrineError as error:
            logger.error("the gateway cannot start: %s", error)  # Serve tells only that it did not
            raise
        serve_metrics(self._service.telemetry, settings, rank)
        # What lives as long as the replica is left out of every later collection: walking Ray's
        # and our tables takes tens of milliseconds, in which no call is answered.
        gc.collect()
        gc.freeze()

    def _opener(self, settings: Settings) -> OpenService:
        return partial(open_service, settings)


def serve_metrics(telemetry: Telemetry, settings: Settings, rank: int) -> None:
    """At the port that the settings name for this replica, else at a free one; tells which."""
    door = settings.door
    try:
        port = telemetry.serve_metrics(door.host, door.metrics_port + rank)
    except OSError as error:  # a replica that is being replaced may still hold it
        port = telemetry.serve_metrics(door.host, 0)
        logger.warning("metrics are on port %d: %s", port, error)
    told = StateFolder(settings.state_dir).metrics_address(rank)
    try:
        told.parent.mkdir(parents=True, exist_ok=True)
        told.write_text(f"{door.host}:{port}")
    except OSError as error:
        logger.error("the address of the metrics cannot be told: %s", error)


def listen_on(
    host: str, credentials: grpc.ServerCredentials | None, *, port: int | None = None
) -> None:
    """Has this process's Serve listen on `host` alone, and with TLS if there are credentials.

    At `port`, if it is given, together with the other replicas of this machine: the kernel spreads
    the connections over them. Else at the port that Serve has chosen. By itself Serve listens on
    every interface, plainly and alone, and has no option for any of it (2.60). The function
    replaced is the one that it keeps replaceable; the server's class is taken from where Serve
    looks it up.
    """
    from ray.serve._private import default_impl, grpc_util

    replaceable: Any = default_impl
    if not callable(getattr(replaceable, "add_grpc_address", None)):
        raise TypeError("ray.serve no longer binds its gRPC server through add_grpc_address")

    def add_grpc_address(grpc_server: Any, server_address: str) -> None:
        address = f"{host}:{port or server_address.rpartition(':')[2]}"
        if credentials is None:
            grpc_server.add_insecure_port(address)
        else:
            grpc_server.add_secure_port(address, credentials)

    replaceable.add_grpc_address = add_grpc_address
    if port is not None:
        sharing: Any = grpc_util
        sharing.gRPCGenericServer = _sharing_its_port(sharing.gRPCGenericServer)


def _sharing_its_port(server_class: Any) -> Any:
    """Serve's server, but for its insisting on a port of its own."""

    class SharingServer(server_class):  # type: ignore[misc]
        def __init__(self, factory: Any, *, extra_options: Any = None) -> None:
            kept = [option for option in extra_options or () if option[0] != _REUSE_PORT]
            super().__init__(factory, extra_options=[*kept, (_REUSE_PORT, 1)])

    return SharingServer


def replica_resources(settings: Settings) -> dict[str, float]:
    """What Ray sets aside for one replica; a GPU only where the index lies on one."""
    gpu = {"num_gpus": settings.gpu.share} if settings.gpu.index == "gpu" else {}
    return {"num_cpus": 1, **gpu}


def gateway_application(
    gateway: type,
    door: DoorSettings,
    *arguments: Any,
    resources: Mapping[str, float] = MappingProxyType({"num_cpus": 1}),
) -> Any:
    """The Serve application of a gateway class, made with `arguments` in each replica."""
    from ray import serve

    deployment: Any = serve.deployment(gateway)
    return deployment.options(
        name="gateway",
        num_replicas=door.replicas,
        max_ongoing_requests=_SERVE_CALLS,
        max_queued_requests=_SERVE_CALLS,
        graceful_shutdown_timeout_s=3.0,
        graceful_shutdown_wait_loop_s=0.1,
        health_check_period_s=2.0,
        health_check_timeout_s=10.0,
        ray_actor_options=dict(resources),
        logging_config={"enable_access_log": False},  # the gateway writes a fuller line itself
    ).bind(*arguments)
