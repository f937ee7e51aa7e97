"""No writer: what stands where no language model runs; nothing stands in for it."""

from collections.abc import AsyncIterator

from serving.describe.ports import Piece, WritingRequest
from shop.errors import DependencyUnavailable


class NoWriter:
    """Refuses every text."""

    model_version = ""

    async def write(self, request: WritingRequest) -> AsyncIterator[Piece]:
        """Raises DependencyUnavailable."""
        raise DependencyUnavailable("writer", "no language model runs here")
        yield Piece("", True, 0)  # makes it a generator
