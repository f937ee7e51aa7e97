"""What a killed Triton leaves in /tmp is cleared away, and nothing else is."""

import os
from pathlib import Path

from serving.triton.environments import EnvironmentFolders

START_S = 1_750_000_000.0


def made(folder: Path, name: str, at_s: float) -> Path:
    path = folder / name
    path.mkdir()
    os.utime(path, (at_s, at_s))
    return path


def test_only_empty_folders_made_while_our_server_started_are_removed(tmp_path: Path) -> None:
    started, folder = tmp_path / "triton.started", tmp_path / "tmp"
    folder.mkdir()
    ours = EnvironmentFolders(started, folder)
    assert ours.remove() == 0
    ours.server_starts()
    os.utime(started, (START_S, START_S))
    left = made(folder, "python_env_AbC123", START_S + 3.0)
    others = [
        made(folder, "python_env_before", START_S + 3.0),
        made(folder, "python_env_earlie", START_S - 1.0),
        made(folder, "python_env_later1", START_S + 61.0),
        made(folder, "something_else", START_S + 3.0),
    ]
    (others[0] / "unpacked").touch()
    used = made(folder, "python_env_in_use", START_S + 3.0)
    (used / "unpacked").touch()
    os.utime(used, (START_S + 3.0, START_S + 3.0))
    assert ours.remove() == 1
    assert not left.exists()
    assert all(path.exists() for path in (*others, used))
