"""Tokens: what a reply gives the caller to hand back, signed so that nobody can make one up.

An attribution token ties later events to the list they came from. A page token pins a whole order,
so that the next page continues it although nothing is kept on our side. Both are

    base64url( version | kind | expires_ms | body | HMAC-SHA256 over all before )

without padding. They are signed, not encrypted: whoever holds one can read rows, values and
propensities, all of which the reply showed in the clear anyway.

Shapes: K shown products, M products of a pinned order, X of them with a propensity other than 1,
L losses.
"""

import base64
import binascii
import hashlib
import hmac
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shop.errors import InvalidRequest

TOKEN_VERSION = 1
FINGERPRINT_BYTES = 16
MAX_TOKEN_CHARS = 16_384  # a page of 500 products with every propensity below 1 takes 11,700
_SIGNATURE_BYTES = 32
_MARKS_BYTES = 3_000  # of rules' names; with them the longest page still keeps to its limit
_HEAD = struct.Struct(">BBQ")  # version, kind, expires_ms
_PAGE = struct.Struct(">HHH")  # offset, M, X
_COUNT = struct.Struct(">H")
# 1: pages without marks; 3: pages with room for eight sources
_KINDS: dict[str, int] = {"page_token": 4, "attribution_token": 2}

TokenField = Literal["page_token", "attribution_token"]
_AFTER_EXPIRY: dict[TokenField, str] = {
    "page_token": "ask for the first page again",
    "attribution_token": "send the event without it",
}


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """The rest of a list that was already ordered: later pages come from it, unchanged."""

    release: str
    expires_ms: int
    offset: int  # the first position not shown yet
    rows: NDArray[np.int64]  # [M] the whole order, as catalogue rows of `release`
    values: NDArray[np.float32]  # [M]
    propensities: NDArray[np.float32]  # [M] probability of this product at this position
    moved: NDArray[np.uint8]  # [M] as `Slate.moved`
    sources: NDArray[np.uint16]  # [M] a bit for every source that proposed the product
    losses: tuple[tuple[str, str], ...]  # [L] what the order was made without: stage and reason
    # By catalogue row: rules of the book that moved the product, if the first page was asked to
    # explain. What the token has no room for is left out, the last products' first.
    marks: Mapping[int, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Attribution:
    """Which list was shown, by whom it was made, and how likely each product was in its place."""

    request_id: str
    release: str
    arms: tuple[str, ...]
    expires_ms: int
    rows: NDArray[np.int64]  # [K] catalogue rows of `release`, in the order shown
    propensities: NDArray[np.float32]  # [K]


def request_fingerprint(
    *, placement: str, shopper: str, filter_text: str, strict: bool, wishes: Sequence[str] = ()
) -> bytes:
    """What must stay the same from page to page, as FINGERPRINT_BYTES bytes.

    `wishes` are the boosts and promotions, each as a text.
    """
    parts = (placement, shopper, filter_text, str(strict), *wishes)
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode()
        digest.update(_COUNT.pack(len(raw) % 65_536) + raw)  # lengths keep "a"+"bc" from "ab"+"c"
    return digest.digest()[:FINGERPRINT_BYTES]


def encode_page(page: Page, key: bytes, *, fingerprint: bytes) -> str:
    """The token that continues `page` for requests with this `fingerprint`."""
    odd = np.flatnonzero(page.propensities != 1.0)  # almost always few: only exploration makes them
    body = b"".join(
        (
            fingerprint,
            _text(page.release),
            _PAGE.pack(page.offset, page.rows.size, odd.size),
            page.rows.astype(">u4").tobytes(),
            page.values.astype(">f4").tobytes(),
            odd.astype(">u2").tobytes(),
            page.propensities[odd].astype(">f4").tobytes(),
            page.moved.tobytes(),
            page.sources.astype(">u2").tobytes(),
            _COUNT.pack(len(page.losses)),
            *(_text(part) for loss in page.losses for part in loss),
            _marks(page),
        )
    )
    return _sealed("page_token", page.expires_ms, body, key)


def decode_page(token: str, key: bytes, *, fingerprint: bytes, now_ms: int) -> Page:
    """Raises InvalidRequest("page_token", …) if foreign, damaged, expired or of another request."""
    field: TokenField = "page_token"
    expires_ms, body = _opened(field, token, key, now_ms)
    if not hmac.compare_digest(body.take(FINGERPRINT_BYTES), fingerprint):
        raise InvalidRequest(
            field,
            "belongs to a request with another placement, shopper, filter, boost or promotion",
        )
    release = body.text()
    offset, count, odd_count = _PAGE.unpack(body.take(_PAGE.size))
    rows = body.array(">u4", count).astype(np.int64)
    values = body.array(">f4", count).astype(np.float32)
    odd = body.array(">u2", odd_count).astype(np.intp)
    propensities = np.ones(count, dtype=np.float32)
    propensities[odd] = body.array(">f4", odd_count)
    moved = body.array("u1", count).astype(np.uint8)
    sources = body.array(">u2", count).astype(np.uint16)
    losses = tuple((body.text(), body.text()) for _ in range(body.count()))
    marks = _read_marks(body, rows)
    return Page(
        release, expires_ms, offset, rows, values, propensities, moved, sources, losses, marks
    )


def _marks(page: Page) -> bytes:
    """Which rules moved which product: every combination once, and a byte for each product.

    Nothing at all if no rule did.
    """
    if not page.marks:
        return b""
    told: dict[tuple[str, ...], int] = {(): 0}
    texts: list[bytes] = []
    room = _MARKS_BYTES
    which = bytearray(page.rows.size)
    for at, row in enumerate(page.rows.tolist()):
        marks = page.marks.get(row, ())
        if marks not in told:
            raw = "\n".join(marks).encode()
            room -= len(raw) + _COUNT.size
            if room < 0 or len(told) == 256:
                break
            told[marks] = len(told)
            texts.append(_COUNT.pack(len(raw)) + raw)
        which[at] = told[marks]
    return b"".join((_COUNT.pack(len(texts)), *texts, which))


def _read_marks(body: "_Body", rows: NDArray[np.int64]) -> Mapping[int, tuple[str, ...]]:
    if body.is_read():
        return {}
    texts = [body.take(body.count()).decode() for _ in range(body.count())]
    told: list[tuple[str, ...]] = [(), *(tuple(text.split("\n")) for text in texts)]
    which = body.take(rows.size)
    return {row: told[at] for row, at in zip(rows.tolist(), which, strict=True) if at}


def encode_attribution(attribution: Attribution, key: bytes) -> str:
    """The token to hand back with the events that follow from this list."""
    body = b"".join(
        (
            _text(attribution.request_id),
            _text(attribution.release),
            _COUNT.pack(len(attribution.arms)),
            *(_text(arm) for arm in attribution.arms),
            _COUNT.pack(attribution.rows.size),
            attribution.rows.astype(">u4").tobytes(),
            attribution.propensities.astype(">f4").tobytes(),
        )
    )
    return _sealed("attribution_token", attribution.expires_ms, body, key)


def decode_attribution(token: str, key: bytes, *, now_ms: int) -> Attribution:
    """Raises InvalidRequest("attribution_token", …) if foreign, damaged or expired."""
    expires_ms, body = _opened("attribution_token", token, key, now_ms)
    request_id, release = body.text(), body.text()
    arms = tuple(body.text() for _ in range(body.count()))
    count = body.count()
    rows = body.array(">u4", count).astype(np.int64)
    propensities = body.array(">f4", count).astype(np.float32)
    return Attribution(request_id, release, arms, expires_ms, rows, propensities)


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > 255:
        raise ValueError(f"{value[:40]!r}… has {len(raw)} bytes, a token carries at most 255")
    return bytes([len(raw)]) + raw


def _sealed(field: TokenField, expires_ms: int, body: bytes, key: bytes) -> str:
    signed = _HEAD.pack(TOKEN_VERSION, _KINDS[field], expires_ms) + body
    raw = signed + hmac.digest(key, signed, hashlib.sha256)
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _opened(field: TokenField, token: str, key: bytes, now_ms: int) -> tuple[int, "_Body"]:
    """Expiry and body, once the signature holds: nothing is parsed before that."""
    if len(token) > MAX_TOKEN_CHARS:
        raise InvalidRequest(field, f"is longer than {MAX_TOKEN_CHARS} characters")
    try:
        padded = token.encode("ascii") + b"=" * (-len(token) % 4)
        raw = base64.b64decode(padded, altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise InvalidRequest(field, "is damaged: hand it back exactly as it was given") from error
    signed, signature = raw[:-_SIGNATURE_BYTES], raw[-_SIGNATURE_BYTES:]
    if len(signed) < _HEAD.size:
        raise InvalidRequest(field, "is damaged: hand it back exactly as it was given")
    if not hmac.compare_digest(hmac.digest(key, signed, hashlib.sha256), signature):
        raise InvalidRequest(field, "is damaged, or was not made by this shop")
    version, kind, expires_ms = _HEAD.unpack_from(signed)
    if (version, kind) != (TOKEN_VERSION, _KINDS[field]):
        raise InvalidRequest(field, f"is no {field} of version {TOKEN_VERSION}")
    if now_ms >= expires_ms:
        raise InvalidRequest(field, f"expired: {_AFTER_EXPIRY[field]}")
    return int(expires_ms), _Body(signed[_HEAD.size :])


class _Body:
    """Reads a token's body front to back. The signature held, so a misfit is our own bug."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def take(self, count: int) -> bytes:
        piece = self._raw[self._at : self._at + count]
        if len(piece) != count:
            raise ValueError("a signed token is shorter than its counts say")
        self._at += count
        return piece

    def is_read(self) -> bool:
        return self._at == len(self._raw)

    def count(self) -> int:
        return int(_COUNT.unpack(self.take(_COUNT.size))[0])

    def text(self) -> str:
        return self.take(self.take(1)[0]).decode()

    def array(self, dtype: str, count: int) -> NDArray[np.generic]:
        return np.frombuffer(self.take(np.dtype(dtype).itemsize * count), dtype=dtype)
