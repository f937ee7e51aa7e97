"""Random describer: a description model of a given size that has learnt nothing, for speed only.

python -m loadtest.benchmarks.random_describer large|small FOLDER
"""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from shop.descriptions.facts import Facts
from training.describer_folder import write_describer
from training.models.describer import Describer, DescriberShape
from training.texts.grammar import write_page
from training.texts.inventions import invent_attributes, invent_name
from training.texts.pairs import plain_pair
from training.texts.tokens import fit_tokenizer

SHAPES = {
    "small": DescriberShape(),
    "large": DescriberShape(width=1280, layers=25, heads=20, hidden=3456),  # 500 M with vocabulary
}
_PAGES = 1_500


def write_random_describer(shape: DescriberShape, folder: Path) -> None:
    """A Hugging Face folder in bfloat16, its tokenizer learnt from invented products."""
    rng = np.random.default_rng(0)
    texts = []
    for _ in range(_PAGES):
        facts = Facts("P1", invent_name(rng), "shelves", "", tuple(invent_attributes(8, rng)))
        pair = plain_pair(facts, write_page(facts, rng))
        texts += [pair.prompt, pair.answer]
    tokenizer = fit_tokenizer(texts, shape.vocabulary)
    torch.manual_seed(0)
    model = Describer(replace(shape, vocabulary=tokenizer.get_vocab_size()))
    write_describer(model.bfloat16(), tokenizer, folder)


if __name__ == "__main__":
    write_random_describer(SHAPES[sys.argv[1]], Path(sys.argv[2]))
