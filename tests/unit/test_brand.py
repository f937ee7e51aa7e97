"""The brand's voice is learnt from texts, and the product's own words do not count."""

import numpy as np

from shop.descriptions.brand import auc, brand_columns, fit_brand
from tests.unit.described_products import a_page, a_shelf


def test_a_voice_is_told_from_another() -> None:
    facts = a_shelf()
    ours = [f"Here is a calm page, number {word}." for word in ("one", "other", "third")]
    others = [f"OMG you NEED this {word}!!!" for word in ("one", "other", "third")]
    columns = [brand_columns(text, facts) for text in (*ours, *others)]
    is_ours = np.array([True] * 3 + [False] * 3)
    model = fit_brand(columns, is_ours, version="v", rounds=100)
    assert model.score("Here is a calm page.", facts) > 0.5
    assert model.score("OMG you NEED it!!!", facts) < 0.5
    scores = np.array([model.score(text, facts) for text in (*ours, *others)])
    assert auc(scores, is_ours) == 1.0


def test_the_products_own_words_do_not_count() -> None:
    facts = a_shelf()
    oak, sand = (brand_columns(f"Made of {word}.", facts) for word in ("oak", "sand"))
    assert oak.tolist() == sand.tolist()


def test_an_empty_text_sounds_like_nobody() -> None:
    model = fit_brand([brand_columns("calm", a_shelf())], np.array([True]), version="v", rounds=5)
    assert model.score("", a_shelf()) == 0.5
    assert 0.0 <= model.score(a_page().text * 20, a_shelf()) <= 1.0


def test_ties_count_half() -> None:
    assert auc(np.array([1.0, 1.0]), np.array([True, False])) == 0.5
