"""A description model small enough to be made in a test, and adapters for it. Untrained: random."""

from pathlib import Path

import numpy as np
import torch

from shop.descriptions.facts import Attribute, Facts
from training.algorithms.describer_lora import LoraLinear, LoraSettings, adapt_describer
from training.describer_folder import write_adapter, write_describer
from training.models.describer import Describer, DescriberShape
from training.texts.grammar import write_page
from training.texts.pairs import Pair, plain_pair
from training.texts.tokens import fit_tokenizer

SMALL = DescriberShape(vocabulary=512, width=64, layers=2, heads=2, hidden=128, positions=1024)


def some_facts(number: int = 1) -> Facts:
    """Of a product that is not in any catalogue."""
    attributes = (Attribute("width", str(60 + number), "cm"), Attribute("material", "oak"))
    return Facts(f"P{number}", f"Halden Alba bookshelf {number}", "shelves", "Halden", attributes)


def some_pairs(count: int) -> list[Pair]:
    """Prompts with the grammar's pages."""
    rng = np.random.default_rng(3)
    return [plain_pair(some_facts(n), write_page(some_facts(n), rng)) for n in range(1, count + 1)]


def write_small_describer(folder: Path) -> None:
    """A Hugging Face folder."""
    torch.manual_seed(0)
    pairs = some_pairs(40)
    tokenizer = fit_tokenizer((t for p in pairs for t in (p.prompt, p.answer)), SMALL.vocabulary)
    shape = DescriberShape(tokenizer.get_vocab_size(), 64, 2, 2, 128, 1024)
    write_describer(Describer(shape), tokenizer, folder)


def write_small_adapter(model: Path, folder: Path) -> None:
    """An adapter that changes much: rates this high are of no other use."""
    from training.describer_folder import read_describer

    described, tokenizer = read_describer(model)
    settings = LoraSettings(rounds=3, rate=0.05)
    tensors = adapt_describer(described, tokenizer, some_pairs(8), settings, seed=1)
    assert any(isinstance(module, LoraLinear) for module in described.modules())
    write_adapter(tensors, folder, rank=settings.rank, alpha=settings.alpha, base="small")
