"""Rules sharing: how the replicas of a cluster agree on one rule book, and turn to it at once.

The book in force is the one that all of them see (in Redis). A machine's rule file is how a book
gets there: whoever finds that file changed proposes it, and it gets the next epoch and a moment a
little ahead, from which every replica goes by it. Until then they have it read and fitted. If what
is shared is lost, replicas put back what they go by; the highest epoch stays.
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from serving.adapters.rule_files import RuleText, keep_copy

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SharedBook:
    """A rule book as replicas share it."""

    epoch: int  # 1 and up: which of two is the later
    sha256: str
    from_ms: int  # Unix ms from which everybody goes by it
    raw: bytes


class SharedRules(Protocol):
    """Where replicas see each other's rule books. Raises DependencyError. Not for an event loop."""

    def read(self, known: SharedBook | None) -> SharedBook | None:
        """The book; `known` itself if it still is the one. None if there is none."""
        ...

    def publish(self, raw: bytes, sha256: str, *, from_ms: int) -> None:
        """It is the book from now on, with the next epoch, unless it was already."""
        ...

    def restore(self, book: SharedBook) -> None:
        """Puts it back with its epoch, unless one of a later epoch is there."""
        ...


class RuleSharing:
    """One replica's part in it."""

    def __init__(
        self,
        shared: SharedRules,
        offered_file: Path,
        now_ms: Callable[[], int],
        *,
        lead_ms: int,
    ) -> None:
        """`offered_file` keeps the digest of the last file that was proposed here.

        `lead_ms`: how long a book is known before it holds; every replica is to look within it.
        """
        self._shared = shared
        self._offered_file = offered_file
        self._now_ms = now_ms
        self._lead_ms = lead_ms
        self._proposal: RuleText | None = None
        self._in_force: SharedBook | None = None
        self._refused = ""  # digest of the one that cannot be used here

    def was_offered(self, text: RuleText) -> bool:
        """Whether this very file was proposed from this machine last. Then others may be newer."""
        try:
            return self._offered_file.read_text().strip() == text.sha256
        except OSError:
            return False

    def propose(self, text: RuleText) -> None:
        """To be published at the next look; one that was to be published before is forgotten."""
        self._proposal = text

    def news(self) -> SharedBook | None:
        """The book that holds now, if it is another than was last taken up or refused.

        Raises DependencyError; what was proposed is published the next time.
        """
        if self._proposal is not None:
            text = self._proposal
            self._shared.publish(text.raw, text.sha256, from_ms=self._now_ms() + self._lead_ms)
            self._proposal = None
            self._note_offer(text)
        mine, found = self._in_force, self._shared.read(self._in_force)
        if mine is not None and (found is None or found.epoch < mine.epoch):
            self._shared.restore(mine)
            return None
        if found is None or found is mine or found.sha256 == self._refused:
            return None
        return found

    def take_up(self, book: SharedBook) -> None:
        """This replica goes by it."""
        self._in_force, self._refused = book, ""

    def refuse(self, book: SharedBook) -> None:
        """This replica cannot use it, and need not look at it again."""
        self._refused = book.sha256

    def waits_s(self, book: SharedBook) -> float:
        """Seconds until everybody goes by it; never more than the lead, whatever it says."""
        return min(max(0, book.from_ms - self._now_ms()), self._lead_ms) / 1000.0

    def _note_offer(self, text: RuleText) -> None:
        try:
            self._offered_file.parent.mkdir(parents=True, exist_ok=True)
            keep_copy(f"{text.sha256}\n".encode(), self._offered_file)
        except OSError as error:
            logger.error("the next start will publish this file again: %s", error)


def sha256_of(raw: bytes) -> str:
    """As `RuleText` has it."""
    return hashlib.sha256(raw).hexdigest()
