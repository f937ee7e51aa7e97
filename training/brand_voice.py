"""Brand voice: trains the model that tells the shop's own pages from everybody else's.

Ours are pages of the shop's products; the others say the same of the same products in another
manner: loud, pushy, chatty, bureaucratic, or as a supplier's list. Products are split, and beside
the usual held-out figure each manner is once left out of training altogether: what a new writer
does wrong is not known beforehand.

    python -m training.brand_voice --products products.parquet --out FOLDER
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from shop.descriptions.brand import BrandModel, auc, brand_columns, fit_brand
from shop.descriptions.facts import Facts
from shop.descriptions.prompts import PROMPT_VERSION
from training.texts.grammar import Page, write_page
from training.texts.shelves import catalogue_shelves

BRAND_FILE, REPORT_FILE = "brand.npz", "brand.json"
_MOST_PRODUCTS = 1_500
_HELD_OUT = 5  # every fifth product

Manner = Callable[[Page, np.random.Generator], str]

_HYPE = (
    "OMG you NEED this!!!", "Get yours NOW before it is gone!", "This will blow your mind!",
    "Simply the most AMAZING thing ever!!", "Don't miss out!", "Unbelievable deal alert!",
    "You won't believe it until you hold it!", "Wow. Just wow!",
)  # fmt: skip
_PUSHY = (
    "Buy online at the lowest price with cash on delivery and free shipping.",
    "Hurry, only genuine products, 30 day replacement guarantee.",
    "Order today and save big, offer valid while stocks last.",
    "Best price guaranteed, shop now and get an extra discount at checkout.",
    "Click here to grab this exclusive offer today.",
)
_CHATTY = (
    "so yeah, i kinda love this one ngl", "my mate got it and he's well chuffed lol",
    "honestly guys it's sooo good", "not gonna lie, super cool stuff", "gotta have it, right?",
    "it's like, wow, totally awesome", "trust me bro",
)  # fmt: skip
_OFFICIAL = (
    "The undersigned product is hereby supplied in accordance with the applicable provisions.",
    "Utilisation of the article shall be effected exclusively by the end user thereof.",
    "It is to be noted that deviations may occur and that no liability is assumed therefor.",
    "The aforementioned characteristics are to be understood as non-binding.",
)


@dataclass(frozen=True, slots=True)
class BrandReport:
    """How well the voice is told, on products that were never seen."""

    texts: int
    auc: float
    auc_of_unseen_manners: dict[str, float]  # each left out of training

    @property
    def least_auc(self) -> float:
        """Of the manner that is hardest to tell without having seen it."""
        return min(self.auc_of_unseen_manners.values())


def train_brand_voice(products: pa.Table, seed: int = 7) -> tuple[BrandModel, BrandReport]:
    """A model and its report. Some seconds for a few thousand products."""
    facts = [shelf.facts for shelf in catalogue_shelves(products)][:_MOST_PRODUCTS]
    rng = np.random.default_rng([seed, 41])
    pages = [write_page(each, rng) for each in facts]
    ours = [brand_columns(page.text, each) for page, each in zip(pages, facts, strict=True)]
    others = {
        name: [_told(manner, page, each, rng) for page, each in zip(pages, facts, strict=True)]
        for name, manner in MANNERS.items()
    }
    held_out = np.arange(len(facts)) % _HELD_OUT == 0
    version = f"{PROMPT_VERSION}-voice-1"
    unseen = {}
    for name in MANNERS:
        seen = {other: texts for other, texts in others.items() if other != name}
        model = _fitted(ours, seen, ~held_out, version)
        unseen[name] = _auc(model, ours, {name: others[name]}, held_out)
    model = _fitted(ours, others, ~held_out, version)
    texts = len(facts) * (1 + len(MANNERS))
    return model, BrandReport(texts, _auc(model, ours, others, held_out), unseen)


def write_brand_voice(folder: Path, model: BrandModel, report: BrandReport) -> None:
    """`brand.npz`, which serving reads, and the report beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "texts": report.texts,
        "auc": report.auc,
        "auc_of_unseen_manners": report.auc_of_unseen_manners,
        "version": model.version,
    }
    (folder / REPORT_FILE).write_text(json.dumps(about, indent=2) + "\n")
    part = folder / f"{BRAND_FILE}.part"
    with part.open("wb") as stream:
        np.savez(
            stream,
            weights=model.weights,
            bias=np.float64(model.bias),
            version=np.array(model.version),
        )
    part.replace(folder / BRAND_FILE)


def _told(manner: Manner, page: Page, facts: Facts, rng: np.random.Generator) -> NDArray[np.int64]:
    return brand_columns(manner(page, rng), facts)


def _fitted(
    ours: Sequence[NDArray[np.int64]],
    others: dict[str, list[NDArray[np.int64]]],
    which: NDArray[np.bool_],
    version: str,
) -> BrandModel:
    texts, is_ours = _stacked(ours, others, which)
    return fit_brand(texts, is_ours, version=version)


def _auc(
    model: BrandModel,
    ours: Sequence[NDArray[np.int64]],
    others: dict[str, list[NDArray[np.int64]]],
    which: NDArray[np.bool_],
) -> float:
    texts, is_ours = _stacked(ours, others, which)
    scores = [float(model.weights[each].sum()) / np.sqrt(max(each.size, 1)) for each in texts]
    return auc(np.array(scores), is_ours)


def _stacked(
    ours: Sequence[NDArray[np.int64]],
    others: dict[str, list[NDArray[np.int64]]],
    which: NDArray[np.bool_],
) -> tuple[list[NDArray[np.int64]], NDArray[np.bool_]]:
    at = np.flatnonzero(which).tolist()
    texts = [ours[i] for i in at]
    texts += [told[i] for told in others.values() for i in at]
    return texts, np.arange(len(texts)) < len(at)


def _loud(page: Page, rng: np.random.Generator) -> str:
    said = _mixed(page, _HYPE, rng).replace(".", "!")
    words = said.split()
    return " ".join(word.upper() if rng.random() < 0.15 else word for word in words)


def _pushy(page: Page, rng: np.random.Generator) -> str:
    return _mixed(page, _PUSHY, rng)


def _chatty(page: Page, rng: np.random.Generator) -> str:
    return _mixed(page, _CHATTY, rng).lower().replace(".", "...")


def _official(page: Page, rng: np.random.Generator) -> str:
    return _mixed(page, _OFFICIAL, rng)


def _listed(page: Page, rng: np.random.Generator) -> str:
    """A supplier's list: no sentence, the same words again for search engines."""
    words = [word.strip(".,:;()") for word in page.text.split()]
    again = [words[at] for at in rng.integers(0, len(words), 12).tolist()]
    return " / ".join([*page.bullets, " ".join(again), " ".join(again)])


def _mixed(page: Page, lines: tuple[str, ...], rng: np.random.Generator) -> str:
    """Some of the page's own sentences with one to three of these between them."""
    parts = [part for part in page.text.split("\n") if rng.random() < 0.8]
    for _ in range(int(rng.integers(1, 4))):
        parts.insert(int(rng.integers(len(parts) + 1)), lines[int(rng.integers(len(lines)))])
    return "\n".join(parts)


MANNERS: dict[str, Manner] = {
    "loud": _loud,
    "pushy": _pushy,
    "chatty": _chatty,
    "official": _official,
    "listed": _listed,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    chosen = _parser().parse_args(arguments)
    model, report = train_brand_voice(pq.read_table(chosen.products))
    write_brand_voice(chosen.out, model, report)
    sys.stdout.write((chosen.out / REPORT_FILE).read_text())
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.brand_voice", description=__doc__)
    parser.add_argument("--products", type=Path, required=True, help="products.parquet of a shop")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
