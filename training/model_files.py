"""Model files: their names in a model folder, and how a file is written whole.

Apart from `training.model_folder`, so that the models can be loaded where only torch and numpy are
installed: a bare GPU machine.
"""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from shop.errors import NotFound

TWO_TOWER_WEIGHTS, TWO_TOWER_CONFIG = "two_tower.pt", "two_tower.json"
RANKER_WEIGHTS, RANKER_CONFIG = "ranker.pt", "ranker.json"
TEXT_ENCODER_WEIGHTS = "text_encoder.pt"
METRICS_FILE = "metrics.json"


def read_json(path: Path) -> dict[str, Any]:
    """Raises NotFound if the file does not exist."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise NotFound(f"{path} does not exist; train first") from error
    return raw


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then move it there: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    write(part)
    os.replace(part, path)


def write_json(path: Path, raw: Mapping[str, Any]) -> None:
    """`read_json` reads it back; written whole."""
    write_whole(path, lambda part: part.write_text(json.dumps(raw, indent=2) + "\n"))
