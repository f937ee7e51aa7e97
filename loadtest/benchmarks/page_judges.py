"""Page judges: what the pages of a run say, told by three judges that know nothing of each other.

The validators count claims that no fact grants. The world's truth (`simulator.page_truth`) looks
for values that a product of the world could have and this one has not. Words from nowhere are
those that stand neither in the raw specification nor among the phrases that the describer learnt:
the one judge that real products have beside the validators.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from shop.descriptions import tellings
from shop.descriptions.claim_words import ClaimKind
from shop.descriptions.claims import FactIndex, claims_in
from shop.descriptions.draft import Draft, parse_draft
from shop.descriptions.facts import Facts
from shop.descriptions.validators import coverage
from shop.errors import InvalidRequest
from simulator.page_truth import untruths
from training.texts.shelves import MAY_STAND_ALONE, Shelf

REJECTED = "rejected"
_WORD = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Judgement:
    """Of the pages of one source."""

    pages: int
    published: int  # not rejected: published now, or once a person has read it
    at_once: int  # of them, without a person
    claims_first: int  # in all first attempts
    unsupported_first: int
    claims_shown: int  # in what is not rejected
    unsupported_shown: int
    untrue: int  # pages shown that say what is not true in the world
    strange: int  # pages shown with a word or number from nowhere
    coverage: float  # of attributes, mean over the pages shown
    coverage_first: float  # over all first attempts, those that cannot be read counting 0
    attempts: float
    examples: tuple[str, ...]  # of what the other judges found

    @property
    def unsupported_first_share(self) -> float:
        """Of the claims of the first attempts."""
        return self.unsupported_first / max(1, self.claims_first)

    @property
    def unsupported_share(self) -> float:
        """Of the claims of what is shown."""
        return self.unsupported_shown / max(1, self.claims_shown)


def judge_pages(lines: Iterable[Mapping[str, Any]], shelves: Sequence[Shelf]) -> Judgement:
    """All pages of one source; the shelves are those that they were written of."""
    facts_of = {each.facts.product_id: each.facts for each in shelves}
    pages = list(lines)
    is_world = bool(shelves) and shelves[0].source == "catalogue"
    shown = [page for page in pages if page["state"] != REJECTED]
    first = [_claims(_draft(page["first"]), facts_of[page["product_id"]]) for page in pages]
    last = [_claims(_draft(page["last"]), facts_of[page["product_id"]]) for page in shown]
    untrue: list[str] = []
    strange: list[str] = []
    for page in shown:
        draft, facts = _draft(page["last"]), facts_of[page["product_id"]]
        if is_world and (found := _untruths(draft, facts)):
            untrue.append(f"{facts.product_id}: not true: {found}")
        if words := words_from_nowhere(draft, facts):
            strange.append(f"{facts.product_id}: from nowhere: {words}")
    return Judgement(
        pages=len(pages),
        published=len(shown),
        at_once=sum(page["state"] == "published" for page in pages),
        claims_first=sum(count for count, _, _ in first),
        unsupported_first=sum(wrong for _, wrong, _ in first),
        claims_shown=sum(count for count, _, _ in last),
        unsupported_shown=sum(wrong for _, wrong, _ in last),
        untrue=len(untrue),
        strange=len(strange),
        coverage=sum(page["coverage"] for page in shown) / max(1, len(shown)),
        coverage_first=sum(told for _, _, told in first) / max(1, len(first)),
        attempts=sum(page["attempts"] for page in pages) / max(1, len(pages)),
        examples=(*untrue[:3], *strange[:3]),
    )


def words_from_nowhere(draft: Draft | None, facts: Facts) -> list[str]:
    """Words and numbers of a page that neither the facts nor the house's phrases hold."""
    known = _house_words()
    for line in facts.lines:
        known |= _words(f"{line.name} {line.text}")
    return sorted(_words(draft.text if draft else "") - known)


def _claims(draft: Draft | None, facts: Facts) -> tuple[int, int, float]:
    """How many, how many without a fact, and the share of the attributes that is told."""
    if draft is None:
        return 0, 0, 0.0
    index = FactIndex.of(facts)
    found = claims_in(draft.text, index)
    # a plain word is no claim; one that nobody knows is one without a fact
    wrong = sum(not each.is_grounded for each in found)
    granted = sum(each.is_grounded and each.kind is not ClaimKind.WORD for each in found)
    return granted + wrong, wrong, coverage(facts, index, draft.text, found)


def _untruths(draft: Draft | None, facts: Facts) -> list[str]:
    lines = tuple((each.name, each.value, each.unit) for each in facts.lines)
    return untruths(facts.title, lines, draft.text if draft else "")


def _draft(answer: str) -> Draft | None:
    try:
        return parse_draft(answer)
    except InvalidRequest:
        return None


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.casefold()))


@cache
def _all_phrases() -> str:
    listed = [
        value
        for name, value in vars(tellings).items()
        if name.isupper() and not isinstance(value, int)
    ]
    return json.dumps(
        [list(each.items()) if isinstance(each, dict) else sorted(each) for each in listed]
    )


def _house_words() -> set[str]:
    return _words(_all_phrases()) | set(MAY_STAND_ALONE) | {"details", "on", "request", "product"}
