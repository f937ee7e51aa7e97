"""The small shop with titles and colours, and twins of everything that searching needs."""

from dataclasses import dataclass, replace

import numpy as np

from serving.adapters.memory import MemoryIndex
from serving.adapters.memory_search import MemoryLexical, MemoryTextEncoder, bag_of_tokens
from serving.adapters.release_search import searchable_texts
from serving.recommend.lookups import OfferCache
from serving.recommend.request import Answer
from serving.recommend.search_ports import SearchParts
from serving.recommend.settings import RecommendSettings
from shop.catalogue import CodedColumn
from shop.search_vocabulary import learn_vocabulary
from shop.text_tokens import text_tokens
from tests.unit.small_shop import PLAIN, SmallShop, a_shop

COLOURS = ("", "red", "blue")
WORDS = ("round", "tall", "soft")


@dataclass(slots=True, eq=False)
class SearchableShop:
    """Row r is COLOURS[r % 2 + 1], its title says WORDS[r % 3]; see `small_shop` for the rest."""

    shop: SmallShop
    encoder: MemoryTextEncoder
    index: MemoryIndex
    lexical: MemoryLexical

    def shown(self, answer: Answer) -> list[str]:
        return self.shop.shown(answer)


def a_searchable_shop(count: int = 60, settings: RecommendSettings = PLAIN) -> SearchableShop:
    """Nothing is lost."""
    shop = a_shop(count, settings=settings)
    tables = shop.deps.release.tables
    rows = np.arange(count + 1)
    catalogue = replace(
        tables.catalogue,
        titles=np.array(["", *(f"{WORDS[row % 3]} thing {row}" for row in rows[1:])]),
        specification={"colour": CodedColumn(np.where(rows > 0, rows % 2 + 1, 0), COLOURS)},
    )
    texts = searchable_texts(catalogue)
    values = {name: column.names for name, column in catalogue.texts.items()}
    encoder, lexical = MemoryTextEncoder(), MemoryLexical(texts=texts)
    vectors = np.array([bag_of_tokens(text_tokens(text), 64) for text in texts])
    index = MemoryIndex(item_vectors=vectors)
    search = SearchParts(learn_vocabulary(texts, values), encoder, index, lexical)
    release = replace(shop.deps.release, tables=replace(tables, catalogue=catalogue), search=search)
    offers = OfferCache(catalogue, shop.systems, settings.offers, shop.time)
    shop.deps = replace(shop.deps, release=release, offers=offers)
    return SearchableShop(shop, encoder, index, lexical)
