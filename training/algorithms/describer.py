"""Describer training: next-token prediction of pages, given the facts that they are written of.

Only an answer's tokens are judged: what is asked need not be foretold. Every round draws its pairs
anew, so no page is seen twice, and leaves a checkpoint that an interrupted training goes on from.
AdamW with warm-up and a cosine to a tenth (Loshchilov & Hutter 2019).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.model_folder import write_whole
from training.models.copying import start_copying
from training.models.describer import Describer, DescriberShape
from training.texts.pairs import Pair, draw_from
from training.texts.shelves import Shelf
from training.texts.tokens import Batch, Encoded, batch_of, batches, encode

CHECKPOINT = "describer.checkpoint"
_CATALOGUE = "catalogue"
_PLACES = 256

Advance = Callable[[float], None]
Told = Callable[[int, float], None]  # rounds done, and the last one's loss in nats a token


@dataclass(frozen=True, slots=True)
class DescriberSettings:
    """How much is learnt; the defaults take some minutes on two quiet cores."""

    shape: DescriberShape = field(default_factory=DescriberShape)
    tokenizer_pairs: int = 3_000
    rounds: int = 18  # at most; a checkpoint after each
    # First short specifications: where little stands, a value is soon found.
    short_rounds: int = 2
    short_attributes: int = 3
    short_times: int = 3  # as many pairs, of a third of the length
    pairs_per_round: int = 1_200
    tokens_at_once: int = 2_560  # of a batch
    longest: int = 896  # tokens of a pair; a longer one is left out
    rate: float = 1e-3  # 2e-3 undoes in fifty steps what the model starts with
    warm_up: float = 0.01  # of all steps
    decay: float = 0.1  # of weights
    text_set_share: float = 0.4  # of the pairs, where there are text sets; each set alike
    ask_share: float = 0.15  # of the pairs: questions about some products instead of a page
    patience: int = 3  # rounds without a loss better by `least_gain`: then it has learnt enough
    least_gain: float = 0.005
    judged: int = 120  # held-out products per source whose pages are written and looked at


@dataclass(slots=True, eq=False)
class _Run:
    """One training as it goes on."""

    model: Describer
    optimizer: torch.optim.Optimizer
    rounds_done: int
    losses: list[float]  # mean of each round, in nats a token


def fit_describer(
    shelves: Sequence[Shelf],
    tokenizer: Tokenizer,
    folder: Path,
    settings: DescriberSettings,
    *,
    seed: int,
    fingerprint: str,
    advance: Advance = lambda _: None,
    told: Told = lambda _, __: None,
) -> Describer:
    """The trained model; `shelves` that are held out are not touched.

    A checkpoint in `folder` is continued if it is of the same `fingerprint`. It ends before its
    rounds are over where the loss no longer falls: every round's pages are new, so its loss is one
    of pages not seen.
    """
    torch.manual_seed(seed)
    model = Describer(settings.shape)
    start_copying(model)
    run = _Run(model, optimizer_of(model, settings.rate, settings.decay), 0, [])
    checkpoint = folder / CHECKPOINT
    _resume(run, checkpoint, fingerprint)
    while run.rounds_done < settings.rounds and not has_learnt_enough(run.losses, settings):
        done = run.rounds_done / settings.rounds
        advance(done)
        encoded = _draw_round(shelves, tokenizer, settings, seed, run.rounds_done)
        loss = _learn_round(run, encoded, settings, seed, lambda part, d=done: advance(d + part))
        run.losses.append(loss)
        run.rounds_done += 1
        _write_checkpoint(run, checkpoint, fingerprint)
        told(run.rounds_done, loss)
    return model


def has_learnt_enough(losses: Sequence[float], settings: DescriberSettings) -> bool:
    """Whether the last `patience` rounds brought next to nothing, or the loss is no number.

    Only rounds of whole pages count.
    """
    if losses and not math.isfinite(losses[-1]):
        return True
    losses = losses[settings.short_rounds :]
    before, lately = losses[: -settings.patience], losses[-settings.patience :]
    return bool(before) and min(lately) > min(before) * (1 - settings.least_gain)


def draw_pairs(
    shelves: Sequence[Shelf],
    count: int,
    text_set_share: float,
    seed: int,
    round_number: int,
    *,
    most_attributes: int | None = None,
    ask_share: float = 0.0,
) -> list[Pair]:
    """New pages of products that are not held out, the same for the same numbers.

    With `most_attributes` the products are told of in that many lines at most. `ask_share` of them
    are answers to questions instead, about products of one source.
    """
    rng = np.random.default_rng([seed, 7, round_number])
    by_source: dict[str, list[Shelf]] = {}
    for shelf in shelves:
        if not shelf.is_held_out:
            by_source.setdefault(shelf.source, []).append(shelf)
    sources = sorted(by_source)
    weights = np.array([_weight(name, sources, text_set_share) for name in sources])
    chosen = rng.choice(len(sources), count, p=weights / weights.sum())
    return [
        draw_from(by_source[sources[at]], rng, most_attributes, ask_share) for at in chosen.tolist()
    ]


def optimizer_of(model: torch.nn.Module, rate: float, decay: float) -> torch.optim.Optimizer:
    """Of what may learn; norms are not decayed."""
    learning = [each for each in model.parameters() if each.requires_grad]
    groups = [
        {"params": [each for each in learning if each.ndim > 1], "weight_decay": decay},
        {"params": [each for each in learning if each.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.95))


def answer_loss(model: Describer, batch: Batch) -> Tensor:
    """Mean negative log-likelihood of the answers' tokens, in nats. bfloat16 where that helps."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        states = model(batch.tokens).flatten(0, 1)
        targets = batch.targets.flatten()
        judged = _filled_up(torch.nonzero(targets >= 0).flatten(), targets)
        logits = model.logits(states[judged])
    return functional.cross_entropy(logits.float(), targets[judged])


def _filled_up(judged: Tensor, targets: Tensor) -> Tensor:
    """Places [N] with others that are not judged, up to a whole number of _PLACES.

    oneDNN keeps kernels for every size it has seen: with a new one in each step, gigabytes.
    """
    others = torch.nonzero(targets < 0).flatten()
    return torch.cat((judged, others[: -judged.numel() % _PLACES]))


def step(optimizer: torch.optim.Optimizer, loss: Tensor, rate: float) -> None:
    """One step at this rate, gradients clipped to length 1."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    loss.backward()
    torch.nn.utils.clip_grad_norm_(
        [each for group in optimizer.param_groups for each in group["params"]], 1.0
    )
    optimizer.step()
    optimizer.zero_grad()


def rate_at(share: float, rate: float, warm_up: float) -> float:
    """The learning rate when this share (0..1) of all steps is done."""
    if share < warm_up:
        return rate * (share + 1e-3) / warm_up
    rest = (share - warm_up) / (1 - warm_up)
    return rate * (0.1 + 0.45 * (1 + math.cos(math.pi * rest)))


def _draw_round(
    shelves: Sequence[Shelf],
    tokenizer: Tokenizer,
    settings: DescriberSettings,
    seed: int,
    round_number: int,
) -> list[Encoded]:
    """What is learnt from in this round: short specifications, then whole ones."""
    is_short = round_number < settings.short_rounds
    pairs = draw_pairs(
        shelves,
        settings.pairs_per_round * (settings.short_times if is_short else 1),
        settings.text_set_share,
        seed,
        round_number,
        most_attributes=settings.short_attributes if is_short else None,
        ask_share=settings.ask_share,
    )
    return encode(tokenizer, pairs)


def _weight(name: str, sources: Sequence[str], text_set_share: float) -> float:
    sets = [each for each in sources if each != _CATALOGUE]
    if name == _CATALOGUE:
        return 1 - text_set_share if sets else 1.0
    return text_set_share / len(sets)


def _learn_round(
    run: _Run,
    encoded: list[Encoded],
    settings: DescriberSettings,
    seed: int,
    advance: Advance,
) -> float:
    total = 0.0
    rng = np.random.default_rng([seed, 8, run.rounds_done])
    found = batches(encoded, settings.tokens_at_once, settings.longest)
    for at, index in enumerate(rng.permutation(len(found)).tolist()):
        part = at / len(found) / settings.rounds
        rate = rate_at(run.rounds_done / settings.rounds + part, settings.rate, settings.warm_up)
        loss = answer_loss(run.model, batch_of(found[index]))
        step(run.optimizer, loss, rate)
        total += float(loss.detach())
        advance(part)
    return total / max(len(found), 1)


def _resume(run: _Run, file: Path, fingerprint: str) -> None:
    if not file.exists():
        return
    saved: dict[str, Any] = torch.load(file, weights_only=True)
    if saved["fingerprint"] != fingerprint:
        return
    run.model.load_state_dict(saved["model"])
    run.optimizer.load_state_dict(saved["optimizer"])
    run.rounds_done = saved["rounds_done"]
    run.losses = saved["losses"]


def _write_checkpoint(run: _Run, file: Path, fingerprint: str) -> None:
    saved = {
        "fingerprint": fingerprint,
        "model": run.model.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "rounds_done": run.rounds_done,
        "losses": run.losses,
    }
    write_whole(file, lambda part: torch.save(saved, part))
