"""Every port that a stack listens on, and what it says to a stranger."""

import http.client
import ipaddress
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import grpc
import psutil

# One question for each kind of server that Ray runs, and the door's own.
_QUESTIONS = (
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.JobInfoGcsService/GetAllJobInfo",
    "/ray.rpc.InternalKVGcsService/InternalKVKeys",
    "/ray.rpc.NodeManagerService/GetSystemConfig",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/GetCoreWorkerStats",
    "/ray.rpc.CoreWorkerService/PushTask",
    "/ray.serve.ASGIService/HandleRequest",
    "/ray.rpc.ReporterService/GetTraceback",
    "/ray.rpc.LogService/ListLogs",
    "/vitrine.v1.Recommendations/Recommend",
    "/vitrine.v1.Recommendations/SuggestPrice",
    "/inference.GRPCInferenceService/RepositoryModelUnload",
)
_PATHS = ("/", "/metrics", "/v2/repository/index", "/api/version", "/get_or_create_runtime_env")
_NO_PROXY = (("grpc.enable_http_proxy", 0),)
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Listening:
    """One socket that waits for connections."""

    host: str
    port: int
    program: str

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it."""
        address = ipaddress.ip_address(self.host)
        mapped = getattr(address, "ipv4_mapped", None)
        return (mapped or address).is_loopback

    @property
    def reached_at(self) -> str:
        """Where this machine reaches it."""
        address = ipaddress.ip_address(self.host)
        mapped = getattr(address, "ipv4_mapped", None)
        host = "127.0.0.1" if address.is_unspecified else str(mapped or address)
        return f"{host}:{self.port}"

    def answers(self) -> list[str]:
        """What a stranger without any token gets from it; nothing, if all is well."""
        return [*self._grpc_answers(), *self._http_answers()]

    def code(self, question: str) -> grpc.StatusCode:
        """With what it refuses one question; OK if it does not."""
        with grpc.insecure_channel(self.reached_at, _NO_PROXY) as channel:
            try:
                channel.unary_unary(question)(b"", timeout=3.0)
            except grpc.RpcError as error:
                found: grpc.StatusCode = error.code()
                return found
        return grpc.StatusCode.OK

    def _grpc_answers(self) -> Iterator[str]:
        with grpc.insecure_channel(self.reached_at, _NO_PROXY) as channel:
            for question in _QUESTIONS:
                try:
                    channel.unary_unary(question)(b"", timeout=3.0)
                except grpc.RpcError as error:
                    if error.code() not in _REFUSED:
                        yield f"gRPC {question}: {error.code().name} {error.details()}"
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        return  # it does not speak gRPC
                else:
                    yield f"gRPC {question}: OK"

    def _http_answers(self) -> Iterator[str]:
        for path in _PATHS:
            for body in (None, b"{}"):
                request = urllib.request.Request(f"http://{self.reached_at}{path}", data=body)
                try:
                    with _OPENER.open(request, timeout=3.0) as reply:
                        yield f"HTTP {path}: {reply.status}"
                except urllib.error.HTTPError as error:
                    error.close()
                    if error.code not in (401, 403, 404, 405):
                        yield f"HTTP {path}: {error.code}"
                except (OSError, ValueError, http.client.HTTPException):
                    return  # it does not speak HTTP


# UNIMPLEMENTED: there is no such method; the others came no further than the guard.
_REFUSED = frozenset(
    {
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAVAILABLE,
    }
)


def listening(processes: Iterable[psutil.Process]) -> list[Listening]:
    """Every TCP socket on which one of these waits."""
    found: dict[tuple[str, int], Listening] = {}
    for process in processes:
        try:
            name = process.name()
            sockets = process.net_connections(kind="tcp")
        except psutil.Error:  # gone meanwhile
            continue
        for each in sockets:
            if each.status == psutil.CONN_LISTEN:
                key = (each.laddr.ip, each.laddr.port)
                found[key] = Listening(each.laddr.ip, each.laddr.port, name)
    return sorted(found.values(), key=lambda each: each.port)
