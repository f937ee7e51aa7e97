"""A corner of the matrix of `vitrine bench backends`: no failed call, nothing sold out shown."""

from loadtest.benchmarks.ailing import ailing_stack
from tests.e2e.running_stack import RunningStack


def test_wrong_figures_fail_no_call_show_nothing_sold_out_and_are_named(
    stack: RunningStack,
) -> None:
    corner = [("inventory", "negative"), ("pricing", "no numbers")]
    cells = ailing_stack(stack.state_dir, stack.state, corner, settled_s=1.0)
    assert [(cell.system, cell.ailment) for cell in cells] == corner
    for cell in cells:
        assert cell.calls == 120  # 30 a second: two until nothing is current, one to settle
        assert (cell.failed, cell.sold_out_shown) == (0, 0)
        assert cell.is_named, cell
