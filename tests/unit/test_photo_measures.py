"""A photo in figures: each moves where it should, and stays in its range."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from shop.photos.fingerprint import ALIKE, distances, fingerprint
from shop.photos.measures import FEATURES, Pixels, feature_row, measured
from shop.photos.quality import PhotoLimits, fit_quality, photo_faults
from tests.unit.drawn_photos import a_photo

LIMITS = PhotoLimits(least_side=100)


def _blurred(pixels: Pixels, times: int = 12) -> Pixels:
    found = pixels.astype(float)
    for _ in range(times):
        found = (found + np.roll(found, 1, 0) + np.roll(found, 1, 1) + np.roll(found, -1, 0)) / 4
    return found.astype(np.uint8)


def _two_tones(pixels: Pixels) -> Pixels:
    is_light = pixels.mean(axis=2, keepdims=True) > 128
    return np.repeat(np.where(is_light, 255, 0).astype(np.uint8), 3, axis=2)


def _reasons(pixels: Pixels) -> str:
    height, width, _ = pixels.shape
    found = photo_faults(width, height, measured(pixels), LIMITS)
    return "; ".join(fault.reason for fault in found)


def test_a_good_photo_has_no_fault() -> None:
    assert _reasons(a_photo()) == ""


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (_blurred(a_photo(), 40), "is blurred"),
        ((a_photo() * 0.06).astype(np.uint8), "is too dark"),
        (np.clip(a_photo().astype(int) + 235, 0, 255).astype(np.uint8), "is too bright"),
        (_two_tones(a_photo()), "plain black or white"),
        (np.random.default_rng(1).integers(0, 255, (120, 120, 3), np.uint8), "restless background"),
        (np.full((120, 120, 3), 128, np.uint8), "fills 0%"),
        (a_photo(width=120, height=330), "times as long"),
        (a_photo(width=90, height=120), "90 × 120 pixels"),
    ],
)
def test_what_is_wrong_with_a_photo_is_named_with_its_figure(spoilt: Pixels, said: str) -> None:
    assert said in _reasons(spoilt)


def test_figures_are_finite_and_in_range_whatever_the_pixels() -> None:
    rng = np.random.default_rng(3)
    pictures = [np.full((16, 16, 3), value, np.uint8) for value in (0, 255)]
    pictures += [rng.integers(0, 256, (16 + n, 40, 3), np.uint8) for n in range(4)]
    for pixels in pictures:
        found = asdict(measured(pixels))
        assert np.isfinite(list(found.values())).all()
        for name in set(found) - {"noise", "blocking", "colours"}:
            assert 0.0 <= found[name] <= 1.0, name
        assert feature_row(measured(pixels)).shape == (2 * FEATURES,)


@pytest.mark.parametrize("shape", [(15, 40, 3), (40, 40), (40, 40, 4)])
def test_what_is_no_photo_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be"):
        measured(np.zeros(shape, np.uint8))


def test_the_fingerprint_knows_a_photo_again_and_no_other() -> None:
    grey = [a_photo(seed).astype(float).mean(axis=2) for seed in range(12)]
    prints = np.array([fingerprint(each) for each in grey], np.uint64)
    darker = np.clip(grey[0] * 0.85 + np.random.default_rng(1).normal(0, 4, grey[0].shape), 0, 255)
    larger = np.kron(darker, np.ones((2, 2)))
    bits = distances(fingerprint(larger), prints)
    assert bits[0] <= ALIKE
    assert bits[1:].min() > ALIKE


def test_the_model_learns_what_spoils_a_photo() -> None:
    good = [measured(a_photo(seed)) for seed in range(30)]
    bad = [measured(_blurred(a_photo(seed))) for seed in range(30)]
    rows = np.stack([feature_row(each) for each in (*good[:20], *bad[:20])])
    model = fit_quality(rows, np.arange(40) < 20, side=112, version="v")
    assert min(model.score(each) for each in good[20:]) > 0.5
    assert max(model.score(each) for each in bad[20:]) < 0.5
    assert 0.0 <= model.score(replace(good[0], noise=1e300)) <= 1.0
