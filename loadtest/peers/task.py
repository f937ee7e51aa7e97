"""Task: what all peers are given, made from the current release: the files, shoppers, the truth."""

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from loadtest.benchmarks.sample import sample_of
from loadtest.current import current_folder, current_manifest
from loadtest.peers.core import FEATURES, SHOPPERS_FILE, TASK_FILE, Core, Found, Task
from serving.adapters.release_files import load_tables
from shop.release import INDEX_FILE, RANKER_FILE, USER_TOWER_FILE
from shop.tensors import MAX_CANDIDATES

SHOPPERS = 400
PAGE_SIZE = 20


def shopper_name(number: int) -> str:
    """By which the peers know a shopper of the sample."""
    return f"S{number:05d}"


def write_task(state_dir: Path, folder: Path) -> None:
    """Shoppers of the current release, and its files by path and digest."""
    release, manifest = current_folder(state_dir).absolute(), current_manifest(state_dir)
    tables = load_tables(release, manifest)
    samples = sample_of(release, manifest, SHOPPERS, seed=9)
    features = {
        name: np.stack([getattr(sample.features, name) for sample in samples]) for name in FEATURES
    }
    # What a candidate's price is against the history's mean: the same column for every peer.
    taste = [sample.values[0, 0] - sample.values[0, 3] for sample in samples]
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(
        folder / SHOPPERS_FILE,
        shoppers=np.array([shopper_name(number) for number in range(SHOPPERS)]),
        taste_log_price=np.array(taste, np.float32),
        product_ids=tables.catalogue.product_ids,
        price_minor=tables.catalogue.list_price_minor,
        **features,
    )
    files = [str(release / name) for name in (USER_TOWER_FILE, RANKER_FILE, INDEX_FILE)]
    task = Task(
        *files,
        digests={path: hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in files},
        heads=list(tables.schema.heads),
        candidates=min(MAX_CANDIDATES, tables.catalogue.product_count),
    )
    (folder / TASK_FILE).write_text(json.dumps(asdict(task), indent=2))


def truth(folder: Path, shoppers: list[str]) -> list[Found]:
    """What every peer has to answer, worked out here and one by one."""
    core = Core(folder)
    return [core.recommend(shopper, PAGE_SIZE) for shopper in shoppers]
