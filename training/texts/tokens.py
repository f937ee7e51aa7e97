"""Tokens: byte-level byte-pair encoding, trained on the shop's own texts, and batches of pairs.

Three control tokens frame a text. Prompts escape `<` and `>`, so no attribute can spell one.

Shapes: B pairs, T tokens.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

from training.texts.pairs import Pair

PAD, START, END = "<|pad|>", "<|start|>", "<|end|>"
PAD_ID, START_ID, END_ID = 0, 1, 2
_WHOLE = 16  # few different shapes: oneDNN keeps compiled kernels for each that it has seen


def fit_tokenizer(texts: Iterable[str], size: int) -> Tokenizer:
    """Learnt merges over bytes: nothing is unknown.

    Digits and spaces stand alone, so that a value has the same tokens after a quotation mark, in
    the facts, and after a space, on the page: to write it is to copy it, token by token.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.Split(" ", "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pairs as tokens, padded at the end."""

    tokens: Tensor  # [B, T] int64
    targets: Tensor  # [B, T] int64: the next token where it belongs to an answer, else -100


@dataclass(frozen=True, slots=True)
class Encoded:
    """A pair as token ids."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]  # with the end

    @property
    def length(self) -> int:
        return len(self.prompt) + len(self.answer)


def encode(tokenizer: Tokenizer, pairs: Sequence[Pair]) -> list[Encoded]:
    """In their order."""
    prompts = tokenizer.encode_batch([pair.prompt for pair in pairs], add_special_tokens=False)
    answers = tokenizer.encode_batch([pair.answer for pair in pairs], add_special_tokens=False)
    return [
        Encoded((START_ID, *prompt.ids), (*answer.ids, END_ID))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def batch_of(encoded: Sequence[Encoded]) -> Batch:
    """Padded to the longest."""
    longest = -(-max(each.length for each in encoded) // _WHOLE) * _WHOLE
    tokens = torch.full((len(encoded), longest), PAD_ID)
    targets = torch.full((len(encoded), longest), -100)
    for row, each in enumerate(encoded):
        ids = torch.tensor((*each.prompt, *each.answer))
        first = len(each.prompt)
        tokens[row, : ids.numel()] = ids
        targets[row, first - 1 : ids.numel() - 1] = ids[first:]
    return Batch(tokens, targets)


def batches(encoded: Sequence[Encoded], tokens_at_once: int, longest: int) -> list[list[Encoded]]:
    """Pairs of like length together, about `tokens_at_once` tokens each; too long ones left out."""
    found: list[list[Encoded]] = []
    for each in sorted((e for e in encoded if e.length <= longest), key=lambda e: e.length):
        if not found or (len(found[-1]) + 1) * each.length > tokens_at_once:
            found.append([])
        found[-1].append(each)
    return found
