"""Settings: everything about serving that may differ between two machines, and what is allowed.

`serving.settings_reader` reads them. Bounds raise ValueError, naming the setting first.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from serving.adapters.feedback_log import FeedbackSettings
from serving.adapters.redis_settings import RedisSettings
from serving.admission import AdmissionSettings
from serving.assist.settings import AssistSettings
from serving.console.invitation import key_file
from serving.console.settings import ConsoleSettings
from serving.describe.settings import DescribeSettings
from serving.index_settings import IndexSettings
from serving.recommend.settings import RecommendSettings
from serving.writer_settings import WriterSettings


@dataclass(frozen=True, slots=True)
class DoorSettings:
    """The gRPC door that storefronts call."""

    host: str = "127.0.0.1"  # who may reach the door; 0.0.0.0 behind a cluster's own network
    port: int = 9000  # 0 takes any that is free
    # direct: every replica listens on `port` itself, and the kernel gives each connection to one.
    # haproxy: a proxy in front spreads calls, not connections, for 0.1 ms and 0.4 GB more.
    kind: Literal["direct", "haproxy"] = "direct"
    # One process has one event loop, so one core. On two cores, at 140 calls/s in an hour when the
    # machine was slow: p50 1,162 ms with one replica, 127 ms with two, alternating.
    replicas: int = 2
    # Of one replica, at about 3 ms of CPU each: more at once finish no sooner, and all late.
    # 150 calls/s on two cores with five other busy processes: p99 166 ms with 4, 128 with 8, 525
    # with 12; alone it hardly matters. Who waited too long gets a fallback, at half the cost.
    concurrent_calls: int = 8
    queued_calls: int = 64
    streams: int = 4  # RecommendMany calls at once
    many_at_once: int = 2  # lists of one RecommendMany at once: interactive calls go between
    # SuggestPrice calls at once, apart from the lists': they may wait 0.2 s for a feed that stalls.
    price_calls: int = 2
    metrics_port: int = 9464  # of the first replica, the next have the next; 0 takes any
    warm_within_s: float = 30.0  # how long the start waits for a first good answer
    # TLS: PEM files, read again when they were replaced. Without them the door speaks plainly: for
    # the loopback, or behind a proxy or mesh that encrypts.
    tls_certificate: str = ""  # the chain, the door's own first
    tls_key: str = ""
    tls_client_ca: str = ""  # if given, only clients with a certificate from there are heard
    # Who may call. auto: whoever has a token, unless the door is on the loopback; tokens: that,
    # there too; anyone: whoever reaches the door, as behind a gateway that asks for tokens itself.
    callers: Literal["auto", "tokens", "anyone"] = "auto"
    tokens_file: str = ""  # "": keys/callers.json of the state folder; see `vitrine token`
    audit_file: str = ""  # "": audit.jsonl of the state folder
    admission: AdmissionSettings = field(default_factory=AdmissionSettings)

    def __post_init__(self) -> None:
        for name in ("port", "metrics_port"):
            _require(0 <= getattr(self, name) <= 65_535, f"{name}: must be 0 to 65535")
        for name in (
            "replicas",
            "concurrent_calls",
            "queued_calls",
            "streams",
            "many_at_once",
            "price_calls",
        ):
            _require(getattr(self, name) >= 1, f"{name}: must be at least 1")
        _require(self.warm_within_s > 0, "warm_within_s: must be above 0")
        _require(
            bool(self.tls_certificate) == bool(self.tls_key),
            "tls_key: must be given with tls_certificate, and only with it",
        )
        _require(
            bool(self.tls_certificate) or not self.tls_client_ca,
            "tls_client_ca: does nothing without tls_certificate",
        )
        _require(
            self.kind == "direct" or not self.tls_certificate,
            "tls_certificate: is for doors of kind direct; in front of haproxy, end TLS at a proxy"
            " or mesh",
        )

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the door."""
        return self.host == "localhost" or self.host == "::1" or self.host.startswith("127.")

    @property
    def needs_tokens(self) -> bool:
        """Whether callers must show a token."""
        return self.callers == "tokens" or (self.callers == "auto" and not self.is_local)

    @property
    def speaks_tls(self) -> bool:
        """Whether clients must speak TLS."""
        return bool(self.tls_certificate)


@dataclass(frozen=True, slots=True)
class RaySettings:
    """The Ray cluster under the door; a local one unless an address is given."""

    address: str = ""  # of a running cluster; "" starts one here
    # Requests never pass through it; Ray refuses less than 75 MB.
    object_store_mb: int = 80
    control_interval_s: float = 0.5  # Ray's own 0.1 s costs 3 % of a core for nothing here

    def __post_init__(self) -> None:
        _require(self.object_store_mb >= 75, "object_store_mb: must be at least 75")
        _require(self.control_interval_s > 0, "control_interval_s: must be above 0")


@dataclass(frozen=True, slots=True)
class TritonSettings:
    """Where the models are."""

    address: str = "127.0.0.1:8000"  # its HTTP port

    def __post_init__(self) -> None:
        _require_address("address", self.address)


@dataclass(frozen=True, slots=True)
class GpuSettings:
    """What the door's replicas do with a GPU; engines are Triton's. docs/operations.md"""

    index: Literal["cpu", "gpu"] = "cpu"  # `vitrine up --profile gpu` sets gpu
    # Of one GPU, for each replica, as Ray counts: it limits how many share one, not their memory.
    # Room for a replica that takes over must be left: 2 replicas want at most a third each.
    share: float = 0.25
    reserve_mb: int = 1024  # of device memory, left to engines beside the index
    max_batch: int = 64  # searches at once; none waits for company
    # A catalogue of more rows has an approximate index of this kind built on the GPU; exact search
    # of ten million takes 0.3 ms at the memory's speed. "": the release's own, whatever it is.
    large_rows: int = 10_000_000
    large_index: Literal["", "ivf_pq", "cagra"] = ""

    def __post_init__(self) -> None:
        _require(0 < self.share <= 1, "share: must be above 0, at most 1")
        _require(self.reserve_mb >= 0, "reserve_mb: must not be negative")
        _require(self.max_batch >= 1, "max_batch: must be at least 1")
        _require(self.large_rows >= 1, "large_rows: must be at least 1")


@dataclass(frozen=True, slots=True)
class BusinessSettings:
    """Where the shop's own systems are."""

    inventory: str = "127.0.0.1:9101"
    pricing: str = "127.0.0.1:9101"
    promotions: str = "127.0.0.1:9101"
    costs: str = "127.0.0.1:9101"
    supply: str = "127.0.0.1:9101"

    def __post_init__(self) -> None:
        for name in self.__slots__:
            _require_address(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Where the feeds are: those behind price suggestions, and those of the shop's surroundings."""

    competitors: str = "127.0.0.1:9102"
    demand: str = "127.0.0.1:9102"
    calendar: str = "127.0.0.1:9102"
    weather: str = ""  # "": there is none, and a rule that asks for it never holds
    trends: str = ""

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if name not in ("weather", "trends") or getattr(self, name):
                _require_address(name, getattr(self, name))


@dataclass(frozen=True, slots=True)
class HistoriesSettings:
    """Who keeps the shoppers' histories."""

    # lmdb: the replicas of one machine share a file. redis: those of a cluster share a server.
    store: Literal["lmdb", "redis"] = "lmdb"


@dataclass(frozen=True, slots=True)
class RulesSettings:
    """Where the rule book is; docs/rules.md says what it may hold."""

    # Inside the state folder, unless the path is absolute. Without this file there are no rules; a
    # file that was named here must be there.
    file: Path = Path("rules.toml")
    # What replicas go by is agreed upon, and they turn to it at once. file: those of a machine, in
    # its state folder; other machines go by their own file. redis: all; a machine's file that
    # changes is published there.
    store: Literal["file", "redis"] = "file"
    # One stat; a change is read once it was seen twice, and holds two looks and a half later.
    look_every_s: float = 1.0

    def __post_init__(self) -> None:
        _require(0 < self.look_every_s <= 60, "look_every_s: must be above 0, at most 60")

    @property
    def is_named(self) -> bool:
        """Whether somebody relies on a file being there."""
        return self.file != Path("rules.toml")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything. Paths inside the state folder are fixed, so that operators find them."""

    state_dir: Path = Path(".vitrine")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    # The shop's clock minus this machine's. Data recorded long ago is served in its own time;
    # else every shopper would have been away for years.
    clock_offset_ms: int = 0
    door: DoorSettings = field(default_factory=DoorSettings)
    ray: RaySettings = field(default_factory=RaySettings)
    triton: TritonSettings = field(default_factory=TritonSettings)
    gpu: GpuSettings = field(default_factory=GpuSettings)
    index: IndexSettings = field(default_factory=IndexSettings)
    business: BusinessSettings = field(default_factory=BusinessSettings)
    feeds: FeedSettings = field(default_factory=FeedSettings)
    recommend: RecommendSettings = field(default_factory=RecommendSettings)
    rules: RulesSettings = field(default_factory=RulesSettings)
    feedback: FeedbackSettings = field(default_factory=FeedbackSettings)
    histories: HistoriesSettings = field(default_factory=HistoriesSettings)
    redis: RedisSettings = field(default_factory=RedisSettings)
    describe: DescribeSettings = field(default_factory=DescribeSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    writer: WriterSettings = field(default_factory=WriterSettings)
    assist: AssistSettings = field(default_factory=AssistSettings)

    def __post_init__(self) -> None:
        _require(
            self.histories.store != "redis" or bool(self.redis.url),
            "redis.url: must be given if histories.store is redis",
        )
        _require(
            self.recommend.cache.store != "redis" or bool(self.redis.url),
            "redis.url: must be given if recommend.cache.store is redis",
        )
        _require(
            self.rules.store != "redis" or bool(self.redis.url),
            "redis.url: must be given if rules.store is redis",
        )

        _require(
            self.index.shards == 0 or self.gpu.index == "cpu",
            "index.shards: must be 0 if gpu.index is gpu: a GPU holds the whole index",
        )

    @property
    def releases_dir(self) -> Path:
        """Release folders, and CURRENT."""
        return self.state_dir / "releases"

    @property
    def release_key_file(self) -> Path:
        """Signs releases."""
        return self.state_dir / "keys" / "release.key"

    @property
    def callers_file(self) -> Path:
        """Who has a token for the door."""
        return Path(self.door.tokens_file or self.state_dir / "keys" / "callers.json")

    @property
    def audit_file(self) -> Path:
        """What operators and merchandisers did."""
        return Path(self.door.audit_file or self.state_dir / "audit.jsonl")

    @property
    def token_key_file(self) -> Path:
        """Signs page and attribution tokens."""
        return self.state_dir / "keys" / "token.key"

    @property
    def histories_dir(self) -> Path:
        """Shoppers' histories."""
        return self.state_dir / "histories.lmdb"

    @property
    def feedback_dir(self) -> Path:
        """The event log."""
        return self.state_dir / "feedback"

    @property
    def rules_file(self) -> Path:
        """The rule book."""
        return self.state_dir / self.rules.file

    @property
    def accepted_rules_file(self) -> Path:
        """A copy of the last book that was accepted; the start falls back on it."""
        return self.state_dir / "rules.accepted.toml"

    @property
    def offered_rules_file(self) -> Path:
        """The digest of the rule book that was last published from here."""
        return self.state_dir / "run" / "rules.offered"

    @property
    def machine_rules_file(self) -> Path:
        """The rule book that the replicas of this machine agreed upon, in this run."""
        return self.state_dir / "run" / "rules.agreed"

    @property
    def brand_file(self) -> Path:
        """The brand-compliance model of descriptions."""
        return self.state_dir / self.describe.brand

    @property
    def photo_quality_file(self) -> Path:
        """The model that tells spoilt photos; there need not be one."""
        return self.state_dir / self.describe.photo_quality

    @property
    def versions_file(self) -> Path:
        """Every version of every description, where they are kept embedded."""
        return self.state_dir / self.describe.file

    @property
    def webhook_key_file(self) -> Path:
        """Signs webhook messages; their receiver has a copy."""
        return self.state_dir / "keys" / "webhook.key"

    @property
    def console_key_file(self) -> Path:
        """Opens the console: its content is the token that people log in with."""
        return key_file(self.state_dir)

    @property
    def logs_dir(self) -> Path:
        """One line per request."""
        return self.state_dir / "logs"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _require_address(name: str, value: str) -> None:
    host, _, port = value.rpartition(":")
    is_port = port.isascii() and port.isdigit() and 0 < int(port) <= 65_535
    _require(bool(host) and is_port, f"{name}: must be host:port")
