"""Faults: what can be wrong with a text, in words that a model and a person can act upon."""

from dataclasses import dataclass
from enum import StrEnum


class FaultKind(StrEnum):
    """What sort of thing is wrong."""

    FORM = "form"  # no readable answer at all
    NUMBER = "number"  # on no line of the facts, or with another unit
    INVENTED = "invented"  # a feature, material, colour, use or word without a fact
    CONTRADICTION = "contradiction"
    COMPATIBILITY = "compatibility"
    CERTIFICATION = "certification"
    SUPERLATIVE = "superlative"
    INJECTION = "injection"
    LANGUAGE = "language"
    BANNED = "banned word"
    TERM = "term"
    LENGTH = "length"
    READING = "reading level"
    KEYWORD = "keyword"
    VOICE = "voice"
    SPAM = "spam"  # a spam filter would file the letter away
    DELIVERABILITY = "deliverability"
    SEO = "seo"
    PHOTO = "photo"


# With any of these a text is never shown, whoever wants it. The others are matters of taste.
BLOCKING = frozenset(
    {
        FaultKind.FORM,
        FaultKind.NUMBER,
        FaultKind.INVENTED,
        FaultKind.CONTRADICTION,
        FaultKind.COMPATIBILITY,
        FaultKind.CERTIFICATION,
        FaultKind.SUPERLATIVE,
        FaultKind.INJECTION,
        FaultKind.LANGUAGE,
        FaultKind.BANNED,
        FaultKind.SPAM,
    }
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a text; `reason` says what would be right."""

    kind: FaultKind
    text: str  # the words it is about; "" where the whole is
    reason: str

    def __str__(self) -> str:
        return (
            f'{self.kind}: "{self.text}" {self.reason}'
            if self.text
            else f"{self.kind}: {self.reason}"
        )

    @property
    def is_blocking(self) -> bool:
        """Whether a text with it may never be shown."""
        return self.kind in BLOCKING
