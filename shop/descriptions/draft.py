"""Draft: the text of a product page in its three parts, as a model or a person wrote it."""

import json
from dataclasses import dataclass

from shop.errors import InvalidRequest

MAX_TEXT_LENGTH = 6_000
_KEYS = {"opening", "bullets", "close"}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a page says: an opening paragraph, the features, a closing sentence."""

    opening: str
    bullets: tuple[str, ...]
    close: str

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts in reading order."""
        return (self.opening, *self.bullets, self.close)

    @property
    def text(self) -> str:
        """Everything, a part a line: places of claims count in this."""
        return "\n".join(self.parts)

    @property
    def prose(self) -> str:
        """The full sentences, without the bullets."""
        return f"{self.opening} {self.close}".strip()

    def to_json(self) -> str:
        """As models answer and stores keep it."""
        return json.dumps(
            {"opening": self.opening, "bullets": list(self.bullets), "close": self.close},
            ensure_ascii=False,
        )


def parse_draft(answer: str) -> Draft:
    """The draft of a JSON answer. Raises InvalidRequest, naming the field, if it is none."""
    if len(answer) > 2 * MAX_TEXT_LENGTH:
        raise InvalidRequest("answer", f"is longer than {2 * MAX_TEXT_LENGTH} characters")
    try:
        raw = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("answer", "is no JSON object") from error
    if not isinstance(raw, dict) or set(raw) != _KEYS:
        raise InvalidRequest("answer", f"must be an object with {', '.join(sorted(_KEYS))}")
    bullets = raw["bullets"]
    texts = [raw["opening"], raw["close"], *(bullets if isinstance(bullets, list) else [None])]
    if not all(isinstance(each, str) for each in texts):
        raise InvalidRequest("answer", "opening and close must be texts, bullets a list of texts")
    return Draft(
        raw["opening"].strip(), tuple(each.strip() for each in bullets), raw["close"].strip()
    )
