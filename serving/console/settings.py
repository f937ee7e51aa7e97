"""Console settings: where the web page listens, for whom, and which doors it asks."""

import ipaddress
from dataclasses import dataclass

_LONGEST_SESSION_HOURS = 24.0 * 7


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """The web page for merchandisers and operators."""

    is_on: bool = True  # whether `vitrine up` starts it
    host: str = "127.0.0.1"  # this machine alone; another one needs `names`
    port: int = 9020  # 0 takes any that is free
    # Under which names browsers reach it beside the loopback's: "console.shop" or "10.0.0.7:9020".
    # A request for another name is refused, so that no page elsewhere can pose as this one (DNS).
    names: tuple[str, ...] = ()
    behind_tls: bool = False  # true behind a proxy that ends TLS: cookies never leave it then
    session_hours: float = 12.0  # a working day; then the token is asked for again
    # The doors it asks, as host:port; "": those of this machine's settings.
    recommendations: str = ""
    descriptions: str = ""
    # Our token, for doors that ask for one: `vitrine token create console --scope shop --scope
    # merchandiser --out FILE`.
    token_file: str = ""
    # PEM files, for doors that speak TLS.
    tls_ca: str = ""
    tls_certificate: str = ""
    tls_key: str = ""

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65_535, "port: must be 0 to 65535")
        _require(
            bool(self.names) or _is_loopback(self.host),
            "host: beyond this machine it needs `names`, under which browsers reach it",
        )
        _require(
            0 < self.session_hours <= _LONGEST_SESSION_HOURS,
            f"session_hours: must be above 0, at most {_LONGEST_SESSION_HOURS:g}",
        )
        _require(
            bool(self.tls_certificate) == bool(self.tls_key),
            "tls_key: must be given with tls_certificate, and only with it",
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
