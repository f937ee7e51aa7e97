"""The schema of descriptions before a door needs it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.migrate import main, patiently
from shop.errors import DependencyUnavailable


def _away_for(times: int) -> Callable[[], None]:
    asked: list[None] = []

    def work() -> None:
        asked.append(None)
        if len(asked) <= times:
            raise DependencyUnavailable("versions", "no connection")

    return work


def test_a_database_is_brought_up_to_date_twice_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text(f'state_dir = "{tmp_path}"\n')
    for _ in range(2):
        assert main(["--settings", str(settings)]) == 0
        assert "up to date" in capsys.readouterr().out
    assert (tmp_path / "descriptions" / "versions.sqlite").exists()


def test_without_patience_a_database_that_is_away_is_an_error() -> None:
    with pytest.raises(DependencyUnavailable):
        patiently(_away_for(1), within_s=0.0)


def test_settings_that_are_none_end_it_with_their_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = tmp_path / "settings.toml"
    settings.write_text('[describe]\nstore = "postgres"\n')
    assert main(["--settings", str(settings)]) == 1
    assert "describe.postgres" in capsys.readouterr().err
