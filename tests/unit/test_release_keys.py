"""Key files: made once, read by their owner only."""

from pathlib import Path

import pytest

from serving.adapters.key_files import create_key, read_key, read_or_create_key
from shop.errors import SettingsRejected


def test_key_comes_back_and_is_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "release.key"
    key = create_key(path)
    assert len(key) == 32
    assert read_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600


def test_two_keys_differ(tmp_path: Path) -> None:
    assert create_key(tmp_path / "a.key") != create_key(tmp_path / "b.key")


def test_existing_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "release.key"
    key = create_key(path)
    with pytest.raises(SettingsRejected, match="already holds a key"):
        create_key(path)
    assert read_or_create_key(path) == key


def test_key_that_others_may_read_is_refused_with_the_command_that_mends_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "release.key"
    create_key(path)
    path.chmod(0o640)
    with pytest.raises(SettingsRejected, match=r"mode 640.*chmod 600"):
        read_key(path)


@pytest.mark.parametrize(
    ("text", "reason"), [("zz" * 32, "not hexadecimal"), ("ab" * 8, "8 bytes"), ("", "0 bytes")]
)
def test_file_that_is_no_key_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "release.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(SettingsRejected, match=reason):
        read_key(path)


def test_missing_key_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsRejected, match=r"nowhere\.key cannot be read"):
        read_key(tmp_path / "nowhere.key")
