"""The decoder of the GPU benchmark: the same logits as Llama's, one token at a time, on the CPU."""

import dataclasses

import pytest
import torch

from export.gpu.decoder import EIGHT_B, TINY, Decoder, Greedy
from export.gpu.decoding import check_decoder, logits_in_float64, right_decoder, timed_decoder
from export.gpu.plan import cpu_plan
from export.gpu.report import Report
from export.gpu.vllm_decoding import configuration, why_no_vllm

pytestmark = pytest.mark.usefixtures("one_torch_thread")
PLAN = cpu_plan(seed=3)


TOKENS = torch.tensor([5, 90, 5, 17, 3, 3, 60, 41])


def a_decoder(dtype: torch.dtype = torch.float64) -> Decoder:
    return Decoder(TINY, dtype=dtype, device=PLAN.device, seed=11).eval()


def test_the_reference_is_what_transformers_calls_llama() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    decoder = a_decoder()
    model = LlamaForCausalLM(LlamaConfig(**configuration(TINY))).double().eval()
    names = dict(model.named_parameters())
    kept = TINY.key_heads * TINY.head_size
    with torch.no_grad():
        names["model.embed_tokens.weight"].copy_(decoder.embedding_VE)
        names["model.norm.weight"].copy_(decoder.head.last_E)
        names["lm_head.weight"].copy_(decoder.head.logits_VE)
        for at, layer in enumerate(decoder.layers):
            own = dict(layer.named_parameters())
            query, key, value = own["qkv_OE"].split((TINY.embedding, kept, kept))
            gate, up = own["gate_up_OE"].chunk(2)
            parts = {
                "input_layernorm": own["before_attention_E"],
                "post_attention_layernorm": own["before_feed_forward_E"],
                "self_attn.q_proj": query,
                "self_attn.k_proj": key,
                "self_attn.v_proj": value,
                "self_attn.o_proj": own["out_EE"],
                "mlp.gate_proj": gate,
                "mlp.up_proj": up,
                "mlp.down_proj": own["down_EF"],
            }
            for name, weights in parts.items():
                names[f"model.layers.{at}.{name}.weight"].copy_(weights)
        wanted = model(TOKENS[None]).logits[0]
    found = logits_in_float64(decoder, TOKENS)
    assert ((found - wanted).norm() / wanted.norm()).item() < 1e-6  # its angles are float32


def test_one_token_at_a_time_comes_to_the_same_as_all_at_once() -> None:
    decoder = a_decoder()
    with torch.inference_mode():
        found = torch.cat(
            [decoder(token[None], torch.tensor([at])) for at, token in enumerate(TOKENS)]
        )
    wanted = logits_in_float64(decoder, TOKENS)
    assert ((found - wanted).norm() / wanted.norm()).item() < 1e-12


def test_each_token_is_the_likeliest_after_the_one_before() -> None:
    greedy = Greedy(a_decoder(torch.float32), first=7)
    told = []
    with torch.inference_mode():
        for _ in range(TINY.places):
            logits = greedy()
            told.append(int(logits.argmax()))
            assert int(greedy.token_1) == told[-1]
    assert int(greedy.place_1) == 0, "after the last place comes the first"
    said = torch.tensor([7, *told[:-1]])
    assert logits_in_float64(greedy.decoder, said).argmax(dim=-1).tolist() == told


def test_both_types_hold_and_a_wrong_product_does_not() -> None:
    report = Report(PLAN.device)
    right_decoder(PLAN, report)
    assert report.is_right, report.text()
    assert len(report.checks) == 2

    def wrong(given: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(given, matrix.roll(1, dims=0))

    assert not check_decoder(PLAN, "torch", torch.bfloat16, product=wrong).holds


def test_the_floor_counts_every_weight_that_a_token_reads() -> None:
    decoder = a_decoder(torch.bfloat16)
    layer = sum(each.numel() for each in decoder.layers[0].parameters())
    own = TINY.layers * layer + TINY.vocabulary * TINY.embedding + TINY.embedding
    assert decoder.read_bytes == 2 * own
    kept = 2 * EIGHT_B.key_heads * EIGHT_B.head_size
    of_layer = EIGHT_B.embedding * (2 * EIGHT_B.embedding + kept + 3 * EIGHT_B.feed_forward)
    parameters = EIGHT_B.layers * of_layer + 2 * EIGHT_B.vocabulary * EIGHT_B.embedding
    assert parameters / 1e9 == pytest.approx(8.03, abs=0.01), "an 8 B shape"


def test_a_token_is_timed_against_the_floor() -> None:
    report = Report(PLAN.device)
    share = timed_decoder(PLAN, report, bytes_per_s=1e9)
    figures = report.figures
    assert share == pytest.approx(figures["decode_floor_us"] / figures["decode_torch_us"], rel=1e-3)
    assert not report.failures


def test_a_form_that_breaks_leaves_the_others_and_is_named() -> None:
    report = Report(PLAN.device)
    forms = ("kernel", "torch") if not torch.cuda.is_available() else ("torch",)
    timed_decoder(dataclasses.replace(PLAN, decoder_forms=forms), report, bytes_per_s=1e9)
    assert "decode_torch_us" in report.figures
    if len(forms) == 2:
        assert report.failures[0].startswith("decode, kernel")


def test_vllm_is_not_run_without_a_gpu_and_the_reason_is_said() -> None:
    assert why_no_vllm(PLAN) == "there is no CUDA device"
