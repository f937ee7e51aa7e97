"""What a load test is held to: read whole, or refused with the key and the fix."""

from dataclasses import replace
from pathlib import Path

import pytest

from loadtest.slo import DEFAULT_SLO, read_limits
from loadtest.traffic import SCENARIOS
from loadtest.verdict import Limits, faults_of, summary_of
from shop.errors import SettingsRejected
from tests.unit.load_logs import a_log


def limits_of(text: str, folder: Path, scenario: str = "browse") -> Limits:
    file = folder / "slo.toml"
    file.write_text(text)
    return read_limits(file, scenario, SCENARIOS)


@pytest.mark.parametrize("scenario", sorted(SCENARIOS))
def test_every_scenario_is_held_to_something(scenario: str) -> None:
    limits = read_limits(DEFAULT_SLO, scenario, SCENARIOS)
    assert limits.p99_ms is not None
    assert limits.error_share == 0.0


def test_a_scenarios_own_table_goes_before_the_default(tmp_path: Path) -> None:
    text = "[default]\np99_ms = 100\nerror_share = 0.01\n[browse]\np99_ms = 50\n"
    found = limits_of(text, tmp_path)
    assert (found.p99_ms, found.error_share) == (50, 0.01)
    assert limits_of(text, tmp_path, "cart").p99_ms == 100


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[brose]\np99_ms = 1\n", "brose is no scenario; tables are default, browse"),
        ("p99_ms = 1\n", "p99_ms is no scenario"),
        ("[default]\np98_ms = 1\n", "default.p98_ms: unknown limit; allowed: p99_ms, error_share"),
        ("[browse]\np99_ms = 0\n", "browse.p99_ms = 0: must be a number above 0"),
        ("[browse]\np99_ms = inf\n", "browse.p99_ms = inf: must be a number above 0"),
        ("[browse]\np99_ms = true\n", "browse.p99_ms = True: must be a number above 0"),
        ("[browse]\np99_ms = '9'\n", "browse.p99_ms = '9': must be a number above 0"),
        ("[cart]\nerror_share = 1.5\n", "cart.error_share = 1.5: must be a share from 0 to 1"),
        ("[cart]\nerror_share = nan\n", "cart.error_share = nan: must be a share from 0 to 1"),
        ("[cart\n", "is no TOML"),
    ],
)
def test_what_is_wrong_is_told_with_its_key_and_the_fix(
    text: str, told: str, tmp_path: Path
) -> None:
    with pytest.raises(SettingsRejected) as refused:
        limits_of(text, tmp_path)
    assert told in str(refused.value)
    assert "slo.toml" in str(refused.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingsRejected, match="cannot be read"):
        read_limits(tmp_path / "none.toml", "browse", SCENARIOS)


NOTHING_ASKED = Limits(event_error_share=None)
RUN = summary_of(
    a_log(
        [10.0] * 99 + [500.0],
        degraded=((("ranking NO_RANKING"),),) * 5 + ((),) * 95,
        scored=[0] * 5 + [500] * 95,
        late_ms=[3.0] * 100,
    )
)


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("p50_ms", 10.0, 9.9),
        ("p99_ms", 10.0, 9.9),
        ("p999_ms", 500.0, 499.0),
        ("degraded_share", 0.05, 0.04),
        ("scored_share", 0.95, 0.96),
        ("late_p99_ms", 3.0, 2.9),
    ],
)
def test_each_limit_holds_up_to_itself(name: str, good: float, bad: float) -> None:
    assert faults_of(RUN, NOTHING_ASKED) == []
    assert faults_of(RUN, replace(NOTHING_ASKED, **{name: good})) == []
    assert len(faults_of(RUN, replace(NOTHING_ASKED, **{name: bad}))) == 1
