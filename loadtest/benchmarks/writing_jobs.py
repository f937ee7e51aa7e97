"""Writing jobs: what a benchmark has written by vLLM, by a process of its own.

vLLM reads its variables when it is imported, and its memory is free again when the process ends.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.benchmarks.stack import BenchmarkFailed
from serving.writer_settings import WriterSettings

_AT_ONCE = 32  # texts in one batch: more gains next to nothing on two cores


@dataclass(frozen=True, slots=True)
class Shop:
    """Where the trained model and the products lie."""

    state_dir: Path
    snapshot: Path
    specifications: Path
    texts: tuple[Path, ...]

    @staticmethod
    def at(state_dir: Path, texts: Sequence[Path]) -> "Shop":
        """Raises BenchmarkFailed where no model was trained, or no world was made."""
        model = state_dir / WriterSettings().model_dir
        if not (model / "config.json").exists():
            raise BenchmarkFailed(f"{model} holds no model; `vitrine train describer` makes one")
        snapshots = sorted((state_dir / "snapshots").glob("world-*"))
        world = state_dir / "world"
        if not snapshots or not (world / "specifications.parquet").exists():
            raise BenchmarkFailed(f"{state_dir} holds no simulated world; `vitrine up` makes one")
        return Shop(state_dir, snapshots[-1], world, tuple(texts))


def written_by(module: str, shop: Shop, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The lines of JSON that the module writes into `out` of its job. Raises BenchmarkFailed."""
    with tempfile.TemporaryDirectory(prefix="vitrine-writing-") as folder:
        out, file = Path(folder) / "written.jsonl", Path(folder) / "job.json"
        asked = {
            "settings": {
                "texts_at_once": _AT_ONCE,
                "queued_texts": 0,
                "max_adapters": 0,
                "deadline_s": 600.0,
            },
            "state_dir": str(shop.state_dir.absolute()),
            "snapshot": str(shop.snapshot.absolute()),
            "specifications": str(shop.specifications.absolute()),
            "texts": [str(each.absolute()) for each in shop.texts],
            "out": str(out),
        }
        file.write_text(json.dumps({**asked, **job}))
        argv = (sys.executable, "-m", module, str(file))
        if subprocess.run(argv, check=False, stdout=sys.stderr).returncode:
            raise BenchmarkFailed("the texts were not written; see above")
        return [json.loads(line) for line in out.read_text().splitlines()]
