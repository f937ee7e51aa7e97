"""Two texts side by side, and the window's list: what the pages are made from."""

import time

from serving.client_calls import RequestFields
from serving.console.comparing import Run, compared
from serving.console.product_view import viewed
from serving.console.window import PLACEMENTS, STAGES, money, shown_products, stage_times
from serving.proto import descriptions_pb2 as texts
from serving.proto import recommendations_pb2 as pb
from serving.recommend.request import Stage
from shop import features

FACTS = (("title", "Vesper jacket", ""), ("material", "linen", ""), ("weight", "420", "g"))


def a_version(opening: str, number: int = 1, **fields: object) -> texts.DescriptionVersion:
    text = texts.PageText(opening=opening, bullets=["Weighs 420 g"], close="")
    facts = [texts.ProductFact(name=n, value=v, unit=u) for n, v, u in FACTS]
    version = texts.DescriptionVersion(
        version_id=f"v{number}", product_id="P1", number=number, text=text, facts=facts
    )
    version.MergeFrom(texts.DescriptionVersion(**fields))
    return version


def changed(runs: tuple[Run, ...]) -> list[str]:
    return [run.text for run in runs if run.is_changed]


def test_nothing_of_a_text_is_lost_or_added_by_showing_it() -> None:
    chosen = a_version("A light  jacket,\tmade of linen.")
    shown = compared(chosen, a_version("A warm jacket.", 2)).chosen
    assert "".join(run.text for run in shown.opening) == chosen.text.opening
    assert ["".join(run.text for run in bullet) for bullet in shown.bullets] == ["Weighs 420 g"]
    assert shown.close == ()


def test_only_words_that_differ_are_marked() -> None:
    both = compared(a_version("A light jacket for you."), a_version("A warm jacket for you.", 2))
    assert changed(both.chosen.opening) == ["light"]
    assert both.other is not None
    assert changed(both.other.opening) == ["warm"]


def test_a_claim_knows_the_row_of_the_fact_that_grants_it() -> None:
    comparison = compared(a_version("A jacket of linen."))
    (claim,) = [run.claim for run in comparison.chosen.opening if run.claim]
    assert claim.is_supported
    assert claim.row is not None
    assert comparison.facts[claim.row].name == "material"
    assert comparison.chosen.unsupported == 0


def test_a_claim_that_no_fact_grants_is_counted() -> None:
    comparison = compared(a_version("A jacket of cashmere."))
    assert comparison.chosen.unsupported == 1
    assert not comparison.facts[1].is_told


def test_a_long_dull_text_is_compared_quickly() -> None:
    began = time.perf_counter()
    compared(a_version("a " * 3_000), a_version("b a " * 1_500, 2))
    assert time.perf_counter() - began < 5.0  # quadratic comparing took minutes


def test_what_waits_is_looked_at_first_beside_what_is_shown() -> None:
    kept = texts.ListVersionsResponse(
        versions=[
            a_version("three", 3, state=texts.VERSION_REJECTED),
            a_version("two", 2, state=texts.VERSION_IN_REVIEW),
            a_version("one", 1, state=texts.VERSION_PUBLISHED),
        ]
    )
    view = viewed(kept, chosen="", against="")
    assert view.waits
    assert view.chosen.number == 2
    assert view.other is not None
    assert view.other.number == 1
    chosen = viewed(kept, chosen="v1", against="v3")
    assert (chosen.chosen.number, chosen.other and chosen.other.number) == (1, 3)


def test_only_what_was_shown_once_may_be_shown_again() -> None:
    decisions = [
        texts.DecisionRecord(version_id="v2", action="approved"),
        texts.DecisionRecord(version_id="v1", action="published"),
        texts.DecisionRecord(version_id="v3", action="rejected"),
    ]
    versions = [
        a_version("three", 3, state=texts.VERSION_REJECTED),
        a_version("two", 2, state=texts.VERSION_PUBLISHED),
        a_version("one", 1, state=texts.VERSION_SUPERSEDED),
    ]
    kept = texts.ListVersionsResponse(versions=versions, decisions=decisions)
    view = viewed(kept, chosen="", against="")
    assert [line.may_be_shown_again for line in view.lines] == [False, False, True]
    assert view.back_to is not None
    assert view.back_to.number == 1


def test_placements_and_stages_are_those_of_the_pipeline() -> None:
    assert PLACEMENTS == features.PLACEMENTS
    apart = (Stage.FEEDS, Stage.PRICING, Stage.TOTAL)
    assert tuple(stage.value for stage in Stage if stage not in apart) == STAGES


def test_stages_come_in_the_order_of_the_call_and_the_slowest_fills_its_bar() -> None:
    reply = pb.RecommendResponse(
        stage_ms={"ranking": 4.0, "history": 1.0, "total": 9.0, "new": 2.0}
    )
    assert [(stage.name, stage.share) for stage in stage_times(reply)] == [
        ("history", 0.25),
        ("ranking", 1.0),
        ("new", 0.5),
    ]
    assert stage_times(pb.RecommendResponse()) == ()


def test_a_reduced_product_shows_both_prices_and_a_head_without_labels_none() -> None:
    item = pb.RecommendedProduct(product_id="P1", price_minor=1_999, list_price_minor=123_456)
    item.explanation.click = 0.5
    (shown,) = shown_products(pb.RecommendResponse(items=[item], currency="EUR"))
    assert (shown.price, shown.list_price) == ("19.99 EUR", "1,234.56 EUR")
    assert [chance.name for chance in shown.chances] == ["click"]
    assert money(5, "") == "0.05"


def test_the_client_knows_previews() -> None:
    assert "preview" in RequestFields.__annotations__
