"""Writer settings: which language model writes descriptions, where it runs, what it may take."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's kernels are made for


@dataclass(frozen=True, slots=True)
class WriterSettings:
    """The language model behind descriptions."""

    # Whether `vitrine up` starts it, beside the door and after it, if there is a model. It takes
    # 1.9 GB and a quarter of a minute; nothing waits for it.
    start: bool = True
    # host:port of its gRPC service. Elsewhere than here: start = false and the other's address.
    address: str = "127.0.0.1:9300"
    # A Hugging Face folder: config.json, tokenizer, safetensors. Relative: in the state folder.
    model_dir: Path = Path("writer/model")
    adapters_dir: Path = Path("writer/adapters")  # one LoRA adapter, in PEFT's form, per folder
    device: Literal["cpu", "cuda"] = "cpu"  # cuda needs the CUDA build of vLLM, see operations
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    max_model_len: int = 2048  # tokens of prompt and answer together
    # Keys and values of tokens, on a CPU: 64 texts of full length with the small model. On CUDA
    # `gpu_memory_share` says how much.
    kv_cache_mb: int = 512
    gpu_memory_share: float = 0.85
    max_tokens: int = 700  # of one answer, whatever is asked
    texts_at_once: int = 8  # written together, in one batch; more wait
    queued_texts: int = 32  # waiting; more are refused
    deadline_s: float = 60.0  # of one text, waiting included
    max_adapters: int = 4  # loaded at once; 0: none can be asked for, and nothing is paid for them
    max_adapter_rank: int = 16
    eager: bool = True  # false compiles the model first: a minute at the start, worth it on CUDA
    threads: int = 0  # on a CPU; 0: one less than there are cores
    niceness: int = 10  # on one machine with the door, lists go first

    def __post_init__(self) -> None:
        for name in ("max_model_len", "kv_cache_mb", "max_tokens", "texts_at_once"):
            _require(getattr(self, name) >= 1, f"{name}: must be at least 1")
        for name in ("queued_texts", "max_adapters", "threads"):
            _require(getattr(self, name) >= 0, f"{name}: must be at least 0")
        _require(self.max_tokens < self.max_model_len, "max_tokens: must be below max_model_len")
        _require(0 < self.deadline_s <= 600, "deadline_s: must be above 0, at most 600")
        _require(0 < self.gpu_memory_share < 1, "gpu_memory_share: must be between 0 and 1")
        _require(0 <= self.niceness <= 19, "niceness: must be 0 to 19")
        allowed = ", ".join(map(str, _RANKS))
        _require(self.max_adapter_rank in _RANKS, f"max_adapter_rank: must be one of {allowed}")
        host, _, port = self.address.rpartition(":")
        is_port = port.isascii() and port.isdigit() and 0 < int(port) <= 65_535
        _require(bool(host) and is_port, "address: must be host:port")

    @property
    def host(self) -> str:
        """Of `address`."""
        return self.address.rpartition(":")[0]

    @property
    def port(self) -> int:
        """Of `address`."""
        return int(self.address.rpartition(":")[2])


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
