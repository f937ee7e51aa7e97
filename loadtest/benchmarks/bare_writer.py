"""Bare writer: vLLM by itself in one process, for the benchmark of ours to be held against.

    python -m loadtest.benchmarks.bare_writer SETTINGS.json MODEL

Reads lines from standard input: JSON lists of prompts. Writes all prompts of a line together and
answers with one line of JSON, {"tokens": …, "seconds": …}. Ends with its input.
"""

import json
import os
import sys
import time
from pathlib import Path

from serving.adapters.chat_prompt import chat_tokens
from serving.adapters.vllm_engine import engine_arguments, engine_environment
from serving.writer_settings import WriterSettings
from shop.descriptions.prompts import ANSWER_SCHEMA, SYSTEM

READY = "ready"


def main() -> int:
    """Exit code 0 when the input ends."""
    settings = WriterSettings(**json.loads(sys.argv[1]))
    os.environ.update(engine_environment(settings))
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what vLLM prints is not an answer
    from vllm import LLM, SamplingParams, TokensPrompt
    from vllm.sampling_params import StructuredOutputsParams

    engine = LLM(**engine_arguments(settings, Path(sys.argv[2])), disable_log_stats=True)
    tokenizer = engine.get_tokenizer()
    print(READY, file=answers, flush=True)
    for line in sys.stdin:
        asked = [TokensPrompt(prompt_token_ids=chat_tokens(tokenizer, SYSTEM, p)) for p in json.loads(line)]  # fmt: skip  # noqa: E501
        parameters = [
            SamplingParams(
                temperature=1.0,
                seed=seed,
                max_tokens=settings.max_tokens,
                structured_outputs=StructuredOutputsParams(json=dict(ANSWER_SCHEMA)),
            )
            for seed in range(len(asked))
        ]
        began = time.perf_counter()
        outputs = engine.generate(asked, parameters, use_tqdm=False)
        seconds = time.perf_counter() - began
        tokens = sum(len(output.outputs[0].token_ids) for output in outputs)
        print(json.dumps({"tokens": tokens, "seconds": seconds}), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
