"""The benchmark of questions: it holds only if asked lines are told, and nothing else is said."""

from typing import Any

from loadtest.benchmarks.asks import result_of
from loadtest.benchmarks.result import Result


def a_line(**changed: Any) -> dict[str, Any]:
    line = {
        "source": "catalogue", "bound": True, "question": "width?", "wanted": [1, 2],
        "told": [1, 2], "said": ["Its width is 80 cm.", "Its width is 90 cm."], "beside": 0,
        "untrue": [], "left_out": {},
    }  # fmt: skip
    return line | changed


UNANSWERABLE = a_line(wanted=[], told=[], said=[])


def of(*lines: dict[str, Any]) -> Result:
    phrased = [line | {"bound": False, "told": [], "said": []} for line in lines]
    return result_of([*lines, *phrased], 2.0)


def test_all_told_and_silent_where_nothing_is_known_holds() -> None:
    result = of(a_line(), UNANSWERABLE)
    assert result.holds
    assert result.figures["questions"] == 2
    assert (result.figures["catalogue_chosen_told"], result.figures["catalogue_phrased_told"]) == (
        1.0,
        0.0,
    )


def test_what_is_not_told_or_said_for_nothing_or_untrue_does_not_hold() -> None:
    assert not of(a_line(told=[1]), UNANSWERABLE).holds
    assert not of(a_line(told=[3, 4]), UNANSWERABLE).holds
    assert not of(a_line(), UNANSWERABLE | {"said": ["It costs 9.90 EUR."]}).holds
    assert not of(a_line(untrue=["Its width is 80 cm."]), UNANSWERABLE).holds


def test_what_was_left_out_and_said_beside_is_counted() -> None:
    lines = [a_line(left_out={"number": 2, "word": 1}, beside=1), UNANSWERABLE]
    figures = of(*lines).figures
    assert (figures["catalogue_chosen_left_out"], figures["catalogue_chosen_beside"]) == (3, 1)
