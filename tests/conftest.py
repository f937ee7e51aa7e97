"""The folder decides the marker: tests/unit → unit, tests/contract → contract, and so on."""

from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("unit", "learning", "contract", "e2e", "gpu", "design")
ROOT = Path(__file__).resolve().parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        folder = Path(item.path).relative_to(ROOT).parts[0]
        if folder in FOLDERS:
            item.add_marker(getattr(pytest.mark, folder))


@pytest.fixture
def one_torch_thread() -> Iterator[None]:
    """For small tensors: on a busy machine more threads do nothing but wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
