"""Category pages: how well they can be found, beside the page that a person wrote."""

import pytest

from shop.descriptions.draft import Draft
from shop.descriptions.faults import FaultKind
from shop.descriptions.seo import coverage_of_topics, seo_faults, seo_score, topics
from tests.unit.written_pages import a_category_page

KEYWORDS = ("shelves",)


@pytest.mark.parametrize(
    "changed",
    [
        {"title": "Oak"},
        {"title": ""},
        {"title": "Shelves " * 20},
        {"summary": ""},
        {"summary": "Boards in oak by Halden Studio, for who has books and wants to see them."},
        {"opening": "Boards that hold books. " * 8},
        {"opening": "Shelves.", "bullets": (), "close": ""},
        {"opening": "Shelves shelves shelves, more shelves. " * 9},
    ],
)
def test_whatever_makes_a_page_harder_to_find_costs_score(changed: dict[str, object]) -> None:
    good = seo_score(a_category_page(), KEYWORDS).value
    assert seo_score(a_category_page(**changed), KEYWORDS).value < good - 0.04


def test_parts_and_score_are_shares() -> None:
    for page in (a_category_page(), Draft("", (), ""), a_category_page(opening="x " * 2_000)):
        score = seo_score(page, KEYWORDS)
        assert 0.0 <= score.value <= 1.0
        assert all(0.0 <= part.value <= 1.0 for part in score.parts)


def test_a_page_worse_than_the_one_by_a_person_is_told_so() -> None:
    human = a_category_page()
    assert seo_faults(human, human, KEYWORDS) == ()
    worse = a_category_page(title="Oak and more of it", summary="")
    told = [fault.reason for fault in seo_faults(worse, human, KEYWORDS)]
    assert any("the page that a person wrote" in reason for reason in told)
    assert not any("a person" in fault.reason for fault in seo_faults(worse, None, KEYWORDS))


def test_topics_of_the_person_that_are_left_out_are_named() -> None:
    human = a_category_page()
    thin = a_category_page(bullets=(), close="", summary="Shelves " * 12, opening="Shelves. " * 30)
    assert coverage_of_topics(human, human) == 1.0
    assert coverage_of_topics(thin, human) < 0.5
    (fault,) = [f for f in seo_faults(thin, human, KEYWORDS) if "leaves out" in f.reason]
    assert fault.kind is FaultKind.SEO
    assert any(topic in fault.reason for topic in topics(human)[1:8])
