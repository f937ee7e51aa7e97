"""What of a product can be searched, and which queries it answers."""

import numpy as np

from shop.search_text import product_text
from shop.text_tokens import text_tokens
from shop.words import forms, words_of
from training.search_texts import SearchTexts, answers, typed


def test_values_that_the_title_has_are_not_said_twice() -> None:
    text = product_text("Alba Oak lamp, forest-green", ["oak", "forest green", "lamps", "office"])
    assert text == "Alba Oak lamp, forest-green lamps office"


def test_a_part_of_a_word_is_not_the_word() -> None:
    assert product_text("white lampshade", ["lamp"]) == "white lampshade lamp"


def some_texts() -> SearchTexts:
    pairs = [(thing, colour) for thing in ("lamps", "sofas") for colour in ("ivory", "crimson")]
    texts = [f"{colour} {thing}" for thing, colour in pairs]
    return SearchTexts(
        tokens=np.stack([text_tokens(text) for text in texts]),
        words=tuple(frozenset(f for w in words_of(text) for f in forms(w)) for text in texts),
        titles=tuple(words_of(text) for text in texts),
        values=tuple(pairs),
    )


def test_queries_are_true_of_the_product_they_are_drawn_from() -> None:
    texts, rng = some_texts(), np.random.default_rng(0)
    for product in [*range(len(texts))] * 10:
        words = texts.query_words(product, rng)
        assert answers([words], [texts.words[product]]).all()
        assert len(typed(words, rng).split()) == len(words)


def test_all_products_that_answer_a_query_are_known() -> None:
    found = answers([("lamp",), ("ivory", "sofas"), ("nothing",)], some_texts().words)
    assert found.sum(axis=1).tolist() == [2, 1, 0]
