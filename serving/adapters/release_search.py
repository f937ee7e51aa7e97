"""Release search: what a release brings to be searched by text, read from its verified folder."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from serving.adapters.faiss import FaissIndex, load_index
from serving.adapters.shards import ShardedIndex
from serving.adapters.tantivy import TantivyIndex
from serving.recommend.search_ports import SearchParts, TextEncoder
from shop.catalogue import Catalogue
from shop.errors import ReleaseRejected
from shop.release import SEARCH_VOCABULARY_FILE, TEXT_INDEX_FILE, Manifest
from shop.search_text import product_text
from shop.search_vocabulary import SearchVocabulary
from shop.tensors import TEXT_VECTOR_SIZE


@dataclass(frozen=True, slots=True, eq=False)
class ReleaseSearch:
    """Vocabulary and both indexes of a release. Whoever loads it closes it."""

    vocabulary: SearchVocabulary
    index: FaissIndex | ShardedIndex
    lexical: TantivyIndex

    def parts(self, encoder: TextEncoder) -> SearchParts:
        """With the encoder that belongs to it."""
        return SearchParts(self.vocabulary, encoder, self.index, self.lexical)

    def close(self) -> None:
        """Neither index can be asked any more."""
        self.index.close()
        self.lexical.close()


def load_search(
    folder: Path, manifest: Manifest, catalogue: Catalogue, index: ShardedIndex | None = None
) -> ReleaseSearch | None:
    """From a folder that `verify_release` accepted; None if the release cannot be searched.

    `index`: the text index where it lies in shards; None: it is loaded here.

    Raises ReleaseRejected if its files cannot be read or are of another catalogue.
    """
    if not manifest.is_searchable:
        return None
    try:
        text = (folder / SEARCH_VOCABULARY_FILE).read_text(encoding="utf-8")
        vocabulary = SearchVocabulary.from_json(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReleaseRejected(
            f"{manifest.release}: {SEARCH_VOCABULARY_FILE} cannot be read: {error!r}"
        ) from error
    found = index or load_index(
        folder,
        manifest,
        row_count=catalogue.product_count + 1,
        vector_size=TEXT_VECTOR_SIZE,
        file=TEXT_INDEX_FILE,
    )
    return ReleaseSearch(vocabulary, found, TantivyIndex(searchable_texts(catalogue)))


def searchable_texts(catalogue: Catalogue) -> list[str]:
    """[R] title and specification of every row; "" for row 0."""
    told = [np.array(column.names)[column.codes].tolist() for column in catalogue.texts.values()]
    titles: list[str] = catalogue.titles.tolist()
    return [
        product_text(title, filter(None, values))
        for title, *values in zip(titles, *told, strict=True)
    ]
