"""Product photos live the life of texts: judged, queued, published; look-alikes are pointed out."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from serving.adapters.photos import read_photo
from serving.describe.call import Deps, Wish
from serving.describe.handing_in import edit, submit_photo
from serving.describe.judging import PhotoJudge
from serving.describe.pipeline import describe
from serving.describe.versions import Kept, State
from shop.descriptions.draft import Draft
from shop.descriptions.faults import FaultKind
from shop.descriptions.pages import PageKind
from shop.errors import InvalidRequest
from shop.photos.measures import FEATURES
from shop.photos.quality import PhotoLimits, QualityModel
from tests.unit.described_products import a_shelf
from tests.unit.describing import a_product, deps_of
from tests.unit.drawn_photos import a_photo, as_file

ALT = Draft("An oak bookshelf in sand, 80 cm wide.", (), "")


def _deps(folder: Path, quality: float | None = 0.95) -> Deps:
    products = [a_product(), a_product(replace(a_shelf(), product_id="P2"))]
    nothing = np.zeros(2 * FEATURES)
    bias = 0.0 if quality is None else float(np.log(quality / (1 - quality)))
    model = None
    if quality is not None:
        model = QualityModel(nothing, bias, nothing, np.ones(2 * FEATURES), 112, "fixed")
    judge = PhotoJudge(PhotoLimits(least_side=100), model)
    return replace(deps_of(folder, products=products), photos=judge)


def _handed_in(deps: Deps, product_id: str = "P1", alt: Draft = ALT, seed: int = 1) -> Kept:
    photo = read_photo(as_file(a_photo(seed), quality=95), thumbnail_side=112)
    wish = Wish(product_id, "ada", 0, None, PageKind.PHOTO)
    return asyncio.run(submit_photo(wish, alt, photo, deps))


def test_a_good_photo_of_a_quiet_product_is_published_with_its_figures(tmp_path: Path) -> None:
    kept = _handed_in(_deps(tmp_path))
    assert kept.state is State.PUBLISHED, kept.version.faults
    told = {each.name: each.value for each in kept.version.measures}
    assert told["quality"] == pytest.approx(0.95)
    assert (told["width in pixels"], told["height in pixels"]) == (120, 160)
    assert kept.version.photo


def test_a_photo_that_the_model_doubts_waits_for_a_person(tmp_path: Path) -> None:
    kept = _handed_in(_deps(tmp_path, quality=0.3))
    assert kept.state is State.IN_REVIEW
    assert "quality 0.30" in str(kept.version.faults[-1])


def test_without_a_model_a_photo_waits_and_says_why(tmp_path: Path) -> None:
    kept = _handed_in(_deps(tmp_path, quality=None))
    assert kept.state is State.IN_REVIEW
    assert "no trained model" in str(kept.version.faults[-1])


def test_the_photo_of_another_product_is_pointed_out(tmp_path: Path) -> None:
    deps = _deps(tmp_path)
    _handed_in(deps)
    again = _handed_in(deps)  # of the same product: no look-alike of itself
    assert again.version.faults == ()
    other = _handed_in(deps, "P2")
    assert "looks like the one of P1" in str(other.version.faults[-1])
    assert _handed_in(deps, "P2", seed=5).version.faults == ()


def test_the_line_read_in_its_place_is_held_to_the_facts(tmp_path: Path) -> None:
    kept = _handed_in(_deps(tmp_path), alt=Draft("A pine bookshelf, 90 cm wide.", (), ""))
    assert kept.state is State.REJECTED
    assert {"pine", "90 cm"} <= {fault.text for fault in kept.version.faults}
    assert FaultKind.CONTRADICTION in {fault.kind for fault in kept.version.faults}


def test_photos_are_neither_written_nor_edited(tmp_path: Path) -> None:
    deps = _deps(tmp_path)
    wish = Wish("P1", "ada", 0, None, PageKind.PHOTO)
    with pytest.raises(InvalidRequest, match="handed in"):
        asyncio.run(anext(describe(wish, deps)))
    kept = _handed_in(deps)
    with pytest.raises(InvalidRequest, match="photo's"):
        asyncio.run(edit(kept.version.version_id, ALT, "ada", deps))
