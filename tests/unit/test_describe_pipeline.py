"""From facts to a version: published, waiting for a person, or rejected; never ungrounded."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from serving.adapters.memory_descriptions import NoWriter, ScriptedWriter
from serving.describe.call import WritingSettings
from serving.describe.handing_in import edit
from serving.describe.pipeline import Judged, Written, describe
from serving.describe.versions import Action, State
from shop.descriptions.faults import FaultKind
from shop.descriptions.pages import PageKind
from shop.descriptions.prompts import answer_schema
from shop.descriptions.style import StyleGuide
from shop.descriptions.wording import wording_of
from shop.errors import DependencyUnavailable, InvalidRequest, NotFound
from tests.unit.described_products import a_page, a_shelf
from tests.unit.describing import (
    DULL,
    FALSE,
    TRUE,
    a_brand,
    a_product,
    a_wish,
    deps_of,
    hostile_product,
    kept_of,
    steps_of,
)


def test_a_true_page_of_a_quiet_product_is_published(tmp_path: Path) -> None:
    deps = deps_of(tmp_path)
    kept = asyncio.run(kept_of(deps))
    assert kept.state is State.PUBLISHED
    assert kept.version.text == a_page()
    assert kept.version.model == "scripted-1"
    assert kept.version.seed == 7
    assert '"width": "80 cm"' in kept.version.prompt
    shown = asyncio.run(deps.versions.published("P1"))
    assert shown is not None
    assert shown.version == kept.version


def test_the_faults_of_a_draft_are_named_in_the_next_prompt(tmp_path: Path) -> None:
    writer = ScriptedWriter([FALSE, TRUE])
    deps = deps_of(tmp_path, writer=writer)
    kept = asyncio.run(kept_of(deps))
    assert kept.state is State.PUBLISHED
    assert kept.version.attempts == 2
    assert "FAULTS" not in writer.requests[0].prompt
    assert "FAULTS" in writer.requests[1].prompt
    assert "90 cm" in writer.requests[1].prompt
    assert writer.requests[0].seed != writer.requests[1].seed


def test_a_page_is_held_to_its_wording_unless_the_model_has_a_free_hand(tmp_path: Path) -> None:
    writer = ScriptedWriter([TRUE])
    deps = deps_of(tmp_path, writer=writer)
    asyncio.run(kept_of(deps))
    asyncio.run(kept_of(replace(deps, writing=WritingSettings(binds_wording=False))))
    bound, free = (each.schema for each in writer.requests)
    wording = wording_of(a_shelf(), StyleGuide())
    assert bound == answer_schema(PageKind.PRODUCT, wording) != free
    assert free == answer_schema(PageKind.PRODUCT)


def test_what_stays_untrue_is_rejected_after_two_regenerations(tmp_path: Path) -> None:
    writer = ScriptedWriter([FALSE])
    deps = deps_of(tmp_path, writer=writer)
    kept = asyncio.run(kept_of(deps))
    assert len(writer.requests) == 3
    assert kept.state is State.REJECTED
    assert asyncio.run(deps.versions.published("P1")) is None


@pytest.mark.parametrize("answer", ["no JSON", '{"opening": "x"}', "{" * 99])
def test_an_unreadable_answer_is_kept_and_rejected(tmp_path: Path, answer: str) -> None:
    kept = asyncio.run(kept_of(deps_of(tmp_path, [answer])))
    assert kept.state is State.REJECTED
    assert kept.version.faults[0].kind is FaultKind.FORM


def test_matters_of_taste_wait_for_a_person(tmp_path: Path) -> None:
    style = StyleGuide(publish_above=0.95)
    kept = asyncio.run(kept_of(deps_of(tmp_path, [DULL], style=style)))
    assert kept.state is State.IN_REVIEW
    assert kept.version.faults


def test_a_busy_product_waits_for_a_person(tmp_path: Path) -> None:
    deps = deps_of(tmp_path, products=[a_product(traffic_share=0.9)])
    assert asyncio.run(kept_of(deps)).state is State.IN_REVIEW


def test_a_product_with_hostile_attributes_waits_for_a_person(tmp_path: Path) -> None:
    deps = deps_of(tmp_path, products=[hostile_product()])
    kept = asyncio.run(kept_of(deps))
    assert kept.state is State.IN_REVIEW
    assert kept.version.impact.risk == 1.0


def test_a_text_that_does_not_sound_like_the_shop_is_not_published(tmp_path: Path) -> None:
    kept = asyncio.run(kept_of(deps_of(tmp_path, brand=a_brand(0.2))))
    assert kept.state is State.IN_REVIEW
    assert FaultKind.VOICE in {fault.kind for fault in kept.version.faults}


def test_categories_have_thresholds_of_their_own(tmp_path: Path) -> None:
    deps = deps_of(tmp_path)
    strict = {"shelves": StyleGuide(publish_above=1.0)}
    object.__setattr__(deps, "styles", strict)
    assert asyncio.run(kept_of(deps)).state is State.IN_REVIEW


def test_pieces_and_judgements_are_told_as_they_come(tmp_path: Path) -> None:
    steps = asyncio.run(steps_of(deps_of(tmp_path, [FALSE, TRUE])))
    written = [step for step in steps if isinstance(step, Written)]
    judged = [step for step in steps if isinstance(step, Judged)]
    assert "".join(step.piece.text for step in written if step.attempt == 2) == TRUE
    assert [bool(step.faults) for step in judged] == [True, False]


def test_leaving_stops_the_writer_and_keeps_nothing(tmp_path: Path) -> None:
    writer = ScriptedWriter([TRUE])
    deps = deps_of(tmp_path, writer=writer)

    async def leave() -> None:
        steps = describe(a_wish(), deps)
        await anext(steps)
        await steps.aclose()
        assert (await deps.versions.history("P1"))[0] == []

    asyncio.run(leave())
    assert writer.was_left


def test_without_a_writer_nothing_is_written_and_what_is_published_stays(tmp_path: Path) -> None:
    first = deps_of(tmp_path)
    asyncio.run(kept_of(first))
    without = deps_of(tmp_path, writer=NoWriter())
    with pytest.raises(DependencyUnavailable, match="no language model"):
        asyncio.run(steps_of(without))
    assert asyncio.run(without.versions.published("P1")) is not None


def test_an_unknown_product_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        asyncio.run(steps_of(deps_of(tmp_path), a_wish("P404")))


def test_an_edit_is_published_as_a_version_of_its_own(tmp_path: Path) -> None:
    deps = deps_of(tmp_path, products=[a_product(traffic_share=0.9)])

    async def edited() -> None:
        waiting = await kept_of(deps)
        mine = a_page(close="Put it together with storage boxes and lamps.")
        kept = await edit(waiting.version.version_id, mine, "bob", deps)
        assert kept.state is State.PUBLISHED
        assert kept.number == 2
        assert kept.version.model == ""
        assert kept.version.actor == "bob"
        assert (await deps.versions.waiting(limit=9, after=None))[1] == 0
        _, decisions = await deps.versions.history("P1")
        assert next(each.action for each in decisions) is Action.EDITED

    asyncio.run(edited())


def test_an_edit_that_no_fact_grants_is_refused(tmp_path: Path) -> None:
    deps = deps_of(tmp_path, products=[a_product(traffic_share=0.9)])

    async def edited() -> None:
        waiting = await kept_of(deps)
        untrue = a_page(close="It goes with lamps and lasts 99 years.")
        await edit(waiting.version.version_id, untrue, "bob", deps)

    with pytest.raises(InvalidRequest, match="99 years"):
        asyncio.run(edited())
