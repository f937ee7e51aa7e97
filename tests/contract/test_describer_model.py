"""The description model: what it learns, what it leaves behind, and that others read it alike."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.contract.small_describer import (
    SMALL,
    some_facts,
    some_pairs,
    write_small_adapter,
    write_small_describer,
)
from training.algorithms.describer import (
    CHECKPOINT,
    DescriberSettings,
    answer_loss,
    fit_describer,
    has_learnt_enough,
)
from training.algorithms.describer_lora import LoraSettings, adapt_describer
from training.describer_asks import answered, held_out_asks
from training.describer_folder import read_describer
from training.describer_report import covered_share, perplexity, write
from training.models.copying import start_copying
from training.models.describer import Describer, DescriberShape
from training.texts.shelves import Shelf
from training.texts.tokens import END_ID, batch_of, encode


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """A team of threads on a busy machine waits for its slowest, and this is little work."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("describer")
    write_small_describer(folder)
    return folder


def test_other_readers_of_llama_models_compute_the_same(folder: Path) -> None:
    transformers = pytest.importorskip("transformers", exc_type=ImportError)
    model, tokenizer = read_describer(folder)
    theirs = transformers.LlamaForCausalLM.from_pretrained(str(folder)).eval()
    tokens = torch.tensor([[1, *tokenizer.encode(some_pairs(1)[0].prompt).ids]])
    with torch.no_grad():
        ours = model.logits(model(tokens))
        assert torch.allclose(theirs(tokens).logits, ours, atol=1e-4)


def test_writing_with_what_was_kept_is_writing_anew(folder: Path) -> None:
    model, tokenizer = read_describer(folder)
    prompts = [each.prompt for each in encode(tokenizer, some_pairs(3))]
    prompts[1] = prompts[1][: len(prompts[1]) // 2]  # of different length: one is padded
    for prompt, answer in zip(prompts, write(model, prompts, 12), strict=True):
        assert answer == _anew(model, prompt, 12)


def _anew(model: Describer, prompt: tuple[int, ...], most: int) -> list[int]:
    written: list[int] = []
    while len(written) < most and END_ID not in written:
        with torch.no_grad():
            states = model(torch.tensor([[*prompt, *written]]))
        written.append(int(model.logits(states[0, -1]).argmax()))
    return written


def test_it_learns_a_handful_of_pages_by_heart(folder: Path) -> None:
    model, tokenizer = read_describer(folder)
    batch = batch_of(encode(tokenizer, some_pairs(4)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    before = float(answer_loss(model, batch).detach())
    for _ in range(60):
        optimizer.zero_grad()
        loss = answer_loss(model, batch)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < before / 3


def test_an_interrupted_training_comes_to_the_same_end(tmp_path: Path, folder: Path) -> None:
    _, tokenizer = read_describer(folder)
    shape = SMALL
    shelves = [Shelf(some_facts(n), "catalogue", is_held_out=False) for n in range(9)]
    settings = DescriberSettings(
        shape=shape, rounds=2, pairs_per_round=12, tokens_at_once=1_024,
        short_rounds=1,
    )  # fmt: skip

    def fit(where: Path, fingerprint: str, stop_at: float = 2.0) -> Describer:
        def advance(share: float) -> None:
            if share >= stop_at:
                raise KeyboardInterrupt

        where.mkdir(exist_ok=True)
        return fit_describer(
            shelves, tokenizer, where, settings, seed=0, fingerprint=fingerprint, advance=advance
        )

    whole = fit(tmp_path / "whole", "a")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "cut", "a", stop_at=0.5)
    assert (tmp_path / "cut" / CHECKPOINT).exists()
    continued = fit(tmp_path / "cut", "a")
    for one, other in zip(whole.parameters(), continued.parameters(), strict=True):
        assert torch.equal(one, other)


def test_an_adapter_learns_and_leaves_the_model_as_it_was(folder: Path) -> None:
    model, tokenizer = read_describer(folder)
    pairs = some_pairs(8)
    before = perplexity(model, tokenizer, pairs)
    weights = model.model.layers[0].mlp.up_proj.weight.clone()
    settings = LoraSettings(rounds=4, rate=1e-2)
    tensors = adapt_describer(model, tokenizer, pairs, settings, seed=0)
    assert perplexity(model, tokenizer, pairs) < before
    assert torch.equal(model.model.layers[0].mlp.up_proj.frozen.weight, weights)
    name = "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight"
    assert tensors[name].shape == (settings.rank, SMALL.width)


def test_an_adapter_is_written_as_others_read_it(folder: Path, tmp_path: Path) -> None:
    write_small_adapter(folder, tmp_path / "best-1")
    names = {file.name for file in (tmp_path / "best-1").iterdir()}
    assert names == {"adapter_config.json", "adapter_model.safetensors"}


def test_a_model_that_has_learnt_nothing_answers_nothing(folder: Path) -> None:
    model, tokenizer = read_describer(folder)
    shelves = [Shelf(some_facts(n), "catalogue", is_held_out=True) for n in range(1, 4)]
    found = answered(model, tokenizer, held_out_asks(shelves, "catalogue", 6, seed=1))
    assert (found.told, found.silent) == (0.0, 1.0)


def test_coverage_counts_values_that_stand_on_the_page() -> None:
    facts = some_facts(20)
    assert covered_share(facts, "made of OAK, 80 cm wide") == 1.0
    assert covered_share(facts, "made of oak, 80 mm wide") == 0.5


def test_a_model_that_has_learnt_nothing_copies_what_stood_there_before() -> None:
    torch.manual_seed(0)
    model, chance = Describer(DescriberShape()), torch.Generator().manual_seed(1)
    start_copying(model)
    said, between = (torch.randint(3, 4_096, (50, n), generator=chance) for n in (24, 30))
    with torch.no_grad():
        guesses = model.logits(model(torch.cat((said, between, said), dim=1))).argmax(-1)
    copied = guesses[:, 24 + 30 + 1 : -1] == said[:, 2:]  # from where two tokens tell the place
    assert copied.float().mean() > 0.8


def test_it_finds_the_value_of_a_name_that_stands_there_again() -> None:
    torch.manual_seed(0)
    model, chance = Describer(DescriberShape()), torch.Generator().manual_seed(1)
    start_copying(model)
    for apart in (2, 3):  # `Width: ` and `Width – `, where the facts have `width": "80`
        before, line, after, marks = (
            torch.randint(3, 4_096, (100, n), generator=chance) for n in (20, 5, 20, apart)
        )
        asked = torch.cat((before, line, after, line[:, :1], marks), dim=1)
        with torch.no_grad():
            logits = model.logits(model(asked)[:, -1])
        better = (logits > logits.gather(1, line[:, 4:])).sum(dim=1)
        assert better.float().median() < 800, apart  # by chance 2,048


def test_training_ends_where_the_loss_no_longer_falls() -> None:
    settings = DescriberSettings(short_rounds=1, patience=2, least_gain=0.01)
    assert not has_learnt_enough([], settings)
    assert not has_learnt_enough([9.0, 3.0, 2.0, 1.5], settings)
    assert not has_learnt_enough([9.0, 3.0, 2.0, 1.999, 1.9], settings)
    assert has_learnt_enough([9.0, 3.0, 2.0, 1.999, 1.998], settings)
    assert not has_learnt_enough([0.1, 3.0, 2.9, 2.8], settings), "a short page is no whole one"
    assert has_learnt_enough([3.0, math.nan], settings)
