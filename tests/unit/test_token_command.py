"""`vitrine token`, as an operator types it."""

import json
import stat
from pathlib import Path

import pytest

import vitrine
from serving.adapters.token_files import read_callers
from serving.client_calls import read_token
from serving.command import token_of
from shop.errors import InvalidRequest, NotFound


def token(state_dir: Path, *words: str) -> int:
    return vitrine.main(["token", *words, "--state-dir", str(state_dir)])


def test_a_token_is_made_listed_without_its_secret_and_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "shop.token"
    assert token(tmp_path, "create", "shop", "--scope", "shop", "--out", str(out)) == vitrine.DONE
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    secret = token_of(out)
    file = tmp_path / "keys" / "callers.json"
    assert read_callers(file).who(f"Bearer {secret}").name == "shop"
    capsys.readouterr()
    assert token(tmp_path, "list", "--json") == vitrine.DONE
    shown = capsys.readouterr().out
    assert json.loads(shown)["callers"][0]["scopes"] == ["shop"]
    assert str(secret)[-64:] not in shown
    assert token(tmp_path, "list") == vitrine.DONE
    assert "shop" in capsys.readouterr().out
    assert token(tmp_path, "revoke", "shop") == vitrine.DONE
    assert token(tmp_path, "revoke", "shop") == vitrine.FAILED
    assert "nobody called shop" in capsys.readouterr().err
    audited = [json.loads(line) for line in (tmp_path / "audit.jsonl").read_text().splitlines()]
    assert [each["outcome"][:6] for each in audited] == ["OK", "OK", "OK", "OK", "failed"]
    assert "vitrine token revoke shop" in audited[3]["what"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "shop"], "needs a scope"),
        (["create", "--scope", "shop"], "is no name"),
        (["create", "a b", "--scope", "shop"], "is no name"),
        (["create", "shop", "--scope", "shop", "--calls-per-s", "0"], "must be above 0"),
        (["create", "shop", "--scope", "shop", "--out", "/"], "--out /"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: str
) -> None:
    assert token(tmp_path, *words) == vitrine.FAILED
    assert told in capsys.readouterr().err
    assert not (tmp_path / "keys" / "callers.json").exists()


def test_a_file_without_a_token_is_refused_before_anything_is_asked(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "two").write_text("one two\n")
    for name in ("empty", "two"):
        with pytest.raises(InvalidRequest, match="holds no token"):
            read_token(tmp_path / name)
    with pytest.raises(NotFound, match="name a file with a token"):
        read_token(tmp_path / "gone")
