"""Webhooks: every decision about a text told to whoever asked for it, signed, until it arrives.

Messages lie in an outbox that is written in the transaction of what they tell, so none is lost and
each may come more than once: `webhook-id` says which is which. The signature is that of the
Standard Webhooks scheme: HMAC-SHA256 over "id.timestamp.body", in base64, after "v1,".
"""

import base64
import hashlib
import hmac
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from serving.describe.versions import Outbox, OutMessage
from shop.errors import DependencyError

logger = logging.getLogger(__name__)

_AT_ONCE = 20
_FIRST_WAIT_MS = 1_000
_LONGEST_WAIT_MS = 3_600_000
FRESH_FOR_S = 300  # a receiver refuses what was signed longer ago: it may be a replay


class WebhookSender(Protocol):
    """Posts one message."""

    async def send(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Returns once the receiver took it (2xx). Raises DependencyTimeout or -Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class Signature:
    """What a message is signed with."""

    key: bytes

    def of(self, message_id: str, timestamp_s: int, body: bytes) -> str:
        """The value of `webhook-signature`."""
        signed = f"{message_id}.{timestamp_s}.".encode() + body
        return "v1," + base64.b64encode(hmac.digest(self.key, signed, hashlib.sha256)).decode()

    def is_genuine(self, headers: Mapping[str, str], body: bytes, *, now_s: int) -> bool:
        """What a receiver asks: whether we sent this, unchanged, and just now."""
        stamp = headers.get("webhook-timestamp", "")
        if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
            return False
        if abs(now_s - int(stamp)) > FRESH_FOR_S:
            return False
        expected = self.of(headers.get("webhook-id", ""), int(stamp), body)
        given = headers.get("webhook-signature", "").split(" ")
        return any(hmac.compare_digest(expected.encode(), each.encode()) for each in given)


async def deliver_due(
    outbox: Outbox, sender: WebhookSender, signature: Signature, *, now_ms: int
) -> int:
    """Tries what is due, oldest first; returns how many arrived. What did not is tried later."""
    arrived = 0
    for message in await outbox.due(now_ms=now_ms, limit=_AT_ONCE):
        body = message.body.encode()
        try:
            await sender.send(body, _headers(message, body, signature, now_ms // 1000))
        except DependencyError as error:
            wait_ms = wait_after(message.attempts)
            logger.warning(
                "webhook %s not taken, again in %d ms: %s", message.message_id, wait_ms, error
            )
            await outbox.postponed(message.message_id, until_ms=now_ms + wait_ms)
        else:
            await outbox.delivered(message.message_id, now_ms=now_ms)
            arrived += 1
    return arrived


def wait_after(attempts: int) -> int:
    """Milliseconds until the next try, twice as long each time, an hour at most."""
    return min(_FIRST_WAIT_MS << min(attempts, 20), _LONGEST_WAIT_MS)


def _headers(
    message: OutMessage, body: bytes, signature: Signature, timestamp_s: int
) -> Mapping[str, str]:
    return {
        "content-type": "application/json",
        "webhook-id": message.message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature.of(message.message_id, timestamp_s, body),
    }
