"""Skips every test of this folder where torch sees no CUDA device, and says so."""

import pytest
import torch


@pytest.fixture(autouse=True, scope="session")
def _a_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("NOT RUN: no CUDA device on this machine; see docs/operations.md, On a GPU")
