"""Judging: whether a sentence of an answer stands, held to the one product that it cites."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from shop.asking.guards import ANSWER_WORDS, lines_told, why_not
from shop.asking.sentences import Said
from shop.descriptions.claims import Claim
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Measured, check
from shop.descriptions.words import stems_of


@dataclass(frozen=True, slots=True)
class Judged:
    """One sentence, and what came of it."""

    text: str
    product_id: str  # "" if it cites none that is shown
    claims: tuple[Claim, ...]
    left_out: str  # why it is not said; "" if it stands
    told: tuple[str, ...] = ()  # names of the lines that it tells

    @property
    def stands(self) -> bool:
        """Whether a shopper may read it."""
        return not self.left_out


def judge(said: Said, products: Sequence[Facts], style: StyleGuide) -> Judged:
    """Held to the facts of its product, which are as of now. Some milliseconds of work."""
    if not 1 <= said.product <= len(products):
        return Judged(said.text, "", (), "unknown product")
    facts = products[said.product - 1]
    others = [each for at, each in enumerate(products, start=1) if at != said.product]
    # A foreign sentence has words that nobody knows, so its language needs no measuring.
    strict = replace(style, is_strict=True, own_words=(*style.own_words, *ANSWER_WORDS))
    measured = Measured(grade=0.0, language=style.language)
    checked = check(Draft(said.text, (), ""), facts, strict, measured)
    fault = next((each for each in checked.faults if each.is_blocking), None)
    if fault is not None:
        return Judged(said.text, facts.product_id, checked.claims, str(fault.kind))
    house = frozenset(one for word in style.own_words for one in stems_of(word))
    wrong = why_not(said.text, facts, others, house)
    told = lines_told(said.text, facts)
    if not wrong and not told:
        wrong = "no fact"
    return Judged(said.text, facts.product_id, checked.claims, wrong, told)
