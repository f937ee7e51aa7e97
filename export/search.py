"""Search: what a release needs to be searched by text, made and proved beside its other models.

The encoder's graph must answer products' texts and drawn queries like the trained module, and the
index over the products' text vectors is tried on these queries. The lexical index is not stored: it
is built from the signed catalogue when the release is loaded (`serving.adapters.tantivy`).
"""

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from export.index import build_index
from export.onnx_models import check_parity, onnx_runner, write_onnx
from shop.filter_grammar import TEXT_ATTRIBUTES
from shop.release import SEARCH_VOCABULARY_FILE, TEXT_ENCODER_FILE, TEXT_INDEX_FILE
from shop.search_vocabulary import learn_vocabulary
from shop.tensors import text_encoder_spec
from shop.text_tokens import text_tokens
from training.data.snapshot import Snapshot
from training.model_folder import TEXT_ENCODER_WEIGHTS
from training.models.text_encoder import load_text_encoder
from training.search_texts import SearchTexts, typed

_QUERY_COUNT = 256
_CHUNK = 256
_BRANDS_MOST = 20_000  # values of one attribute that a query is looked up in


def has_encoder(model_folder: Path) -> bool:
    """Whether a text encoder was trained: not where products have no titles."""
    return (model_folder / TEXT_ENCODER_WEIGHTS).exists()


def add_search(folder: Path, model_folder: Path, snapshot: Snapshot, seed: int) -> dict[str, float]:
    """Write encoder, text index and vocabulary; returns how near and how good they are.

    Raises ReleaseRejected if the graph or the index is not fit.
    """
    spec, path = text_encoder_spec(), folder / TEXT_ENCODER_FILE
    model, texts = load_text_encoder(model_folder), SearchTexts.of(snapshot)
    write_onnx(model, spec, path)
    queries = _drawn_queries(texts, np.random.default_rng(seed))
    parity = check_parity(model, spec, path, {"token_ids": queries})
    run = onnx_runner(path, spec)
    parts = [
        run({"token_ids": texts.tokens[at : at + _CHUNK]}) for at in range(0, len(texts), _CHUNK)
    ]
    none = np.zeros((1, parts[0].shape[1]), dtype=np.float32)
    index = build_index(np.concatenate([none, *parts]), run({"token_ids": queries}))
    index.write(folder / TEXT_INDEX_FILE)
    _write_vocabulary(folder, snapshot)
    return {
        "parity_text_encoder": parity.worst_relative_error,
        "searchable_products": float(len(texts)),
        **{f"text_{name}": value for name, value in index.metrics().items()},
    }


def _drawn_queries(texts: SearchTexts, rng: np.random.Generator) -> NDArray[np.int64]:
    """[B, L] tokens of queries that some product answers."""
    products = rng.integers(0, len(texts), _QUERY_COUNT)
    queries = [typed(texts.query_words(int(product), rng), rng) for product in products]
    return np.stack([text_tokens(query) for query in queries])


def _write_vocabulary(folder: Path, snapshot: Snapshot) -> None:
    products = snapshot.products
    values = {name: set(products[name].fill_null("").to_pylist()) for name in TEXT_ATTRIBUTES}
    few = {name: told for name, told in values.items() if len(told) <= _BRANDS_MOST}
    texts = (
        " ".join(filter(None, row.values()))
        for row in products.select(["title", *TEXT_ATTRIBUTES]).to_pylist()
    )
    vocabulary = learn_vocabulary(texts, few)
    text = json.dumps(vocabulary.to_json(), ensure_ascii=False, sort_keys=True)
    (folder / SEARCH_VOCABULARY_FILE).write_text(text, encoding="utf-8")
