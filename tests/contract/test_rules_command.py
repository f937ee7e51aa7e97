"""`vitrine rules`: every fault of a book at once, and what is in force for whoever asks."""

import asyncio
import json
import os
from pathlib import Path

import pytest

import vitrine
from serving.rulebooks import RuleBooks
from serving.settings import Settings
from serving.telemetry import Telemetry
from tests.contract.small_release import KEY, a_release
from tests.unit.rule_books import toml_of
from tests.unit.small_shop import a_shop

RULES = (
    'id = "hero"\nkind = "pin"\nproduct = "p40"\nposition = 1\nfrom = 2020-01-01T00:00:00Z',
    'id = "over"\nkind = "boost"\nfactor = 2\nbrands = ["acme"]\ncondition = "price < 5"\n'
    "until = 2020-01-01T00:00:00Z",
    'id = "law"\nkind = "legal"\ncountries = ["FR"]\ncategories = ["lamps"]',
    'kind = "cap"\nper = "brand"\nshare = 0.3',
    'kind = "margin_floor"\nshare = 0.1',
    'kind = "back_order"\nrisk = 0.4',
)


def run(*words: str, state_dir: Path) -> int:
    return vitrine.main([*words, "--state-dir", str(state_dir)])


def a_state_dir(folder: Path) -> Path:
    """With a small release that is current."""
    _, manifest = a_release(folder / "releases")
    (folder / "releases" / "CURRENT").write_text(manifest.release)
    (folder / "keys").mkdir()
    key = folder / "keys" / "release.key"
    key.write_text(KEY.hex())
    os.chmod(key, 0o600)
    return folder


def test_a_sound_book_is_called_fine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = tmp_path / "book.toml"
    book.write_text(toml_of(*RULES))
    assert run("rules", "check", str(book), state_dir=tmp_path) == vitrine.DONE
    out = capsys.readouterr().out
    assert "version v1, 6 rules, fine" in out
    assert "no release to compare names" in out


def test_every_fault_is_listed_with_its_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.toml"
    book.write_text(toml_of('kind = "boost"\nfactor = 0\nbrands = ["a"]', 'kind = "pin"'))
    assert run("rules", "check", str(book), state_dir=tmp_path) == vitrine.FAILED
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith(f"{book}: rule ") for line in lines) == 3
    assert run("rules", "check", str(book), "--json", state_dir=tmp_path) == vitrine.FAILED
    told = json.loads(capsys.readouterr().out)
    assert (told["usable"], len(told["faults"])) == (False, 3)


def test_names_are_judged_by_the_release_that_is_current(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.toml"
    book.write_text(toml_of('kind = "exclude"\ncategories = ["no such thing"]'))
    state_dir = a_state_dir(tmp_path)
    assert run("rules", "check", str(book), "--json", state_dir=state_dir) == vitrine.FAILED
    (fault,) = json.loads(capsys.readouterr().out)["faults"]
    assert "is no category of this catalogue" in fault


def test_a_file_that_is_not_there_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rules", "check", str(tmp_path / "none"), state_dir=tmp_path) == vitrine.FAILED
    assert "is not there" in capsys.readouterr().out


def test_what_is_in_force_is_shown_with_what_holds_now(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.toml").write_text(toml_of(*RULES))
    shop = a_shop()
    books = RuleBooks(Settings(state_dir=tmp_path), Telemetry())
    asyncio.run(books.open(shop.deps))
    (tmp_path / "rules.toml").write_text("changed since, and not looked at")
    assert run("rules", "show", "--json", state_dir=tmp_path) == vitrine.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == "v1"
    assert [rule["holds_now"] for rule in told["rules"]][:2] == [True, False]
    assert told["rules"][1]["to"] == "(brand acme) and price < 5"
    assert run("rules", "show", state_dir=tmp_path) == vitrine.DONE
    out = capsys.readouterr().out
    assert "pin:hero" in out
    assert "version v1, 6 rules" in out


def test_a_file_is_shown_that_no_stack_has_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    book = tmp_path / "book.toml"
    assert run("rules", "show", str(book), state_dir=tmp_path) == vitrine.FAILED
    assert "is not there; name a rule book" in capsys.readouterr().err
    book.write_text(toml_of(*RULES))
    assert run("rules", "show", str(book), state_dir=tmp_path) == vitrine.DONE
    assert "no stack has taken it up" in capsys.readouterr().out


def test_without_a_book_nothing_is_in_force(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("rules", "show", state_dir=tmp_path) == vitrine.DONE
    assert "version none, 0 rules" in capsys.readouterr().out
