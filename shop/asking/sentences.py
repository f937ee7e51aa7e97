"""Sentences of an answer, read from its JSON while it is being written.

A model's answer is as hostile as anything from outside: it need not keep to the schema, so every
sentence is looked at, what is no sentence ends the reading, and nothing is kept without bounds.
"""

import json
import re
from dataclasses import dataclass

from shop.asking.prompt import MAX_SENTENCE, MAX_SENTENCES

_HEAD = re.compile(r'\s*\{\s*"sentences"\s*:\s*\[')
_BETWEEN = " \t\r\n,"
_MOST_HEAD = 200  # characters without a beginning
_MOST_SENTENCE = 4 * MAX_SENTENCE  # characters of one, escapes and spaces included


@dataclass(frozen=True, slots=True)
class Said:
    """One sentence as the model wrote it."""

    product: int  # the number that it cites; the prompt's begin with 1
    text: str


class SentenceReader:
    """Takes an answer piece by piece."""

    def __init__(self) -> None:
        self.is_broken = False  # what came is no answer of ours; nothing after it is read
        self._text = ""
        self._at = 0  # up to here it is looked at
        self._depth_start: int | None = None  # where the sentence under way begins
        self._in_text = self._is_escaped = False
        self._has_begun = self._has_ended = False
        self._count = 0

    def feed(self, piece: str) -> list[Said]:
        """The sentences that this piece completes."""
        found: list[Said] = []
        if self.is_broken or self._has_ended:
            return found
        self._text += piece
        if not self._has_begun and not self._begin():
            return found
        while self._at < len(self._text) and not (self.is_broken or self._has_ended):
            self._step(self._text[self._at], found)
            self._at += 1
        if self._depth_start is not None and self._at - self._depth_start > _MOST_SENTENCE:
            self.is_broken = True
        start = self._at if self._depth_start is None else self._depth_start
        self._text, self._at = self._text[start:], self._at - start
        self._depth_start = None if self._depth_start is None else 0
        return found

    @property
    def is_whole(self) -> bool:
        """Whether the list of sentences came to its end."""
        return self._has_ended and not self.is_broken

    def _begin(self) -> bool:
        head = _HEAD.match(self._text)
        if head is None:
            self.is_broken = len(self._text) > _MOST_HEAD
            return False
        self._has_begun, self._at = True, head.end()
        return True

    def _step(self, character: str, found: list[Said]) -> None:
        if self._depth_start is None:
            if character == "{":
                self._depth_start = self._at
            elif character == "]":
                self._has_ended = True
            elif character not in _BETWEEN:
                self.is_broken = True
        elif self._in_text:
            if self._is_escaped:
                self._is_escaped = False
            elif character == "\\":
                self._is_escaped = True
            elif character == '"':
                self._in_text = False
        elif character == '"':
            self._in_text = True
        elif character == "}":
            self._take(self._text[self._depth_start : self._at + 1], found)
            self._depth_start = None
        elif character == "{":
            self.is_broken = True

    def _take(self, written: str, found: list[Said]) -> None:
        said = _sentence(written)
        self._count += 1
        if said is None or self._count > MAX_SENTENCES:
            self.is_broken = True
        else:
            found.append(said)


def _sentence(written: str) -> Said | None:
    """None if it is none."""
    if len(written) > _MOST_SENTENCE:
        return None
    try:
        raw = json.loads(written)
    except (ValueError, RecursionError):
        return None
    if not isinstance(raw, dict) or set(raw) != {"product", "text"}:
        return None
    number, text = raw["product"], raw["text"]
    if type(number) is not int or not isinstance(text, str) or len(text) > MAX_SENTENCE:
        return None
    return Said(number, " ".join(text.split()))
