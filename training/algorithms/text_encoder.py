"""Text encoder training: queries drawn from products must meet these products' texts.

In-batch sampled softmax: of a batch's products, the query's own is the right one; those that answer
it as well are left out of the sum. Products are drawn evenly, so no correction for popularity is
due (Yi 2019 corrects for exactly that). A checkpoint after every round lets an interrupted training
go on where it stopped, to the same end.

Shapes: P products, B batch, D vector.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shop.text_tokens import text_tokens
from training.algorithms.two_tower_steps import Advance
from training.model_folder import write_whole
from training.models.text_encoder import TextEncoder, save_text_encoder
from training.search_texts import SearchTexts, answers, typed

CHECKPOINT = "text_encoder.checkpoint"
_TEST_QUERIES = 500
_JUDGED_AT = 20
_CHUNK = 4096


@dataclass(frozen=True, slots=True)
class TextEncoderSettings:
    """How the text encoder is trained."""

    rounds: int = 5  # a checkpoint after each
    steps_per_round: int = 50
    batch_size: int = 512
    temperature: float = 0.05
    learning_rate: float = 5e-3


@dataclass(slots=True)
class _Run:
    model: TextEncoder
    optimiser: torch.optim.Optimizer
    round: int = 0


def fit_text_encoder(
    texts: SearchTexts,
    folder: Path,
    settings: TextEncoderSettings,
    *,
    seed: int,
    fingerprint: str,
    advance: Advance = lambda share: None,
) -> dict[str, float]:
    """Leaves the trained encoder in `folder`; returns how well it finds what queries are true of.

    The checkpoint, kept while it learns, is only taken up by the same `fingerprint`.
    """
    torch.manual_seed(seed)
    model = TextEncoder()
    run = _Run(model, torch.optim.AdamW(model.parameters(), settings.learning_rate, fused=True))
    checkpoint = folder / CHECKPOINT
    _resume(run, checkpoint, fingerprint)
    while run.round < settings.rounds:
        _one_round(run, texts, settings, seed, advance)
        run.round += 1
        _write_checkpoint(run, checkpoint, fingerprint)
    model.eval()
    save_text_encoder(model, folder)
    checkpoint.unlink()
    return _judged(model, texts, np.random.default_rng([seed, 1_000_000]))


def _one_round(
    run: _Run, texts: SearchTexts, settings: TextEncoderSettings, seed: int, advance: Advance
) -> None:
    rng = np.random.default_rng([seed, run.round])
    total = settings.rounds * settings.steps_per_round
    run.model.train()
    for step in range(settings.steps_per_round):
        share = (run.round * settings.steps_per_round + step) / total
        for group in run.optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1.0 - 0.95 * share)
        products = rng.permutation(len(texts))[: settings.batch_size]
        loss = _loss(run.model, texts, products, settings.temperature, rng)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), 1.0)
        run.optimiser.step()
        advance(share)


def _loss(
    model: TextEncoder,
    texts: SearchTexts,
    products: NDArray[np.int64],
    temperature: float,
    rng: np.random.Generator,
) -> Tensor:
    drawn = [texts.query_words(int(product), rng) for product in products]
    kept = [at for at, words in enumerate(drawn) if words]  # who has no words asks nothing
    queries = [drawn[at] for at in kept]
    others_true = answers(queries, [texts.words[product] for product in products])
    own = torch.tensor(kept)
    query_vectors = model(torch.from_numpy(np.stack([text_tokens(typed(q, rng)) for q in queries])))
    product_vectors = model(torch.from_numpy(texts.tokens[products]))
    others_true[np.arange(len(kept)), kept] = False
    logits = query_vectors @ product_vectors.T / temperature
    return functional.cross_entropy(
        logits.masked_fill(torch.from_numpy(others_true), -torch.inf), own
    )


def text_vectors(model: TextEncoder, tokens: NDArray[np.int64]) -> NDArray[np.float32]:
    """[P, D] of texts' tokens [P, L]."""
    with torch.inference_mode():
        parts = [model(part).numpy() for part in torch.from_numpy(tokens).split(_CHUNK)]
    vectors: NDArray[np.float32] = np.concatenate(parts)
    return vectors


def _judged(model: TextEncoder, texts: SearchTexts, rng: np.random.Generator) -> dict[str, float]:
    """Precision among the first 20 of queries drawn afresh, against every product that answers."""
    vectors = text_vectors(model, texts.tokens)
    products = rng.integers(0, len(texts), _TEST_QUERIES)
    queries = [words for each in products if (words := texts.query_words(int(each), rng))]
    tokens = np.stack([text_tokens(typed(words, rng)) for words in queries])
    cosines = text_vectors(model, tokens) @ vectors.T
    count = min(_JUDGED_AT, len(texts))
    best = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
    true = answers(queries, texts.words)
    hits = np.take_along_axis(true, best, axis=1).sum(axis=1)
    possible = np.clip(true.sum(axis=1), 1, count)
    return {f"search embedding precision@{_JUDGED_AT}": float(np.mean(hits / possible))}


def _resume(run: _Run, file: Path, fingerprint: str) -> None:
    if not file.exists():
        return
    saved = torch.load(file, weights_only=True)
    if saved["fingerprint"] == fingerprint:
        run.model.load_state_dict(saved["model"])
        run.optimiser.load_state_dict(saved["optimiser"])
        run.round = saved["round"]


def _write_checkpoint(run: _Run, file: Path, fingerprint: str) -> None:
    saved = {
        "fingerprint": fingerprint,
        "model": run.model.state_dict(),
        "optimiser": run.optimiser.state_dict(),
        "round": run.round,
    }
    write_whole(file, lambda part: torch.save(saved, part))
