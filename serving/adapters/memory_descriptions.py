"""Memory descriptions: a writer, product data and measures in memory, for tests alone."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import replace

from serving.describe.ports import Alike, Photo, Piece, Product, WritingRequest
from shop.descriptions.deliverability import SpamReport
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts
from shop.descriptions.page_facts import category_facts
from shop.descriptions.validators import Measured
from shop.errors import DependencyUnavailable, NotFound
from shop.photos.fingerprint import ALIKE

_PIECE = 40  # characters


class ScriptedWriter:
    """Says what it was told to, one answer after the other, in pieces."""

    model_version = "scripted-1"

    def __init__(self, answers: Sequence[str], on_piece: Callable[[], None] | None = None) -> None:
        self.requests: list[WritingRequest] = []
        self.was_left = False  # somebody closed it in the middle
        self._answers = list(answers)
        self._on_piece = on_piece

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """The next answer; the last one again when there are no more."""
        self.requests.append(request)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        pieces = [answer[at : at + _PIECE] for at in range(0, len(answer), _PIECE)]
        self.was_left = True
        for number, text in enumerate(pieces, start=1):
            if self._on_piece is not None:
                self._on_piece()
            yield Piece(text, number == len(pieces), number)
        self.was_left = False


class NoWriter:
    """As where no language model runs."""

    model_version = ""

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """Raises DependencyUnavailable."""
        raise DependencyUnavailable("writer", "no language model runs here")
        yield Piece("", True, 0)  # makes it a generator


class MemoryProducts:
    """Some products."""

    def __init__(self, products: Mapping[str, Product]) -> None:
        self._products = products

    async def product(self, product_id: str) -> Product:
        """Raises NotFound."""
        if product_id not in self._products:
            raise NotFound(f"the shop has no product {product_id!r}")
        return self._products[product_id]

    async def category(self, name: str) -> Product:
        """What the products of this category tell together. Raises NotFound."""
        found = [each for each in self._products.values() if each.facts.category == name]
        if not found:
            raise NotFound(f"the shop has no category {name!r}")
        facts = category_facts(name, len(found), [each.facts for each in found])
        return replace(found[0], facts=facts, traffic=sum(each.traffic for each in found))

    async def whole_shop(self) -> Product:
        """All traffic at the mean margin."""
        known = list(self._products.values())
        margin = sum(each.margin for each in known) / max(len(known), 1)
        traffic = sum(each.traffic for each in known)
        return Product(Facts("", "", "", "", ()), traffic, 1.0, margin)


class FixedSpamScorer:
    """The same of every letter; None: as where no filter is installed."""

    def __init__(self, points: float | None = 0.4) -> None:
        self.letters: list[Draft] = []
        self._points = points

    async def score(self, letter: Draft) -> SpamReport:
        """Raises DependencyUnavailable if it has no points to give."""
        self.letters.append(letter)
        if self._points is None:
            raise DependencyUnavailable("spam filter", "none is installed")
        return SpamReport(self._points, 5.0, (("FIXED", self._points),), "fixed")


class MemoryPhotos:
    """Photos that were handed in."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Photo]] = []

    async def keep(self, photo: Photo, product_id: str) -> None:
        """For this product."""
        self.kept.append((product_id, photo))

    async def alike(self, photo: Photo, product_id: str) -> Alike | None:
        """The nearest of other products."""
        found = [
            Alike(other, (photo.fingerprint ^ kept.fingerprint).bit_count())
            for other, kept in self.kept
            if other != product_id
        ]
        nearest = min(found, key=lambda each: each.bits, default=None)
        return nearest if nearest and nearest.bits <= ALIKE else None


class FixedMeasures:
    """The same of every text."""

    def __init__(self, grade: float = 6.0, language: str = "en") -> None:
        self._measured = Measured(grade, language)

    def measure(self, prose: str, text: str) -> Measured:
        """As it was made."""
        return self._measured
