"""A release made by hand in milliseconds: real ONNX graphs with the real tensors, small tables."""

import dataclasses
import hashlib
import json
from pathlib import Path

import faiss
import numpy as np
import onnx
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from export.model_config import model_configs, text_encoder_config
from serving.adapters.source_files import write_source_tables
from shop.features import CANDIDATE_VALUES, CONTEXT_VALUES, FEATURE_VERSION, FeatureSchema
from shop.release import MANIFEST, REQUIRED_FILES, SEARCH_FILES, FileEntry, Manifest
from shop.search_vocabulary import learn_vocabulary
from shop.source_tables import SourceTables
from shop.tensors import (
    RANKER,
    TEXT_VECTOR_SIZE,
    USER_TOWER,
    ModelSpec,
    ranker_spec,
    text_encoder_spec,
    user_tower_spec,
)
from shop.text_tokens import TOKEN_COUNT, text_tokens

KEY = bytes(range(32))
SCHEMA = FeatureSchema(
    version=FEATURE_VERSION,
    history_length=5,
    vector_size=8,
    devices=("mobile", "desktop"),
    countries=("DE",),
    segments=("new",),
    heads=("click", "cart", "purchase", "return"),
)
PRODUCT_COUNT = 20
_ONNX_TYPES = {"FP32": TensorProto.FLOAT, "INT64": TensorProto.INT64}


def a_release(
    releases_root: Path,
    *,
    version: int = 1,
    schema: FeatureSchema = SCHEMA,
    seed: int = 0,
    product_count: int = PRODUCT_COUNT,
    key: bytes = KEY,
    is_slow: bool = False,
    is_searchable: bool = False,
) -> tuple[Path, Manifest]:
    """A whole signed release folder; `seed` makes its numbers differ from another one's."""
    release = f"r{version:04d}-seed{seed}"
    folder = releases_root / release
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    vectors = some_vectors(rng, product_count, schema.vector_size)
    np.save(folder / "item_vectors.npy", vectors)
    (folder / "schema.json").write_text(json.dumps(schema.to_json()))
    _write_tables(folder, product_count)
    (folder / "user_tower.onnx").write_bytes(user_tower_onnx(schema, vectors, rng))
    (folder / "ranker.onnx").write_bytes(ranker_onnx(schema, vectors, rng, is_slow=is_slow))
    for model, text in model_configs(schema).items():
        (folder / f"{model}.pbtxt").write_text(text)
    (folder / "index.faiss").write_bytes(b"no index is needed here")
    if is_searchable:
        _add_search(folder, rng, product_count)
    manifest = sign(folder, release, version, key)
    return folder, manifest


def sign(folder: Path, release: str, version: int, key: bytes = KEY) -> Manifest:
    """Write the manifest for what lies in `folder` now."""
    entries = {
        name: FileEntry(
            (folder / name).stat().st_size,
            hashlib.sha256((folder / name).read_bytes()).hexdigest(),
        )
        for name in (*REQUIRED_FILES, *SEARCH_FILES)
        if (folder / name).exists()
    }
    manifest = Manifest(release, version, 0, "by-hand", entries, {}).signed(key)
    (folder / MANIFEST).write_text(manifest.to_json())
    return manifest


def _add_search(folder: Path, rng: np.random.Generator, product_count: int) -> None:
    """An encoder that sums what it has of each token, and an index over the titles' sums."""
    table = rng.normal(size=(TOKEN_COUNT, TEXT_VECTOR_SIZE)).astype(np.float32)
    table[0] = 0.0
    nodes = [
        helper.make_node("Gather", ["table", "token_ids"], ["tokens"], axis=0),
        helper.make_node("ReduceSum", ["tokens", "axis_1"], ["bag"], keepdims=0),
        helper.make_node("Sum", ["bag", "bias"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["text_vector"], axis=-1, p=2),
    ]
    bias = np.full((1, TEXT_VECTOR_SIZE), 1e-3, np.float32)
    constants = {"table": table, "axis_1": np.array([1], np.int64), "bias": bias}
    (folder / "text_encoder.onnx").write_bytes(_graph(text_encoder_spec(), nodes, constants))
    (folder / "text_encoder.pbtxt").write_text(text_encoder_config())
    titles = [f"Product p{at}" for at in range(1, product_count + 1)]
    vectors = [table[text_tokens(title)].sum(axis=0) + bias[0] for title in titles]
    units = np.array([each / np.linalg.norm(each) for each in vectors])
    index = faiss.IndexFlatIP(TEXT_VECTOR_SIZE)
    index.add(np.concatenate([np.zeros((1, TEXT_VECTOR_SIZE)), units]).astype(np.float32))
    faiss.write_index(index, str(folder / "text_index.faiss"))
    vocabulary = learn_vocabulary(titles, {"category": ["lamps"], "brand": ["Acme"]})
    (folder / "search_vocabulary.json").write_text(json.dumps(vocabulary.to_json()))


def some_vectors(rng: np.random.Generator, products: int, size: int) -> NDArray[np.float32]:
    """[R, D] unit vectors, row 0 zeros."""
    vectors = rng.normal(size=(products + 1, size)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[0] = 0.0
    return vectors


def _write_tables(folder: Path, product_count: int) -> None:
    names = [f"p{at}" for at in range(1, product_count + 1)]
    catalogue = pa.table(
        {
            "product_id": names,
            "title": [f"Product {name}" for name in names],
            "category": ["lamps" if at % 2 else "" for at in range(product_count)],
            "brand": ["Acme"] * product_count,
            "list_price_minor": pa.array([1000 + at for at in range(product_count)], pa.int64()),
            "cost_minor": pa.array([None, *([500] * (product_count - 1))], pa.int64()),
        }
    ).replace_schema_metadata({b"currency": b"EUR"})
    pq.write_table(catalogue, folder / "catalogue.parquet")
    np.savez(
        folder / "neighbours.npz",
        rows=np.zeros((product_count + 1, 3), np.int32),
        scores=np.zeros((product_count + 1, 3), np.float32),
    )
    np.savez(
        folder / "popularity.npz",
        popular_rows=np.arange(1, product_count + 1),
        popularity=np.ones(product_count + 1, np.float32),
    )
    write_source_tables(SourceTables.empty(product_count + 1), folder / "sources.npz")
    pq.write_table(pa.table({"user_id": ["u1"]}), folder / "histories.parquet")


def user_tower_onnx(
    schema: FeatureSchema, vectors: NDArray[np.float32], rng: np.random.Generator
) -> bytes:
    """Mean of the history's vectors plus a share of the context, to unit length."""
    weights = rng.normal(size=(len(CONTEXT_VALUES), schema.vector_size)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "history_rows"], ["history"], axis=0),
        helper.make_node("ReduceMean", ["history", "axis_1"], ["mean"], keepdims=0),
        helper.make_node("MatMul", ["context_values", "weights"], ["context"]),
        helper.make_node("Sum", ["mean", "context", "bias"], ["sum"]),
        helper.make_node("LpNormalization", ["sum"], ["user_vector"], axis=-1, p=2),
    ]
    constants = {
        "table": vectors,
        "weights": weights,
        "bias": rng.normal(size=(1, schema.vector_size)).astype(np.float32),
        "axis_1": np.array([1], np.int64),
    }
    return _graph(user_tower_spec(schema), nodes, constants)


def ranker_onnx(
    schema: FeatureSchema,
    vectors: NDArray[np.float32],
    rng: np.random.Generator,
    *,
    is_slow: bool = False,
) -> bytes:
    """Sigmoid of the cosine and the candidate's values, one column per head.

    The slow one multiplies the candidates by large matrices to and fro, for some 20 ms in all.
    """
    weights = rng.normal(size=(len(CANDIDATE_VALUES), len(schema.heads))).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "candidate_rows"], ["gathered"], axis=0),
        *_detours(40 if is_slow else 0),
        helper.make_node("Unsqueeze", ["user_vector", "axis_2"], ["user"]),
        helper.make_node("MatMul", ["candidates", "user"], ["cosine"]),
        helper.make_node("MatMul", ["candidate_values", "weights"], ["values"]),
        helper.make_node("Add", ["cosine", "values"], ["logits"]),
        helper.make_node("Sigmoid", ["logits"], ["probabilities"]),
    ]
    constants = {"table": vectors, "weights": weights, "axis_2": np.array([2], np.int64)}
    if is_slow:
        constants["out"] = np.eye(schema.vector_size, 1024, dtype=np.float32)
        constants["back"] = np.eye(1024, schema.vector_size, dtype=np.float32)
    return _graph(ranker_spec(schema), nodes, constants)


def _detours(count: int) -> list[onnx.NodeProto]:
    """From `gathered` to `candidates`, unchanged but later."""
    nodes, at = [], "gathered"
    for turn in range(count):
        nodes.append(helper.make_node("MatMul", [at, "out"], [f"far_{turn}"]))
        nodes.append(helper.make_node("MatMul", [f"far_{turn}", "back"], [f"near_{turn}"]))
        at = f"near_{turn}"
    return [*nodes, helper.make_node("Identity", [at], ["candidates"])]


def _graph(
    spec: ModelSpec, nodes: list[onnx.NodeProto], constants: dict[str, NDArray[np.generic]]
) -> bytes:
    def described(tensors: tuple[object, ...]) -> list[onnx.ValueInfoProto]:
        return [
            helper.make_tensor_value_info(
                tensor.name,
                _ONNX_TYPES[tensor.dtype],
                ["batch", *("candidates" if dim == -1 else dim for dim in tensor.shape)],
            )
            for tensor in tensors
        ]

    graph = helper.make_graph(
        nodes,
        spec.name,
        described(spec.inputs),
        described(spec.outputs),
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def some_inputs(
    rng: np.random.Generator,
    model: str,
    *,
    batch: int = 1,
    candidates: int = 64,
    schema: FeatureSchema = SCHEMA,
    product_count: int = PRODUCT_COUNT,
) -> dict[str, NDArray[np.generic]]:
    """Inputs of the right shapes with plausible numbers."""
    spec = {USER_TOWER: user_tower_spec, RANKER: ranker_spec}[model](schema)
    inputs: dict[str, NDArray[np.generic]] = {}
    for tensor in spec.inputs:
        shape = (batch, *(candidates if dim == -1 else dim for dim in tensor.shape))
        if tensor.dtype == "INT64":
            # Context codes are small; every other whole number is a catalogue row or an event.
            top = 2 if tensor.name in ("context_codes", "history_events") else product_count + 1
            inputs[tensor.name] = rng.integers(0, top, shape)
        else:
            inputs[tensor.name] = rng.normal(size=shape).astype(np.float32)
    return inputs


def with_changes(manifest: Manifest, **changes: object) -> Manifest:
    """The same manifest, some fields replaced, its signature kept."""
    return dataclasses.replace(manifest, **changes)
