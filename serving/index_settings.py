"""Index settings: whether the index lies in the gateway's replicas or in shards of its own."""

from dataclasses import dataclass

_MOST_SHARDS = 64  # one call asks them all


@dataclass(frozen=True, slots=True)
class IndexSettings:
    """Where the vectors of all products are searched. docs/operations.md says when to part them."""

    # 0: in every replica, whole. Else in so many processes, each with its part of every index.
    shards: int = 0
    # host:port of each, shard 0 first. None: `vitrine up` starts them and says where.
    addresses: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _require(0 <= self.shards <= _MOST_SHARDS, f"shards: must be 0 to {_MOST_SHARDS}")
        _require(
            len(self.addresses) in (0, self.shards),
            f"addresses: must name all {self.shards} shards, or none of them",
        )
        _require(len(set(self.addresses)) == len(self.addresses), "addresses: must name each once")
        for address in self.addresses:
            host, _, port = address.rpartition(":")
            is_port = port.isascii() and port.isdigit() and 0 < int(port) <= 65_535
            _require(bool(host) and is_port, "addresses: must each be host:port")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
