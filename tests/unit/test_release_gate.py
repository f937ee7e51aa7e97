"""The gate between a release that was built and one that is served."""

from export.gate import faults

GOOD = {
    "two-tower next recall@20": 0.15,
    "popularity next recall@20": 0.04,
    "ranker click test auc": 0.74,
    "ranker purchase test auc": 0.79,
    "served next recall@20": 0.14,
}


def _told(candidate: dict[str, float], active: dict[str, float] | None = GOOD) -> list[str]:
    return list(faults(candidate, active))


def test_a_release_like_the_one_before_may_follow() -> None:
    assert _told(GOOD | {"two-tower next recall@20": 0.147}) == []


def test_the_first_release_needs_only_to_be_better_than_popularity() -> None:
    assert _told(GOOD, None) == []
    (fault,) = _told(GOOD | {"two-tower next recall@20": 0.04}, None)
    assert "popular" in fault


def test_a_release_that_was_not_measured_is_held() -> None:
    candidate = {name: value for name, value in GOOD.items() if "click" not in name}
    assert _told(candidate) == ["it was never measured: ranker click test auc"]


def test_a_loss_counts_above_chance() -> None:
    # 0.74 → 0.72 is 2.7 % of the AUC, and 8 % of what the model knows.
    (fault,) = _told(GOOD | {"ranker click test auc": 0.72})
    assert fault == "ranker click test auc 0.7200, the active release has 0.7400"


def test_what_only_one_of_them_measured_is_not_compared() -> None:
    before = {name: value for name, value in GOOD.items() if "served" not in name}
    assert _told(GOOD, before) == []
    assert _told(GOOD | {"served next recall@20": 0.0}, before) == []
