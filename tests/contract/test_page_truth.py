"""The second judge of texts, written from the world: it agrees with pages that are true."""

from loadtest.benchmarks.planted_faults import clean_pages, planted_faults
from simulator.page_truth import untruths


def test_true_pages_are_true_to_the_world() -> None:
    for facts, draft in clean_pages(count=150):
        lines = tuple((each.name, each.value, each.unit) for each in facts.lines)
        assert untruths(facts.title, lines, draft.text) == []


def test_wrong_numbers_materials_and_colours_are_seen() -> None:
    seen = total = 0
    for each in planted_faults():
        if each.kind == "wrong number":
            lines = tuple((line.name, line.value, line.unit) for line in each.facts.lines)
            seen += bool(untruths(each.facts.title, lines, each.draft.text))
            total += 1
    assert seen / total > 0.95
    lines = (("material", "oak", ""), ("width", "80", "cm"))
    said = "Made of walnut in navy, 90 cm wide"
    assert untruths("Oak shelf", lines, said) == ["navy", "walnut", "90 cm"]
