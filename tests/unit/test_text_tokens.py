"""Texts as the encoder reads them: words first, then their trigrams, never more than fit."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.text_tokens import TEXT_SLOTS, TOKEN_COUNT, WORD_BUCKETS, text_tokens
from shop.words import forms, words_of


@settings(max_examples=50)
@given(st.text(max_size=600))
def test_every_text_fits(text: str) -> None:
    tokens = text_tokens(text)
    assert tokens.shape == (TEXT_SLOTS,)
    assert tokens.min() >= 0
    assert tokens.max() < TOKEN_COUNT


def test_a_mistyped_word_shares_trigrams_with_the_right_one() -> None:
    right, wrong = text_tokens("scandinavian"), text_tokens("scandinavain")
    assert right[0] != wrong[0] <= WORD_BUCKETS
    shared = np.intersect1d(right[right > 0], wrong[wrong > 0])
    assert shared.size >= 8


def test_case_accents_and_width_make_no_difference() -> None:
    np.testing.assert_array_equal(text_tokens("\uff23afé LAMP's"), text_tokens("cafe lamps"))


def test_singulars_of_english_plurals() -> None:
    assert {"dress", "dresse"} == {*forms("dresses")} - {"dresses"}
    assert "shelf" in forms("shelves")
    assert "baby" in forms("babies")
    assert forms("glass") == ("glass",)
    assert words_of("Women’s T-Shirt_2") == ("womens", "t", "shirt", "2")
