"""How full the door is, as `vitrine status` shows it."""

from serving.stack.admission_state import AdmissionState

METRICS = {
    "vitrine_lists_allowed": 23.472,
    "vitrine_lists_under_way": 7.0,
    'vitrine_shed_total{reason="batch"}': 12.0,
    'vitrine_shed_total{reason="product"}': 0.0,
}


def test_limit_and_what_was_turned_away_are_shown() -> None:
    state = AdmissionState.of(METRICS)
    assert state == AdmissionState(23.5, 7, {"batch": 12})
    assert "7 lists under way, at most 24; turned away: batch ×12" in state.line()


def test_a_door_that_does_not_answer_shows_nothing() -> None:
    assert AdmissionState.of({}) is None
