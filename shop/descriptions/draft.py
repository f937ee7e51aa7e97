"""Draft: the text of a product page in its three parts, as a model or a person wrote it."""

import json
from dataclasses import dataclass

from shop.errors import InvalidRequest

MAX_TEXT_LENGTH = 6_000
_KEYS = {"opening", "bullets", "close"}
_HEADS = {"title", "summary"}


@dataclass(frozen=True, slots=True)
class Draft:
    """What a page says: an opening paragraph, the features, a closing sentence.

    Letters and category pages have a title and a summary as well: subject and preview line of the
    one, what search engines show of the other.
    """

    opening: str
    bullets: tuple[str, ...]
    close: str
    title: str = ""
    summary: str = ""

    @property
    def parts(self) -> tuple[str, ...]:
        """All parts; title and summary last, so that places in the rest count alike everywhere."""
        heads = (self.title, self.summary) if self.title or self.summary else ()
        return (self.opening, *self.bullets, self.close, *heads)

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


def parse_draft(answer: str, *, is_headed: bool = False) -> Draft:
    """The draft of a JSON answer. Raises InvalidRequest, naming the field, if it is none."""
    keys = _KEYS | _HEADS if is_headed else _KEYS
    if len(answer) > 2 * MAX_TEXT_LENGTH:
        raise InvalidRequest("answer", f"is longer than {2 * MAX_TEXT_LENGTH} characters")
    try:
        raw = json.loads(answer)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("answer", "is no JSON object") from error
    if not isinstance(raw, dict) or set(raw) != keys:
        raise InvalidRequest("answer", f"must be an object with {', '.join(sorted(keys))}")
    bullets = raw.pop("bullets")
    texts = [*raw.values(), *(bullets if isinstance(bullets, list) else [None])]
    if not all(isinstance(each, str) for each in texts):
        raise InvalidRequest("answer", "opening and close must be texts, bullets a list of texts")
    plain = {name: text.strip() for name, text in raw.items()}
    return Draft(**plain, bullets=tuple(each.strip() for each in bullets))
