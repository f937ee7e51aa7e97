"""How long work says in a log where it is."""

import io

from training.data.progress import progress_lines


def test_a_log_has_a_line_for_each_step_and_each_twentieth() -> None:
    log = io.StringIO()
    tell = progress_lines(log)
    for share in (0.0, 0.01, 0.02, 0.05, 0.051):
        tell("reading", share)
    tell("learning: loss 1.2", 0.052)
    assert log.getvalue().splitlines() == [
        "  0% reading",
        "  5% reading",
        "  5% learning: loss 1.2",
    ]
