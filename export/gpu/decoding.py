"""Decoding: the steps of the GPU benchmark that are about a language model at batch 1.

Shapes: S tokens said, E embedding, V vocabulary; others as in `export.gpu.decoder`.
"""

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

from export.gpu.checks import Checked
from export.gpu.decoder import TINY, Decoder, DecoderShape, Greedy, Product, rotary_table, turned
from export.gpu.graphs import GraphedCall
from export.gpu.plan import DecoderForm, Plan
from export.gpu.report import Report
from export.gpu.timing import on_device
from export.gpu.vllm_decoding import us_per_token_by_vllm, why_no_vllm

# ‖Δ‖/‖ref‖ of the logits. Drawn weights let roundings through all three layers of the small model.
MAX_ERROR = {torch.float32: 1e-4, torch.bfloat16: 4e-2}
_SMALL_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def right_decoder(plan: Plan, report: Report) -> None:
    """A small model, said token by token through the cache, against all at once in float64."""
    for dtype in MAX_ERROR:
        check = check_decoder(plan, "torch", dtype)
        report.checked(check, f"decoder_{_SMALL_NAMES[dtype]}")


def check_decoder(
    plan: Plan, form: DecoderForm, dtype: torch.dtype, *, product: Product | None = None
) -> Checked:
    """One form of the small model, over every place of a cache that was full before.

    `product` takes the place of the form's own.
    """
    product = product or _product(form)
    decoder = Decoder(TINY, dtype=dtype, device=plan.device, seed=plan.seed, product=product).eval()
    step = _ready(Greedy(decoder), form, on_gpu=plan.on_gpu)
    greedy = step.greedy
    tokens, found = [], []
    with torch.inference_mode():
        for _ in range(2 * TINY.places):  # the second round finds the first one's cache
            tokens.append(greedy.token_1.clone())
            found.append(step.run().clone())
    wanted = logits_in_float64(decoder, torch.cat(tokens[TINY.places :]))
    told = torch.cat(found[TINY.places :]).double()
    error = ((told - wanted).norm() / wanted.norm()).item()
    name = f"decoder, {form} {_SMALL_NAMES[dtype]}, {TINY.places} tokens through the cache"
    holds = error <= MAX_ERROR[dtype]  # NaN compares false
    return Checked(name, f"‖Δ‖/‖ref‖ {error:.1e}", {"error": error}, holds)


def logits_in_float64(decoder: Decoder, tokens_S: Tensor) -> Tensor:
    """[S, V] of all tokens at once, without a cache: what decoding one by one must come to.

    Written apart from the decoder's own steps, one product for each matrix, so that both would
    have to be wrong in the same way.
    """
    shape = decoder.shape
    kept = shape.key_heads * shape.head_size
    state_SE = decoder.embedding_VE.double()[tokens_S]
    count = tokens_S.numel()
    cosines, sines = (each[:count] for each in rotary_table(shape, state_SE.device))
    is_later = torch.ones(count, count, dtype=torch.bool, device=state_SE.device).triu(1)
    for layer in decoder.layers:
        weights = {name: each.double() for name, each in layer.named_parameters()}
        normed = _normed(state_SE, weights["before_attention_E"], shape)
        query_OE, key_OE, value_OE = weights["qkv_OE"].split((shape.embedding, kept, kept))
        heads = []
        for head in range(shape.heads):
            of_query = slice(head * shape.head_size, (head + 1) * shape.head_size)
            group = head * shape.key_heads // shape.heads
            of_key = slice(group * shape.head_size, (group + 1) * shape.head_size)
            query, key = (
                _turned_one_by_one(normed @ part.T, cosines, sines)
                for part in (query_OE[of_query], key_OE[of_key])
            )
            scores = (query @ key.T * shape.head_size**-0.5).masked_fill(is_later, -torch.inf)
            heads.append(torch.softmax(scores, dim=-1) @ (normed @ value_OE[of_key].T))
        state_SE = state_SE + torch.cat(heads, dim=-1) @ weights["out_EE"].T
        normed = _normed(state_SE, weights["before_feed_forward_E"], shape)
        gate_FE, up_FE = weights["gate_up_OE"].chunk(2)
        gate = normed @ gate_FE.T
        inner = gate * torch.sigmoid(gate) * (normed @ up_FE.T)
        state_SE = state_SE + inner @ weights["down_EF"].T
    last = _normed(state_SE, decoder.head.last_E.double(), shape)
    return last @ decoder.head.logits_VE.double().T


def _normed(state_SE: Tensor, weight_E: Tensor, shape: DecoderShape) -> Tensor:
    size = (state_SE**2).sum(dim=-1, keepdim=True) / shape.embedding
    return state_SE / (size + shape.epsilon).sqrt() * weight_E


def _turned_one_by_one(heads_SD: Tensor, cosines_SD: Tensor, sines_SD: Tensor) -> Tensor:
    return torch.stack(
        [
            turned(one, torch.stack([cosine, sine]))
            for one, cosine, sine in zip(heads_SD, cosines_SD, sines_SD, strict=True)
        ]
    )


def timed_decoder(plan: Plan, report: Report, bytes_per_s: float) -> float:
    """A token of the large model; returns the bandwidth floor over the best form's time.

    A form that is wrong on the small model is not timed on the large one.
    """
    decoder = Decoder(
        plan.decoder_shape, dtype=torch.bfloat16, device=plan.device, seed=plan.seed
    ).eval()
    floor_us = decoder.read_bytes / bytes_per_s * 1e6
    what = f"decoder of {decoder.read_bytes / 2e9:.2f} B bf16 weights read, batch 1"
    report.add("decode_floor_us", f"{what}, bandwidth floor", floor_us, "µs/token")
    best_us = float("inf")
    for form in plan.decoder_forms:
        try:
            if not report.checked(check_decoder(plan, form, torch.bfloat16), f"decode_{form}"):
                continue
            step = _ready(Greedy(_by(decoder, form)), form, on_gpu=plan.on_gpu)
            timed = on_device(step.run, [()], plan.device, count=plan.count)
        except Exception as error:  # noqa: BLE001  # whatever a compiler raises: the others go on
            report.failed(f"decode, {form}", error)
            continue
        finally:
            _forget()
        report.add(f"decode_{form}_us", f"{what}, {form}", timed.p50_us, "µs/token")
        best_us = min(best_us, timed.p50_us)
    share = floor_us / best_us
    report.add("decode_share_of_floor", f"{what}, floor over the best form", 100 * share, "%")
    return share


def timed_vllm(plan: Plan, report: Report) -> None:
    """The same model by vLLM, in a process of its own: a second row, and no goal of ours."""
    reason = why_no_vllm(plan)
    if reason:
        report.not_run.append(f"decoding by vLLM: {reason}")
        return
    taken_us = us_per_token_by_vllm(plan.decoder_shape, seed=plan.seed)
    report.add("decode_vllm_us", "the same shape by vLLM, batch 1", taken_us, "µs/token")
    floor_us = float(report.figures.get("decode_floor_us", "nan"))
    if floor_us == floor_us:  # known where the decoder was timed in the same run
        share = 100 * floor_us / taken_us
        report.add("decode_vllm_share", "the same, floor over vLLM's", share, "%")


class _Ready:
    """A step that can be repeated: recorded as one launch where there are CUDA graphs."""

    def __init__(self, greedy: Greedy, run: Callable[[], Tensor]) -> None:
        self.greedy, self.run = greedy, run


def _ready(greedy: Greedy, form: DecoderForm, *, on_gpu: bool) -> _Ready:
    if form == "compile":
        for part in greedy.decoder.parts():  # one compilation for all layers: they are alike
            # With this tuning a product with one row becomes a sum over the rows as they lie.
            part.compile(dynamic=False, options={"coordinate_descent_tuning": True})
    if on_gpu:
        graph: Callable[..., Any] = GraphedCall(greedy, [])
        greedy.place_1.zero_()  # the warm-ups have moved on

        def replayed() -> Tensor:
            return cast(Tensor, graph())

        return _Ready(greedy, replayed)

    def stepped() -> Tensor:
        with torch.inference_mode():
            return cast(Tensor, greedy())

    return _Ready(greedy, stepped)


def _product(form: DecoderForm) -> Product:
    if form == "kernel":
        from export.gpu.row_products import row_products  # needs the compiler of CUDA builds

        return row_products
    return nn.functional.linear


def _by(decoder: Decoder, form: DecoderForm) -> Decoder:
    """The same weights, multiplied by this form's product."""
    for part in decoder.parts():
        part.product = _product(form)
        part._compiled_call_impl = None  # what an earlier form has compiled
    return decoder


def _forget() -> None:
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
