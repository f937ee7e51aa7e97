"""How many planted faults the validators find, and how often they cry wolf."""

from collections import Counter

from loadtest.benchmarks.planted_faults import clean_pages, planted_faults
from shop.descriptions.faults import FaultKind
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Measured, check

_FINE = Measured(grade=6.0, language="en")


def test_planted_faults_are_found() -> None:
    planted = planted_faults()
    found: Counter[str] = Counter()
    missed = []
    for each in planted:
        checked = check(each.draft, each.facts, StyleGuide(), _FINE)
        found[each.kind] += checked.is_blocked
        if not checked.is_blocked:
            missed.append((each.kind, each.what))
    in_all = Counter(each.kind for each in planted)
    assert len(planted) >= 500
    assert len(in_all) == 9
    assert sum(found.values()) / len(planted) >= 0.98, missed
    for kind, count in in_all.items():
        assert found[kind] / count >= 0.95, [each for each in missed if each[0] == kind]


def test_true_pages_pass() -> None:
    pages = clean_pages()
    wrong = [
        fault
        for facts, draft in pages
        for fault in check(draft, facts, StyleGuide(), _FINE).faults[:1]
        if fault.is_blocking
    ]
    assert len(wrong) / len(pages) <= 0.02, [str(fault) for fault in wrong]


def test_faults_are_named_by_their_kind() -> None:
    kinds = {
        "wrong number": {FaultKind.NUMBER, FaultKind.CONTRADICTION},
        "wrong unit": {FaultKind.NUMBER, FaultKind.CONTRADICTION, FaultKind.INVENTED},
        "banned word": {FaultKind.BANNED},
        "injection": {FaultKind.INJECTION},
    }
    right = total = 0
    for each in planted_faults()[:240]:
        if each.kind in kinds:
            faults = check(each.draft, each.facts, StyleGuide(), _FINE).faults
            right += bool({fault.kind for fault in faults} & kinds[each.kind])
            total += 1
    assert right / total >= 0.95
