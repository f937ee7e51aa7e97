"""Ports of descriptions: what the pipeline asks of the outside, and in which words.

`serving/adapters/` implements them on real systems, `memory_descriptions.py` in memory for tests.
All raise `DependencyTimeout` or `DependencyUnavailable`, never a foreign error.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

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

    async def whole_shop(self) -> Product:
        """How much hangs on all products together; no facts."""
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


@dataclass(frozen=True, slots=True, eq=False)
class Photo:
    """A picture that was handed in. Shapes: H, W its height and width as looked at."""

    digest: str  # SHA-256 of `content`
    content: bytes  # JPEG, written anew from the pixels
    width: int  # as it came
    height: int
    pixels: NDArray[np.uint8]  # [H, W, 3] as it is judged by the limits
    thumbnail: NDArray[np.uint8]  # [H, W, 3] as the trained model looks at it
    fingerprint: int  # 64 bits


@dataclass(frozen=True, slots=True)
class Alike:
    """A photo of another product that may be the same picture."""

    product_id: str
    bits: int  # of 64 that differ


class SeenPhotos(Protocol):
    """Every photo that was handed in."""

    async def keep(self, photo: Photo, product_id: str) -> None:
        """For this product; once."""
        ...

    async def alike(self, photo: Photo, product_id: str) -> Alike | None:
        """The one of another product that looks most like it; None if none does."""
        ...
