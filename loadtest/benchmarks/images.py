"""Bench `images`: spoilt photos told by the quality model, look-alikes by the fingerprint.

Photos are real ones, handed over as a table; the model is trained on its training part and judged
on its test part. Nothing of them is kept.
"""

import io
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from loadtest.benchmarks.result import Figure, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import BenchmarkFailed
from shop.photos.fingerprint import ALIKE, distances, fingerprint
from shop.photos.measures import measured
from training.photo_quality import opened, photos_of, train_photo_quality

_LOOKED_AT = 300  # test photos whose prints are compared with each other


def measure(state_dir: Path, images: Path, *, photos: Path | None = None) -> Result:
    """AUC held out and by kind; look-alikes found, and pairs of others taken for alike."""
    if photos is None:
        raise BenchmarkFailed("name the table of photos (split and jpeg): --photos FILE")
    table = pq.read_table(photos, columns=["split", "jpeg"])
    _, report = train_photo_quality(table)
    shown = [opened(each) for each in photos_of(table, ("test",))[:_LOOKED_AT]]
    prints = np.array([_print(each) for each in shown], np.uint64)
    found = {name: _found(change, shown, prints) for name, change in _CHANGES.items()}
    pairs = len(prints) * (len(prints) - 1) // 2
    alike = sum(int((distances(int(one), prints[at + 1 :]) <= ALIKE).sum())
                for at, one in enumerate(prints))  # fmt: skip
    figures: dict[str, Figure] = {
        "photos": report.photos,
        "auc": report.auc,
        "auc_least_of_kinds": min(report.auc_by_kind.values()),
        "auc_least_of_unseen_kinds": min(report.auc_of_unseen_kinds.values()),
        "look_alikes_found_least": min(found.values()),
        "others_taken_for_alike": alike,
        "pairs_of_others": pairs,
        "ms_a_photo": _cost_ms(shown),
    }
    return Result(
        name="images",
        figures=figures,
        checks=(
            at_least("AUC on photos never seen, all ways of spoiling", report.auc, 0.95, ""),
            at_least("look-alikes found: enlarged, re-encoded, brighter",
                     min(v for name, v in found.items() if name != "cropped by 2 %"), 0.95, ""),
            at_most("pairs of different photos taken for alike", alike / pairs, 0.001, ""),
        ),
        grids=(
            Grid("Spoilt photos told", ("spoilt", "AUC", "AUC, left out of training"), tuple(
                (name, f"{value:.3f}", f"{report.auc_of_unseen_kinds[name]:.3f}")
                for name, value in report.auc_by_kind.items()
            )),
            Grid("Look-alikes", ("changed", "found"), tuple(
                (name, f"{value:.3f}") for name, value in found.items()
            )),
        ),
        notes=(
            "An unseen kind is one that was left out of training: below 0.5 the model takes it for"
            " good, so a shop whose photos are spoilt in another way trains on some of those.",
            "Different photos of one thing may be alike; nobody has looked at those pairs.",
        ),
    )  # fmt: skip


def _print(photo: Image.Image) -> int:
    return fingerprint(np.asarray(photo.convert("L"), np.float64))


def _found(
    change: Callable[[Image.Image], Image.Image],
    shown: list[Image.Image],
    prints: NDArray[np.uint64],
) -> float:
    """Share of photos that are known again."""
    changed = [_print(change(each)) for each in shown]
    bits = [int(distances(one, prints[at : at + 1])[0]) for at, one in enumerate(changed)]
    return float((np.array(bits) <= ALIKE).mean())


def _encoded(photo: Image.Image) -> Image.Image:
    kept = io.BytesIO()
    photo.save(kept, "JPEG", quality=40)
    return Image.open(kept)


def _cropped(photo: Image.Image) -> Image.Image:
    edge = max(round(0.02 * min(photo.size)), 1)
    return photo.crop((edge, edge, photo.width - edge, photo.height - edge))


_CHANGES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "enlarged 3 times": lambda photo: photo.resize((photo.width * 3, photo.height * 3)),
    "re-encoded at quality 40": _encoded,
    "15 % brighter": lambda photo: ImageEnhance.Brightness(photo).enhance(1.15),
    "cropped by 2 %": _cropped,
}


def _cost_ms(shown: list[Image.Image]) -> float:
    """Median of the processor's time for the figures of one thumbnail."""
    at = [time.process_time()]
    for photo in shown[:100]:
        asdict(measured(np.asarray(photo, np.uint8)))
        at.append(time.process_time())
    return float(np.median([1000.0 * (after - before) for before, after in pairwise(at)]))
