"""The folder decides the marker: tests/unit → unit, tests/contract → contract, and so on."""

from pathlib import Path

import pytest

FOLDERS = ("unit", "learning", "contract", "e2e", "gpu", "design")
ROOT = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = Path(item.path).relative_to(ROOT).parts[0]
        if folder in FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))
