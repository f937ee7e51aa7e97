"""The application that a Ray cluster builds from a config."""

from pathlib import Path

import pytest

from serving import cluster_descriptions
from serving.cluster_app import build, cluster_settings
from shop.errors import SettingsRejected


def _file(folder: Path, text: str) -> Path:
    file = folder / "settings.toml"
    file.write_text(text)
    return file


def test_arguments_other_than_the_settings_are_refused() -> None:
    with pytest.raises(SettingsRejected, match="settings alone"):
        build({"setting": "/etc/vitrine/settings.toml"})


def test_the_descriptions_application_takes_the_settings_alone_too() -> None:
    with pytest.raises(SettingsRejected, match="settings alone"):
        cluster_descriptions.build({"settings": "/etc/vitrine/settings.toml", "port": "9000"})


def test_who_may_call_is_read_from_the_state_folder_whatever_folder_a_replica_runs_in(
    tmp_path: Path,
) -> None:
    settings = cluster_settings(_file(tmp_path, 'state_dir = "/var/lib/vitrine"\n'))
    assert settings.door.tokens_file == "/var/lib/vitrine/keys/callers.json"
    assert settings.door.audit_file == "/var/lib/vitrine/audit.jsonl"


def test_a_relative_state_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsRejected, match="state_dir"):
        cluster_settings(_file(tmp_path, 'state_dir = ".vitrine"\n'))


def test_a_door_that_only_one_machine_can_have_is_refused(tmp_path: Path) -> None:
    text = 'state_dir = "/var/lib/vitrine"\n[door]\nkind = "haproxy"\n'
    with pytest.raises(SettingsRejected, match=r"door\.kind"):
        cluster_settings(_file(tmp_path, text))
