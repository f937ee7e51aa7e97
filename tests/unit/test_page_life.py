"""Letters and category pages live as products' pages do: checked, queued, published, taken back."""

import asyncio
import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from serving.adapters.memory_descriptions import FixedSpamScorer, ScriptedWriter
from serving.describe.call import Deps, Wish
from serving.describe.handing_in import edit, submit
from serving.describe.versions import Action, Decision, Kept, State
from shop.descriptions.draft import Draft
from shop.descriptions.faults import FaultKind
from shop.descriptions.page_facts import Brief
from shop.descriptions.pages import PageKind
from shop.errors import InvalidRequest, NotFound
from tests.unit.describing import deps_of, kept_of
from tests.unit.written_pages import OFFER, a_category_page, a_letter

LETTER = Wish("spring", "ada", 7, None, PageKind.CAMPAIGN, OFFER)
SHELVES = Wish("shelves", "ada", 7, None, PageKind.CATEGORY)


def _submitted(deps: Deps, wish: Wish, draft: Draft, model: str = "") -> Kept:
    return asyncio.run(submit(wish, draft, model, deps))


def _decide(deps: Deps, kept: Kept, action: Action) -> Kept:
    about = kept.version
    decision = Decision(about.version_id, about.product_id, action, "bob", "", 2_000, about.kind)
    return asyncio.run(deps.versions.decide(decision))  # type: ignore[attr-defined]


def _measures(kept: Kept) -> dict[str, float]:
    return {each.name: each.value for each in kept.version.measures}


def test_a_true_letter_waits_for_a_person_with_what_a_filter_said(tmp_path: Path) -> None:
    spam = FixedSpamScorer(1.0)
    deps = deps_of(tmp_path, spam=spam)
    kept = _submitted(deps, LETTER, a_letter())
    assert kept.state is State.IN_REVIEW, kept.version.faults
    assert spam.letters == [a_letter()]
    assert _measures(kept)["spam points"] == 1.0
    assert _measures(kept)["deliverability"] == pytest.approx(0.8)
    assert asyncio.run(deps.versions.published("spring", PageKind.CAMPAIGN)) is None
    assert _decide(deps, kept, Action.APPROVED).state is State.PUBLISHED
    shown = asyncio.run(deps.versions.published("spring", PageKind.CAMPAIGN))
    assert shown is not None
    assert shown.version.text == a_letter()
    assert asyncio.run(deps.versions.published("spring")) is None


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        (
            {"opening": "Until 30 November every bookshelf of ours costs 50 % less."},
            FaultKind.NUMBER,
        ),
        ({"close": "Delivery is free, with free shipping for all of you."}, FaultKind.INVENTED),
        ({"close": "Buy now, before somebody else does and it is gone."}, FaultKind.BANNED),
        ({"title": "<script>alert(1)</script>"}, FaultKind.INJECTION),
    ],
)
def test_a_letter_may_say_what_was_stated_and_nothing_else(
    tmp_path: Path, changed: dict[str, object], kind: FaultKind
) -> None:
    kept = _submitted(deps_of(tmp_path), LETTER, a_letter(**changed))
    assert kept.state is State.REJECTED
    assert kind in {fault.kind for fault in kept.version.faults}


def test_a_letter_that_a_filter_files_away_is_rejected(tmp_path: Path) -> None:
    kept = _submitted(deps_of(tmp_path, spam=FixedSpamScorer(6.5)), LETTER, a_letter())
    assert kept.state is State.REJECTED
    assert FaultKind.SPAM in {fault.kind for fault in kept.version.faults}


def test_without_a_filter_a_letter_waits_and_says_that_nobody_read_it(tmp_path: Path) -> None:
    kept = _submitted(deps_of(tmp_path, spam=FixedSpamScorer(None)), LETTER, a_letter())
    assert kept.state is State.IN_REVIEW
    assert "no spam filter has read it" in kept.version.faults[-1].reason
    assert "spam points" not in _measures(kept)


def test_a_letter_about_no_product_in_particular_counts_for_the_whole_shop(tmp_path: Path) -> None:
    deps = deps_of(tmp_path)
    about_one = _submitted(deps, LETTER, a_letter()).version.impact
    brief = Brief((), OFFER.stated)
    kept = _submitted(deps, replace(LETTER, brief=brief), a_letter(bullets=()))
    assert kept.version.impact.traffic >= about_one.traffic > 0.0
    assert kept.version.impact.total > 0.0


def test_a_letter_about_an_unknown_product_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        _submitted(deps_of(tmp_path), replace(LETTER, brief=Brief(("P404",))), a_letter())


def test_an_edit_of_a_letter_is_held_to_what_was_stated_for_it(tmp_path: Path) -> None:
    deps = deps_of(tmp_path)
    kept = _submitted(deps, LETTER, a_letter())
    better = a_letter(close="Come by, look at it in the shop, and tell us how you like it.")
    edited = asyncio.run(edit(kept.version.version_id, better, "bob", deps))
    assert edited.state is State.PUBLISHED
    assert edited.version.kind is PageKind.CAMPAIGN
    worse = a_letter(close="Come by, it is 50 % off and waits for you.")
    with pytest.raises(InvalidRequest, match="50"):
        asyncio.run(edit(kept.version.version_id, worse, "bob", deps))


def test_a_letter_is_written_from_its_brief_with_the_faults_named(tmp_path: Path) -> None:
    wrong = json.dumps(asdict(a_letter(opening="Save 50 % on every bookshelf of this shop.")))
    writer = ScriptedWriter([wrong, json.dumps(asdict(a_letter()))])
    kept = asyncio.run(kept_of(deps_of(tmp_path, writer=writer), LETTER))
    assert kept.state is State.IN_REVIEW
    assert kept.version.attempts == 2
    assert kept.version.prompt_version == "campaign-1"
    assert '"offer": "20 % discount on every bookshelf' in writer.requests[0].prompt
    assert "50 %" in writer.requests[1].prompt
    assert set(writer.requests[0].schema["required"]) >= {"title", "summary"}  # type: ignore[call-overload]


def test_a_category_page_is_measured_beside_the_one_that_a_person_wrote(tmp_path: Path) -> None:
    deps = deps_of(tmp_path)
    human = _decide(deps, _submitted(deps, SHELVES, a_category_page()), Action.APPROVED)
    assert human.version.faults == ()
    assert "SEO score of the page that a person wrote" not in _measures(human)
    worse = a_category_page(title="Oak and more of it", summary="")
    kept = _submitted(deps, SHELVES, worse, "agency-model-2")
    told = _measures(kept)
    assert told["SEO score"] < told["SEO score of the page that a person wrote"]
    assert FaultKind.SEO in {fault.kind for fault in kept.version.faults}
    assert kept.version.scores.confidence < human.version.scores.confidence
    assert kept.version.model == "agency-model-2"
    shown = asyncio.run(deps.versions.published("shelves", PageKind.CATEGORY))
    assert shown is not None
    assert shown.version == human.version


def test_a_category_page_says_nothing_that_its_products_are_not(tmp_path: Path) -> None:
    page = a_category_page(close="They are waterproof, and come with a warranty of 5 years.")
    kept = _submitted(deps_of(tmp_path), SHELVES, page)
    assert kept.state is State.REJECTED
    assert "waterproof" in {fault.text for fault in kept.version.faults}
    with pytest.raises(NotFound):
        _submitted(deps_of(tmp_path), replace(SHELVES, product_id="boats"), page)
