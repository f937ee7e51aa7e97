"""One stack for all end-to-end tests: a small world, learnt from in a minute, served for real."""

from collections.abc import Iterator

import pytest

from tests.e2e.running_stack import RunningStack, eventually, vitrine

# These tests judge whether, not how fast: a machine that is busy elsewhere must not fail them. Slow
# systems are asked as often as quick ones, so that a loss of theirs shows as soon.
PATIENT = """
[recommend.budgets]
total_ms = 3000
history_ms = 500
tower_ms = 500
index_ms = 500
ranking_ms = 500
lookups_ms = 250
[recommend.offers]
promotion.ttl_ms = 2000
cost.ttl_ms = 2000
supply.ttl_ms = 2000
"""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    folder = tmp_path_factory.mktemp("stack")
    state_dir, settings = folder / "state", folder / "settings.toml"
    settings.write_text(PATIENT)
    words = ("up", "--quick", "--detach", "--first-answer", "--settings", str(settings))
    up = vitrine(*words, state_dir=state_dir)
    assert up.returncode == 0, f"{up.stdout}\n{up.stderr}"
    (state_dir / "first_up.txt").write_text(up.stdout)
    running = RunningStack(state_dir)
    yield running
    running.client.close()
    down = vitrine("down", state_dir=state_dir)
    assert down.returncode == 0, down.stderr
    assert running.nothing_is_left()


@pytest.fixture(autouse=True)
def _whole_again(stack: RunningStack) -> Iterator[None]:
    """Each test finds and leaves the stack answering in full."""
    yield
    assert eventually(lambda: _is_whole(stack)), "the stack did not recover after this test"


def _is_whole(stack: RunningStack) -> bool:
    return stack.client.is_serving() and stack.answers_in_full()
