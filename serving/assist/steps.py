"""Steps: what a question is, and what its asker is told, one after the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from serving.recommend.request import Answer, Ask
from shop.asking.judging import Judged
from shop.descriptions.facts import Facts


class Outcome(StrEnum):
    """What came of a question."""

    ANSWERED = "ANSWERED"
    NO_FACTS = "NO_FACTS"
    NO_PRODUCTS = "NO_PRODUCTS"
    NOT_UNDERSTOOD = "NOT_UNDERSTOOD"
    QUESTION_REFUSED = "QUESTION_REFUSED"


@dataclass(frozen=True, slots=True)
class Question:
    """One checked question. `ask` is the search for it, without the context's products."""

    ask: Ask
    seed: int

    @property
    def text(self) -> str:
        """As it was asked."""
        return self.ask.query


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What there is to answer about."""

    about: Answer | None  # the context's products that can be sold; None: none was named
    search: Answer | None  # None: the question was refused, and nothing was searched
    facts: tuple[Facts, ...] = ()  # of those that sentences may cite, in the prompt's order


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer."""

    outcome: Outcome
    stage_ms: Mapping[str, float]
    untold: tuple[str, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)  # sentences, by reason
    model_version: str = ""
    prompt_version: str = ""


Step = Found | Judged | Finished
