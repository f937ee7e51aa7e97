"""Describe settings: what may differ between two shops whose pages are written here."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class DescribeSettings:
    """Descriptions: their door, what they are made from, where they are kept, who hears of them."""

    is_on: bool = False  # `vitrine up` turns it on where the shop has product data
    port: int = 9010  # of the descriptions' own gRPC door, on door.host; 0 takes any
    metrics_port: int = 0  # of its figures, on door.host; 0: none, as on one machine
    # The folder with products.parquet and events.parquet; "" only where is_on is false.
    snapshot: str = ""
    specifications: str = ""  # a Parquet table of product_id, name, value, unit; "": there is none
    brand: Path = Path("descriptions/brand.npz")  # inside the state folder, unless absolute
    # The model that tells spoilt photos; trained by `python -m training.photo_quality`.
    photo_quality: Path = Path("descriptions/photo_quality.npz")
    style: str = ""  # TOML with the house style and [category.NAME] tables; "": the built-in one
    store: Literal["sqlite", "postgres"] = "sqlite"  # postgres: of a cluster
    file: Path = Path("descriptions/versions.sqlite")  # inside the state folder, unless absolute
    postgres: str = field(
        default="", repr=False, metadata={"secret": True}
    )  # its address, with the password
    webhook_url: str = ""  # who is told of every decision; "": nobody
    max_tokens: int = 600
    # 0.4: the lowest that does not repeat itself when a draft is written again with another seed.
    temperature: float = 0.4
    # Whether the answer's grammar copies the names and values of a specification. Turn it off for a
    # large model that is to write freely.
    binds_wording: bool = True
    at_once: int = 8  # texts written at once; more wait
    # How often the doors of lists look which texts are shown, for `description_version`.
    lists_look_every_s: float = 5.0
    # SpamAssassin's command, which reads every campaign; without it campaigns wait unread, and say
    # so. Its points depend on the sender, so name the address that your letters really come from.
    spam_filter: str = "spamassassin"
    sender: str = "shop@example.com"

    def __post_init__(self) -> None:
        _require(0 <= self.port <= 65_535, "port: must be 0 to 65535")
        _require(0 <= self.metrics_port <= 65_535, "metrics_port: must be 0 to 65535")
        _require(not self.is_on or bool(self.snapshot), "snapshot: must be given if is_on is true")
        _require(
            self.store != "postgres" or bool(self.postgres),
            "postgres: must be given if store is postgres",
        )
        _require(
            not self.webhook_url or self.webhook_url.startswith(("http://", "https://")),
            "webhook_url: must be an http:// or https:// address",
        )
        _require(50 <= self.max_tokens <= 4_096, "max_tokens: must be 50 to 4096")
        _require(0.0 <= self.temperature <= 2.0, "temperature: must be 0 to 2")
        _require(0.1 <= self.lists_look_every_s <= 3_600, "lists_look_every_s: must be 0.1 to 3600")
        _require(bool(self.spam_filter), "spam_filter: must be a command")
        _require(
            re.fullmatch(r"[\w.+-]+@[\w-]+(\.[\w-]+)+", self.sender, re.ASCII) is not None,
            "sender: must be an e-mail address",
        )
        _require(1 <= self.at_once <= 256, "at_once: must be 1 to 256")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
