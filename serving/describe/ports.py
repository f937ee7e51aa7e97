"""Ports of descriptions: what the pipeline asks of the outside, and in which words.

`serving/adapters/` implements them on real systems, `memory_descriptions.py` in memory for tests.
All raise `DependencyTimeout` or `DependencyUnavailable`, never a foreign error.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from shop.descriptions.deliverability import SpamReport
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts
from shop.descriptions.validators import Measured


@dataclass(frozen=True, slots=True)
class WritingRequest:
    """One text to write."""

    system: str
    prompt: str
    schema: Mapping[str, object]  # JSON schema of the answer: opening, bullets, close
    max_tokens: int
    seed: int
    temperature: float
    adapter: str | None  # LoRA adapter by version; None: the model as it is


@dataclass(frozen=True, slots=True)
class Piece:
    """What came since the piece before; the texts of all pieces together are the JSON answer."""

    text: str
    done: bool  # nothing comes after it
    tokens: int  # written so far, of the whole answer


class Writer(Protocol):
    """A language model that writes."""

    @property
    def model_version(self) -> str:
        """Which model answers, as versions of texts remember it."""
        ...

    def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """Pieces as they are written; closing the iterator cancels the generation.

        Raises DependencyUnavailable if no model is there, DependencyTimeout if it stalls.
        """
        ...


@dataclass(frozen=True, slots=True)
class Product:
    """What is known of a product or of several, and how much hangs on the page about them."""

    facts: Facts
    traffic: float  # clicks
    traffic_share: float  # of the busiest product's, 0 to 1
    margin: float  # list price less cost


class ProductFacts(Protocol):
    """The shop's product data."""

    async def product(self, product_id: str) -> Product:
        """Raises NotFound if the shop has no such product."""
        ...

    async def category(self, name: str) -> Product:
        """What its products have in common. Raises NotFound if the shop has no such category."""
        ...


class Measures(Protocol):
    """What libraries tell of a text."""

    def measure(self, prose: str, text: str) -> Measured:
        """Reading grade and language."""
        ...


class SpamScorer(Protocol):
    """A spam filter as mail servers run it."""

    async def score(self, letter: Draft) -> SpamReport:
        """What it says of a letter. Raises DependencyUnavailable where there is none."""
        ...
