"""The text encoder on a real Triton: beside the other models, where a release has one."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tritonclient.grpc as triton

from serving.adapters.faiss import load_index
from serving.adapters.release_files import load_tables, verify_release
from serving.adapters.release_search import load_search
from serving.adapters.triton import TritonModels
from serving.triton.repository import keep_versions
from shop.errors import DependencyUnavailable
from shop.release import TEXT_INDEX_FILE
from shop.tensors import TEXT_ENCODER, TEXT_VECTOR_SIZE
from shop.text_tokens import text_tokens
from tests.contract.running_triton import RunningTriton, a_state
from tests.contract.small_release import KEY, PRODUCT_COUNT, SCHEMA

PLAIN, SEARCHABLE = 1, 2  # versions


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningTriton]:
    state = a_state(
        tmp_path_factory.mktemp("state"), versions=(PLAIN, SEARCHABLE), searchable=(SEARCHABLE,)
    )
    with RunningTriton(state) as stack:
        stack.eventually(lambda: stack.is_ready(PLAIN, SEARCHABLE))
        yield stack


def release(running: RunningTriton, version: int) -> Path:
    return next((running.state / "releases").glob(f"r{version:04d}-*"))


def vector_of(running: RunningTriton, text: str, *, version: int) -> np.ndarray:
    async def ask() -> np.ndarray:
        address = running.status.http_address
        models = TritonModels(address, release="r", version=version, schema=SCHEMA)
        try:
            return await models.text_vector(text_tokens(text), timeout_s=5.0)
        finally:
            await models.close()

    return asyncio.run(ask())


def test_a_texts_vector_is_that_of_the_model_file(running: RunningTriton) -> None:
    session = onnxruntime.InferenceSession(release(running, SEARCHABLE) / "text_encoder.onnx")
    (expected,) = session.run(None, {"token_ids": text_tokens("Product p3")[None]})
    found = vector_of(running, "Product p3", version=SEARCHABLE)
    assert found.shape == (TEXT_VECTOR_SIZE,)
    np.testing.assert_allclose(found, expected[0], rtol=1e-5, atol=1e-6)


def test_the_nearest_text_is_that_of_the_product(running: RunningTriton) -> None:
    folder = release(running, SEARCHABLE)
    index = load_index(
        folder,
        verify_release(folder, KEY),
        row_count=PRODUCT_COUNT + 1,
        vector_size=TEXT_VECTOR_SIZE,
        file=TEXT_INDEX_FILE,
    )
    vector = vector_of(running, "product P7", version=SEARCHABLE)
    rows, cosines = asyncio.run(index.search(vector, 3, allowed=None, timeout_s=5.0))
    assert rows[0] == 7
    assert cosines[0] == pytest.approx(1.0, abs=1e-3)
    index.close()


def test_a_release_without_titles_has_no_encoder_and_lacks_nothing(running: RunningTriton) -> None:
    with pytest.raises(DependencyUnavailable):
        vector_of(running, "Product p3", version=PLAIN)
    encoders = {m.version for m in running.status.models if m.model == TEXT_ENCODER}
    assert encoders == {SEARCHABLE}


def test_requests_are_batched_and_the_model_was_warmed_up(running: RunningTriton) -> None:
    config = running.client.get_model_config(TEXT_ENCODER, str(SEARCHABLE), as_json=True)["config"]
    assert "dynamic_batching" in config
    assert len(config["model_warmup"]) == 1


def test_parts_of_a_release_are_read_whole_or_there_are_none(running: RunningTriton) -> None:
    for version, is_searchable in ((PLAIN, False), (SEARCHABLE, True)):
        folder = release(running, version)
        manifest = verify_release(folder, KEY)
        catalogue = load_tables(folder, manifest).catalogue
        searching = load_search(folder, manifest, catalogue)
        assert (searching is not None) is is_searchable
        if searching is not None:
            found = searching.lexical.search(["p7"], 5, allowed=None, timeout_s=5.0)
            assert asyncio.run(found)[0].tolist() == [7]
            searching.close()


def test_once_no_version_has_an_encoder_it_is_unloaded(running: RunningTriton) -> None:
    keep_versions(running.state / "model_repository", frozenset({PLAIN}))
    running.eventually(lambda: {m.version for m in running.status.models} == {PLAIN})
    assert running.is_ready(PLAIN)
    client: triton.InferenceServerClient = running.client
    assert not client.is_model_ready(TEXT_ENCODER, str(SEARCHABLE))
