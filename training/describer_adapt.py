"""Describer adaptation: a model and liked pages in, a LoRA adapter's folder and its figures out."""

from collections.abc import Sequence
from pathlib import Path

from training.algorithms.describer_lora import LoraSettings, adapt_describer
from training.data.progress import Progress, no_progress
from training.describer_folder import read_describer, write_adapter
from training.describer_report import coverage, perplexity
from training.model_folder import add_metrics
from training.texts.liked_pages import LikedPage, best_of, read_liked_pages
from training.texts.pairs import Pair, plain_pair
from training.texts.shelves import is_held_out

_LEARNING = 0.8
_JUDGED = 60


def train_adapter(
    model_folder: Path,
    pages_file: Path,
    out: Path,
    *,
    best_share: float = 0.25,
    seed: int = 0,
    settings: LoraSettings | None = None,
    progress: Progress = no_progress,
) -> dict[str, float]:
    """An adapter in `out`; returns its metrics, before and after, on pages it did not learn from.

    Raises NotFound if there is no model, DataRejected if there are no pages. A fifth of the pages
    is held out, by product, unless there are too few.
    """
    settings = settings or LoraSettings()
    progress("reading pages", 0.0)
    model, tokenizer = read_describer(model_folder)
    kept = best_of(read_liked_pages(pages_file), best_share)
    learnt, judged = _parted(kept)
    figures = {"pages learnt from": float(len(learnt)), "pages held out": float(len(judged))}
    if judged:
        figures["held-out perplexity before"] = perplexity(model, tokenizer, judged)
    tensors = adapt_describer(
        model,
        tokenizer,
        learnt,
        settings,
        seed=seed,
        advance=lambda share: progress("learning from pages", _LEARNING * share),
    )
    if judged:
        progress("judging", _LEARNING)
        figures["held-out perplexity"] = perplexity(model, tokenizer, judged)
        figures["attribute coverage"] = coverage(model, tokenizer, judged[:_JUDGED]).attributes
    base = str(model_folder.resolve().name)
    write_adapter(tensors, out, rank=settings.rank, alpha=settings.alpha, base=base)
    progress("done", 1.0)
    return add_metrics(figures, out)


def _parted(pages: Sequence[LikedPage]) -> tuple[list[Pair], list[Pair]]:
    """To learn from, to judge by."""
    judged = [each for each in pages if is_held_out(each.facts.product_id)]
    learnt = [each for each in pages if not is_held_out(each.facts.product_id)]
    if not learnt:
        learnt, judged = judged, []
    return [plain_pair(p.facts, p.page) for p in learnt], [
        plain_pair(p.facts, p.page) for p in judged
    ]
