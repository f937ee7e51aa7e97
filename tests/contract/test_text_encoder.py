"""The text encoder: queries meet their products, a seed decides all, an interruption nothing."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shop.text_tokens import text_tokens
from shop.words import forms, words_of
from training.algorithms.text_encoder import (
    CHECKPOINT,
    TextEncoderSettings,
    fit_text_encoder,
    text_vectors,
)
from training.model_folder import TEXT_ENCODER_WEIGHTS
from training.models.text_encoder import TextEncoder, load_text_encoder
from training.search_texts import SearchTexts

THINGS = ("lamp", "chair", "sofa", "carpet", "mirror", "basket", "kettle", "pillow")
COLOURS = ("crimson", "turquoise", "ivory", "charcoal")
SETTINGS = TextEncoderSettings(rounds=2, steps_per_round=6, batch_size=32)


def some_texts() -> SearchTexts:
    """32 products: every thing in every colour."""
    pairs = [(thing, colour) for thing in THINGS for colour in COLOURS]
    texts = [f"{colour} {thing}" for thing, colour in pairs]
    return SearchTexts(
        tokens=np.stack([text_tokens(text) for text in texts]),
        words=tuple(frozenset(f for w in words_of(text) for f in forms(w)) for text in texts),
        titles=tuple(words_of(text) for text in texts),
        values=tuple(pairs),
    )


def fit(folder: Path, settings: TextEncoderSettings = SETTINGS, **options: int) -> TextEncoder:
    fit_text_encoder(some_texts(), folder, settings, seed=options.get("seed", 0), fingerprint="f")
    return load_text_encoder(folder)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_vectors_have_unit_length_whatever_the_text() -> None:
    tokens = np.stack([text_tokens(text) for text in ("", "a", "lamp " * 200)])
    np.testing.assert_allclose(
        np.linalg.norm(text_vectors(TextEncoder().eval(), tokens), axis=1)[1:], 1.0, rtol=1e-5
    )


def test_it_learns_to_find_what_a_query_asks_for(tmp_path: Path) -> None:
    model = fit(tmp_path)
    texts = some_texts()
    vectors = text_vectors(model, texts.tokens)
    query = text_vectors(model, text_tokens("turquoise mirror")[None])[0]
    best = int(np.argmax(vectors @ query))
    assert texts.titles[best] == ("turquoise", "mirror")
    assert not (tmp_path / CHECKPOINT).exists()


def test_the_same_seed_makes_the_same_encoder_and_another_one_another(tmp_path: Path) -> None:
    settings = replace(SETTINGS, rounds=1, steps_per_round=2)
    weights = [
        fit(tmp_path / str(run), settings, seed=seed).tokens.weight
        for run, seed in enumerate((0, 0, 1))
    ]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_interrupted_training_goes_on_to_the_same_end(tmp_path: Path) -> None:
    settings = replace(SETTINGS, steps_per_round=2)

    def interrupt(share: float) -> None:
        if share >= 0.5:
            raise KeyboardInterrupt

    arguments = {"seed": 0, "fingerprint": "f"}
    with pytest.raises(KeyboardInterrupt):
        fit_text_encoder(some_texts(), tmp_path / "a", settings, advance=interrupt, **arguments)
    assert not (tmp_path / "a" / TEXT_ENCODER_WEIGHTS).exists()
    shares: list[float] = []
    fit_text_encoder(some_texts(), tmp_path / "a", settings, advance=shares.append, **arguments)
    assert min(shares) == 0.5  # the first round was not repeated
    whole = fit(tmp_path / "b", settings)
    assert torch.equal(load_text_encoder(tmp_path / "a").tokens.weight, whole.tokens.weight)
