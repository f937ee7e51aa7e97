"""Letters: what keeps them from the inbox, told before anybody sends one."""

import pytest

from shop.descriptions.deliverability import (
    SpamReport,
    deliverability,
    deliverability_faults,
    letter_faults,
)
from shop.descriptions.draft import Draft
from shop.descriptions.faults import FaultKind
from tests.unit.written_pages import a_letter


def _report(points: float) -> SpamReport:
    return SpamReport(points, 5.0, (("DEAR_WINNER", 3.1), ("GOOD", -1.0)), "filter 1")


def test_a_plain_letter_has_no_fault() -> None:
    assert letter_faults(a_letter()) == ()
    assert deliverability(a_letter(), _report(0.0)) == 1.0


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"title": "WINTER SALE ON SHELVES"}, FaultKind.DELIVERABILITY),
        ({"title": "Shelves in oak!!"}, FaultKind.DELIVERABILITY),
        ({"title": "Shelves in oak, and " + "more of them " * 5}, FaultKind.DELIVERABILITY),
        ({"title": "\U0001f525 Shelves \U0001f525"}, FaultKind.DELIVERABILITY),
        ({"title": "Re: your order"}, FaultKind.SPAM),
        ({"title": ""}, FaultKind.FORM),
        ({"summary": ""}, FaultKind.DELIVERABILITY),
        ({"summary": "x" * 141}, FaultKind.DELIVERABILITY),
        ({"opening": "See picture.", "bullets": ()}, FaultKind.DELIVERABILITY),
    ],
)
def test_what_senders_do_to_themselves_is_named(
    changed: dict[str, object], kind: FaultKind
) -> None:
    assert [fault.kind for fault in letter_faults(a_letter(**changed))] == [kind]


def test_what_a_filter_files_away_is_blocked_with_the_rules_that_it_broke() -> None:
    (fault,) = deliverability_faults(a_letter(), _report(5.0))
    assert fault.is_blocking
    assert "DEAR_WINNER 3.1" in fault.reason
    assert "GOOD" not in fault.reason
    assert deliverability(a_letter(), _report(5.0)) == 0.0


def test_each_point_costs_reach() -> None:
    reach = [deliverability(a_letter(), _report(points)) for points in (-2.0, 0.0, 2.5, 4.9, 9.0)]
    assert reach == sorted(reach, reverse=True)
    assert reach[2] == pytest.approx(0.5)
    assert reach[-1] == 0.0


def test_marks_of_an_empty_letter_raise_nothing() -> None:
    assert letter_faults(Draft("", (), ""))
