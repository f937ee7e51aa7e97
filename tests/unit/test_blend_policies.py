"""Blend policies: what each promises of the order, and what all of them keep."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shop.blend import Proposal, Quotas
from shop.blend_policies import BlendPolicy, BlendSettings, BlendWeights, Warmth, blend
from shop.candidates import BLENDED, Candidates, Source, proposed_of, source_bits
from shop.features import PLACEMENTS

TOWER, ITEM_ITEM, CONTENT = Source.TWO_TOWER, Source.ITEM_ITEM, Source.CONTENT
QUOTAS = Quotas(exploration=2, candidates=10, looked_up=20)
KNOWN = Warmth(1.0, np.ones(100, dtype=np.float32))
NEW_SHOPPER = Warmth(0.0, np.ones(100, dtype=np.float32))
ONE_EACH = BlendWeights(**{source.name.lower(): 1.0 for source in BLENDED if source != 4})
POLICIES: tuple[BlendPolicy, ...] = ("weighted", "mixed", "cascade")


def proposal(source: Source, *rows: int) -> Proposal:
    scores = np.linspace(1.0, 0.5, len(rows)).astype(np.float32)
    return Proposal(source, np.array(rows, dtype=np.int64), scores)


def blended(
    policy: BlendPolicy,
    *proposals: Proposal,
    weights: BlendWeights = ONE_EACH,
    warmth: Warmth = KNOWN,
    count: int = 20,
    **settings: tuple[str, ...],
) -> Candidates:
    blending = BlendSettings(weights=weights, **settings)
    return blend(policy, proposals, blending, QUOTAS, warmth, count)


def test_what_two_sources_agree_on_stands_first_in_the_weighted_blend() -> None:
    found = blended("weighted", proposal(TOWER, 1, 2, 3), proposal(ITEM_ITEM, 4, 3))
    assert found.rows.tolist() == [3, 1, 4, 2]


def test_a_weight_says_how_much_a_source_is_heard() -> None:
    loud = replace(ONE_EACH, item_item=1.5)
    found = blended("weighted", proposal(TOWER, 1, 2), proposal(ITEM_ITEM, 4, 5), weights=loud)
    assert found.rows.tolist() == [4, 5, 1, 2]


def test_the_sums_are_those_of_the_documented_formula() -> None:
    weights = replace(ONE_EACH, content_shift=0.5, content=0.3, item_item=0.8, user_user=0.4)
    products = np.zeros(100, dtype=np.float32)
    products[4] = 0.9
    warmth = Warmth(0.5, products)
    moved = {4: 0.5 * (1 - 0.45), 5: 0.5}
    k = weights.rank_offset
    expected = {
        4: 0.8 * (1 - moved[4]) / k + (0.3 + moved[4] * 1.2) / (k + 1),
        5: 0.8 * (1 - moved[5]) / (k + 1) + (0.3 + moved[5] * 1.2) / k,
    }
    found = blended(
        "weighted",
        proposal(ITEM_ITEM, 4, 5),
        proposal(CONTENT, 5, 4),
        weights=weights,
        warmth=warmth,
    )
    assert found.rows.tolist() == sorted(expected, key=lambda row: -expected[row])


def test_content_outweighs_behaviour_for_a_new_shopper_and_for_a_new_product_only() -> None:
    weights = replace(ONE_EACH, content_shift=1.0, content=0.9)
    proposals = proposal(ITEM_ITEM, 4), proposal(CONTENT, 5)
    known = blended("weighted", *proposals, weights=weights)
    assert known.rows.tolist() == [4, 5]
    stranger = blended("weighted", *proposals, weights=weights, warmth=NEW_SHOPPER)
    assert stranger.rows.tolist() == [5, 4]
    warmth = Warmth(1.0, np.where(np.arange(100) == 5, 0.0, 1.0).astype(np.float32))
    assert blended("weighted", *proposals, weights=weights, warmth=warmth).rows.tolist() == [5, 4]


def test_warmth_grows_from_nothing_towards_one() -> None:
    weights = BlendWeights(shopper_half=5.0, product_half=10.0)
    assert [Warmth.of_shopper(n, weights) for n in (0, 5, 45)] == [0.0, 0.5, 0.9]
    wishes = np.array([0, 10, 90], dtype=np.int32)
    assert Warmth.of_products(wishes, weights).tolist() == pytest.approx([0.0, 0.5, 0.9])


def test_mixed_gives_every_source_its_share_of_every_length() -> None:
    weights = replace(ONE_EACH, two_tower=2.0)
    found = blended(
        "mixed", proposal(TOWER, 1, 2, 3, 4), proposal(ITEM_ITEM, 5, 6), weights=weights
    )
    assert found.rows.tolist() == [1, 5, 2, 3, 6, 4]


def test_the_next_of_a_cascade_only_fills_up_what_is_missing() -> None:
    proposals = proposal(TOWER, 1, 2, 3, 4), proposal(ITEM_ITEM, 5, 1)
    order = ("item_item", "two_tower")
    assert blended("cascade", *proposals, cascade=order).rows.tolist() == [5, 1, 2, 3, 4]
    assert blended("cascade", *proposals, cascade=order, count=2).rows.tolist() == [5, 1]
    assert blended("cascade", *proposals, cascade=("two_tower",)).rows.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize("policy", POLICIES)
def test_products_to_be_tried_are_behind_most_and_before_the_cut(policy: BlendPolicy) -> None:
    found = blended(
        policy, proposal(TOWER, *range(1, 41)), proposal(Source.EXPLORATION, 50, 51), count=12
    )
    assert found.rows.tolist()[:8] == list(range(1, 9))
    assert {50, 51} <= set(found.rows.tolist())
    assert (found.source_scores[:, Source.EXPLORATION] == 1.0).sum() == 1


lists = st.lists(st.lists(st.integers(1, 60), unique=True, max_size=15), min_size=9, max_size=9)


@settings(max_examples=30)
@given(lists, st.integers(1, 40), st.sampled_from(POLICIES))
def test_every_policy_keeps_everybody_s_scores_and_repeats_nothing(
    rows: list[list[int]], count: int, policy: BlendPolicy
) -> None:
    proposals = [proposal(Source(at), *own) for at, own in enumerate(rows)]
    found = blended(policy, *proposals, warmth=Warmth(0.3, KNOWN.products), count=count)
    assert len(found) == min(count, len(set().union(*rows)))
    assert len(set(found.rows.tolist())) == len(found)
    for row, scores in zip(found.rows.tolist(), found.source_scores, strict=True):
        for each in proposals:
            at = np.flatnonzero(each.rows == row)
            expected = each.scores[at[0]] if at.size else np.nan
            np.testing.assert_equal(scores[each.source], expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_proposed_is_an_empty_list(policy: BlendPolicy) -> None:
    assert len(blended(policy)) == 0
    assert len(blended(policy, proposal(TOWER))) == 0


def test_a_catalogue_of_a_million_products_blends_alike() -> None:
    few = blended("weighted", proposal(TOWER, 1, 2, 3), proposal(Source.HISTORY, 3, 4))
    many = blended("weighted", proposal(TOWER, 1, 2, 900_003), proposal(Source.HISTORY, 900_003, 4))
    assert many.rows.tolist() == [900_003 if row == 3 else row for row in few.rows.tolist()]


def test_the_policy_is_a_setting_of_the_placement() -> None:
    settings = BlendSettings(home="mixed", email="cascade")
    assert settings.policy_of("home") == "mixed"
    assert settings.policy_of("email") == "cascade"
    assert all(BlendSettings().policy_of(placement) == "weighted" for placement in PLACEMENTS)


@pytest.mark.parametrize(
    ("make", "setting"),
    [
        (lambda: BlendWeights(content=-1.0), "content"),
        (lambda: BlendWeights(history=float("nan")), "history"),
        (lambda: BlendWeights(rank_offset=0.0), "rank_offset"),
        (lambda: BlendWeights(content_shift=1.5), "content_shift"),
        (lambda: BlendSettings(cascade=()), "cascade"),
        (lambda: BlendSettings(cascade=("history", "history")), "cascade"),
        (lambda: BlendSettings(cascade=("exploration",)), "cascade"),
    ],
)
def test_senseless_blends_are_refused(make: object, setting: str) -> None:
    with pytest.raises(ValueError, match=f"^{setting}: must"):
        make()  # type: ignore[operator]


def test_the_sources_of_a_product_fit_into_the_bits_of_a_page_token() -> None:
    proposed = np.random.default_rng(0).random((50, len(Source))) < 0.5
    assert (proposed_of(source_bits(proposed)) == proposed).all()
    assert len(Source) <= 16
