"""Describer job: a snapshot and text sets in, a description model's folder and its figures out.

Work that was done is not repeated: the tokenizer and each round leave a file in `work/`, under a
fingerprint of data, settings and seed.
"""

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow.parquet as pq
from tokenizers import Tokenizer

from shop.descriptions.facts import Attribute
from shop.descriptions.prompts import PROMPT_VERSION
from shop.errors import DataRejected
from training.algorithms.describer import DescriberSettings, draw_pairs, fit_describer
from training.data.progress import Progress, no_progress
from training.data.snapshot import PRODUCTS, read_snapshot_manifest
from training.describer_asks import answered, held_out_asks
from training.describer_folder import WEIGHTS, write_describer
from training.describer_report import coverage, perplexity
from training.model_folder import add_metrics, read_json, read_metrics, write_json, write_whole
from training.models.describer import Describer
from training.texts.grammar import surface_forms
from training.texts.pairs import held_out_pairs
from training.texts.shelves import Shelf, catalogue_shelves, specifications_in, text_set_shelves
from training.texts.tokens import fit_tokenizer

DESCRIBER_VERSION = 4  # raise when the same settings train something else
_WORK = "work"
_DONE = "describer.json"
_LEARNING, _JUDGING = 0.85, 0.15  # shares of the time
_PERPLEXITY_PAIRS = 400
_TOKENIZER_ROUND = 1_000_000  # its pairs are of no round that is learnt


def train_describer(
    snapshot_folder: Path,
    out: Path,
    *,
    texts: Sequence[Path] = (),
    seed: int = 0,
    settings: DescriberSettings | None = None,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """A model in `out`; returns its metrics. Raises DataRejected if there is nothing to write of.

    What is finished in `out` is not done again; an interrupted training goes on.
    """
    settings = settings or DescriberSettings()
    progress("reading products and texts", 0.0)
    shelves = _shelves(snapshot_folder, texts)
    fingerprint = _fingerprint(shelves, settings, seed)
    work = out / _WORK
    work.mkdir(parents=True, exist_ok=True)
    if _is_done(out, fingerprint):
        return read_metrics(out)
    tokenizer = _tokenizer(shelves, work, settings, seed, fingerprint)
    # what the texts did not need of the vocabulary is not kept
    shape = replace(settings.shape, vocabulary=tokenizer.get_vocab_size())
    started = time.perf_counter()
    step = "learning to describe"

    def told(rounds: int, loss: float) -> None:
        nonlocal step
        step = f"learning to describe: loss {loss:.3f} after {rounds} of {settings.rounds} rounds"

    model = fit_describer(
        shelves,
        tokenizer,
        work,
        replace(settings, shape=shape),
        seed=seed,
        fingerprint=fingerprint,
        advance=lambda share: progress(step, _LEARNING * share),
        told=told,
    )
    learnt_s = time.perf_counter() - started
    figures = judge(model, tokenizer, shelves, settings, seed, progress)
    write_describer(model, tokenizer, out)
    forms = min(surface_forms(each.facts) for each in shelves if each.source == "catalogue")
    add_metrics(figures | {"learning seconds": learnt_s, "surface forms at least": forms}, out)
    write_json(work / _DONE, {"fingerprint": fingerprint})
    progress("done", 1.0)
    return read_metrics(out)


def judge(
    model: Describer,
    tokenizer: Tokenizer,
    shelves: Sequence[Shelf],
    settings: DescriberSettings,
    seed: int,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """Perplexity, coverage and answers on the held-out fifth of each source."""
    sources = sorted({each.source for each in shelves if each.is_held_out})
    figures: dict[str, float] = {}
    for at, source in enumerate(sources):
        share = _LEARNING + _JUDGING * at / len(sources)
        progress(f"judging on {source}", share)
        pairs = held_out_pairs(shelves, source, _PERPLEXITY_PAIRS, seed)
        figures[f"{source} perplexity"] = perplexity(model, tokenizer, pairs)
        found = coverage(model, tokenizer, pairs[: settings.judged])
        figures[f"{source} attribute coverage"] = found.attributes
        figures[f"{source} readable"] = found.readable
        figures[f"{source} finished"] = found.finished
        asks = held_out_asks(shelves, source, settings.judged, seed)
        told = answered(model, tokenizer, asks)
        figures[f"{source} questions told"] = told.told
        figures[f"{source} questions silent"] = told.silent
        figures[f"{source} sentences that stand"] = told.stands
    return figures


def _shelves(snapshot_folder: Path, texts: Sequence[Path]) -> list[Shelf]:
    read_snapshot_manifest(snapshot_folder)  # says what is wrong with a folder that is none
    products = pq.read_table(snapshot_folder / PRODUCTS)
    specifications: dict[str, list[Attribute]] = {}
    sets: list[Shelf] = []
    for folder in texts:
        lines, found = specifications_in(folder), text_set_shelves(folder)
        if not lines and not found:
            raise DataRejected(
                f"{folder} holds no text set; `vitrine train --help` says what one is"
            )
        specifications |= lines
        sets += found
    shelves = catalogue_shelves(products, specifications)
    if not shelves:
        raise DataRejected(f"{snapshot_folder} tells no titles and no attributes to write of")
    return shelves + sets


def _tokenizer(
    shelves: Sequence[Shelf], work: Path, settings: DescriberSettings, seed: int, fingerprint: str
) -> Tokenizer:
    """Fitted once: a training that goes on must go on with the same tokens."""
    file = work / f"tokenizer-{fingerprint}.json"
    if not file.exists():
        pairs = draw_pairs(
            shelves,
            settings.tokenizer_pairs,
            settings.text_set_share,
            seed,
            _TOKENIZER_ROUND,
            ask_share=settings.ask_share,
        )
        texts = (text for pair in pairs for text in (pair.prompt, pair.answer))
        fitted = fit_tokenizer(texts, settings.shape.vocabulary)
        write_whole(file, lambda part: fitted.save(str(part)))
    return Tokenizer.from_file(str(file))


def _is_done(out: Path, fingerprint: str) -> bool:
    file = out / _WORK / _DONE
    return (
        file.exists() and (out / WEIGHTS).exists() and read_json(file)["fingerprint"] == fingerprint
    )


def _fingerprint(shelves: Sequence[Shelf], settings: DescriberSettings, seed: int) -> str:
    digest = hashlib.sha256()
    told = {"version": DESCRIBER_VERSION, "prompt": PROMPT_VERSION, "seed": seed}
    digest.update(json.dumps(told | asdict(settings), sort_keys=True).encode())
    for shelf in shelves:
        digest.update(repr((shelf.facts, shelf.source, shelf.opening)).encode())
    return digest.hexdigest()[:16]
