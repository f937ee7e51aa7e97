"""Photo quality: trains the model that tells a photo that may stand on a page from a spoilt one.

Real photos are the good ones; the same blurred, shaken, under- and overexposed, noisy, washed
out, squeezed by JPEG or enlarged from too few pixels are the spoilt ones. Photos are split as their
data set splits them, and beside the held-out figure each way of spoiling is once left out of
training altogether: what a camera does wrong tomorrow is not known beforehand.

    python -m training.photo_quality --photos clothing_112px.parquet --out FOLDER

The table has `split` (train, validation, test) and `jpeg` (bytes).
"""

import argparse
import io
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageEnhance, ImageFilter

from shop.descriptions.brand import auc
from shop.errors import DataRejected
from shop.photos.measures import LEAST_SIDE, feature_row, measured
from shop.photos.quality import QualityModel, fit_quality

QUALITY_FILE, REPORT_FILE = "photo_quality.npz", "photo_quality.json"
SIDE = 112  # pixels of the longer side: thumbnails, as lists show them
_MOST_TRAINED, _MOST_JUDGED = 1_200, 400
_VERSION = "photo-quality-1"

Spoil = Callable[[Image.Image, np.random.Generator], Image.Image]
Rows = NDArray[np.float64]  # [N, features]


@dataclass(frozen=True, slots=True)
class QualityReport:
    """How well spoilt photos are told, on photos that were never seen."""

    photos: int
    auc: float
    auc_by_kind: dict[str, float]
    auc_of_unseen_kinds: dict[str, float]  # each left out of training


def train_photo_quality(table: pa.Table, seed: int = 7) -> tuple[QualityModel, QualityReport]:
    """A model and its report; half a minute. Raises DataRejected where there are no photos."""
    rng = np.random.default_rng([seed, 43])
    trained = _rows(_photos(table, ("train",), _MOST_TRAINED), rng)
    judged = _rows(_photos(table, ("test",), _MOST_JUDGED), rng)
    model = _fitted(trained, SPOILT)
    unseen = {
        left_out: _auc(_fitted(trained, [name for name in SPOILT if name != left_out]), judged,
                       (left_out,))
        for left_out in SPOILT
    }  # fmt: skip
    by_kind = {name: _auc(model, judged, (name,)) for name in SPOILT}
    photos = len(trained[_GOOD]) + len(judged[_GOOD])
    return model, QualityReport(photos, _auc(model, judged, tuple(SPOILT)), by_kind, unseen)


def write_photo_quality(folder: Path, model: QualityModel, report: QualityReport) -> None:
    """`photo_quality.npz`, which serving reads, and the report beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    about = {
        "photos": report.photos,
        "auc": report.auc,
        "auc_by_kind": report.auc_by_kind,
        "auc_of_unseen_kinds": report.auc_of_unseen_kinds,
        "version": model.version,
    }
    (folder / REPORT_FILE).write_text(json.dumps(about, indent=2) + "\n")
    part = folder / f"{QUALITY_FILE}.part"
    with part.open("wb") as stream:
        np.savez(
            stream,
            weights=model.weights,
            bias=np.float64(model.bias),
            mean=model.mean,
            scale=model.scale,
            side=np.int64(model.side),
            version=np.array(model.version),
        )
    part.replace(folder / QUALITY_FILE)


def photos_of(table: pa.Table, splits: Sequence[str]) -> list[bytes]:
    """The files of these splits. Raises DataRejected if the table has no such columns."""
    missing = {"split", "jpeg"} - set(table.column_names)
    if missing:
        raise DataRejected(f"the photos' table lacks {', '.join(sorted(missing))}")
    pairs = zip(table["split"].to_pylist(), table["jpeg"].to_pylist(), strict=True)
    return [content for split, content in pairs if split in splits]


def opened(content: bytes) -> Image.Image:
    """A photo as the model looks at it."""
    image = Image.open(io.BytesIO(content), formats=("JPEG", "PNG", "WEBP")).convert("RGB")
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return image


_GOOD = ""


def _photos(table: pa.Table, splits: Sequence[str], most: int) -> list[Image.Image]:
    files = photos_of(table, splits)
    if not files:
        raise DataRejected(f"no photos of the split {', '.join(splits)}")
    step = max(len(files) // most, 1)
    images = [opened(each) for each in files[::step][:most]]
    return [image for image in images if min(image.size) >= LEAST_SIDE]


def _rows(photos: Sequence[Image.Image], rng: np.random.Generator) -> dict[str, Rows]:
    """Features of the photos, good and spoilt in each way."""
    found = {_GOOD: np.stack([_row(photo) for photo in photos])}
    for name, spoil in SPOILT.items():
        found[name] = np.stack([_row(spoil(photo, rng)) for photo in photos])
    return found


def _row(photo: Image.Image) -> Rows:
    return feature_row(measured(np.asarray(photo, np.uint8)))


def _fitted(rows: Mapping[str, Rows], kinds: Sequence[str] | Mapping[str, Spoil]) -> QualityModel:
    good = rows[_GOOD]
    spoilt = np.concatenate([rows[name] for name in kinds])
    is_good = np.arange(len(good) + len(spoilt)) < len(good)
    return fit_quality(np.concatenate([good, spoilt]), is_good, side=SIDE, version=_VERSION)


def _auc(model: QualityModel, rows: Mapping[str, Rows], kinds: Sequence[str]) -> float:
    good, spoilt = rows[_GOOD], np.concatenate([rows[name] for name in kinds])
    both = np.clip((np.concatenate([good, spoilt]) - model.mean) / model.scale, -8.0, 8.0)
    return auc(both @ model.weights, np.arange(len(both)) < len(good))


def _blurred(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return photo.filter(ImageFilter.GaussianBlur(float(rng.uniform(1.0, 3.0))))


def _shaken(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(photo, np.float64)
    axis, length = int(rng.integers(2)), int(rng.integers(4, 9))
    moved = sum(np.roll(pixels, shift, axis) for shift in range(length)) / length
    return Image.fromarray(np.asarray(moved, np.uint8))


def _dark(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(float(rng.uniform(0.1, 0.35)))


def _bright(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(photo).enhance(float(rng.uniform(1.9, 3.0)))


def _noisy(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    pixels = np.asarray(photo, np.float64)
    spoilt = pixels + rng.normal(0.0, float(rng.uniform(20.0, 50.0)), pixels.shape)
    return Image.fromarray(np.clip(spoilt, 0, 255).astype(np.uint8))


def _washed_out(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(photo).enhance(float(rng.uniform(0.15, 0.4)))


def _squeezed(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    kept = io.BytesIO()
    photo.save(kept, "JPEG", quality=int(rng.integers(3, 12)))
    return Image.open(kept).convert("RGB")


def _enlarged(photo: Image.Image, rng: np.random.Generator) -> Image.Image:
    factor = float(rng.uniform(2.5, 5.0))
    small = (max(int(photo.width / factor), 4), max(int(photo.height / factor), 4))
    return photo.resize(small, Image.Resampling.BOX).resize(photo.size, Image.Resampling.BICUBIC)


SPOILT: dict[str, Spoil] = {
    "blurred": _blurred,
    "shaken": _shaken,
    "dark": _dark,
    "bright": _bright,
    "noisy": _noisy,
    "washed out": _washed_out,
    "squeezed": _squeezed,
    "enlarged": _enlarged,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m training.photo_quality", description=__doc__)
    parser.add_argument("--photos", type=Path, required=True, help="Parquet with split and jpeg")
    parser.add_argument("--out", type=Path, required=True, help="folder for the model")
    chosen = parser.parse_args(arguments)
    table = pq.read_table(chosen.photos, columns=["split", "jpeg"])
    write_photo_quality(chosen.out, *train_photo_quality(table))
    sys.stdout.write((chosen.out / REPORT_FILE).read_text())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
