"""Photos: from a file that somebody handed in to pixels, and to a file that is safe to show.

A file is never kept as it came: what is shown is written anew from its pixels, so no position,
camera or trailing payload of the original travels with it. Sizes are judged before anything is
unpacked.
"""

import hashlib
import io
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from serving.describe.ports import Photo
from shop.errors import DependencyUnavailable, InvalidRequest
from shop.photos.fingerprint import fingerprint
from shop.photos.measures import LEAST_SIDE
from shop.photos.quality import MODEL_COLUMNS, QualityModel

MAX_PHOTO_BYTES = 3 << 20  # gRPC takes messages of 4 MB
_MOST_PIXELS = 24_000_000
_FORMATS = ("JPEG", "PNG", "WEBP")
_KEPT_SIDE = 2_048  # pixels of the longer side, of what is kept
_JUDGED_SIDE = 448
_PRINTED_SIDE = 64
_QUALITY = 90
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, MemoryError)


def read_photo(content: bytes, *, thumbnail_side: int) -> Photo:
    """Pixels and a clean file. Raises InvalidRequest, naming what is wrong with the file.

    Up to a second for the largest: not for an event loop.
    """
    if not content:
        raise InvalidRequest("photo", "is empty")
    if len(content) > MAX_PHOTO_BYTES:
        raise InvalidRequest("photo", f"has {len(content)} bytes, at most {MAX_PHOTO_BYTES}")
    try:
        image = _upright(content)
        kept = _shrunk(image, _KEPT_SIDE)
        clean = io.BytesIO()
        kept.save(clean, "JPEG", quality=_QUALITY, optimize=True)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InvalidRequest("photo", _too_many("far more")) from error
    except _UNREADABLE as error:
        raise InvalidRequest("photo", f"is no whole {', '.join(_FORMATS)} file") from error
    small = np.asarray(_shrunk(image, _PRINTED_SIDE, least=True).convert("L"), np.float64)
    return Photo(
        digest=hashlib.sha256(clean.getvalue()).hexdigest(),
        content=clean.getvalue(),
        width=image.width,
        height=image.height,
        pixels=np.asarray(_shrunk(image, _JUDGED_SIDE), np.uint8),
        thumbnail=np.asarray(_shrunk(image, thumbnail_side), np.uint8),
        fingerprint=fingerprint(small),
    )


def read_quality(file: Path) -> QualityModel:
    """The trained model. Raises DependencyUnavailable if it is missing or another model's."""
    try:
        with file.open("rb") as stream, np.load(stream, allow_pickle=False) as kept:
            names = ("weights", "mean", "scale")
            weights, mean, scale = (kept[name].astype(np.float64) for name in names)
            bias, side, version = float(kept["bias"]), int(kept["side"]), str(kept["version"])
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DependencyUnavailable("photo quality", f"{file}: {error}") from error
    shapes = {each.shape for each in (weights, mean, scale)}
    is_finite = all(np.isfinite(each).all() for each in (weights, mean, scale))
    if shapes != {(MODEL_COLUMNS,)} or not is_finite or not LEAST_SIDE <= side <= _JUDGED_SIDE:
        raise DependencyUnavailable("photo quality", f"{file}: is another model's")
    return QualityModel(weights, bias, mean, scale, side, version)


def _upright(content: bytes) -> Image.Image:
    """The picture as it is looked at, in red, green and blue; what is transparent is white."""
    with Image.open(io.BytesIO(content), formats=_FORMATS) as opened:
        if opened.width * opened.height > _MOST_PIXELS:
            raise InvalidRequest("photo", _too_many(f"{opened.width} × {opened.height}"))
        if min(opened.size) < LEAST_SIDE * 2:
            raise InvalidRequest("photo", f"is {opened.width} × {opened.height} pixels: too small")
        if max(opened.size) > 8 * min(opened.size):
            raise InvalidRequest("photo", "is a strip; its sides differ by more than 8 times")
        if getattr(opened, "n_frames", 1) > 1:
            raise InvalidRequest("photo", "moves; hand in one picture")
        opened.load()
        turned = ImageOps.exif_transpose(opened)
    if turned.mode in ("RGBA", "LA", "PA") or "transparency" in turned.info:
        over = turned.convert("RGBA")
        ground = Image.new("RGBA", over.size, "white")
        return Image.alpha_composite(ground, over).convert("RGB")
    return turned.convert("RGB")


def _too_many(found: str) -> str:
    return f"has {found} pixels; at most {_MOST_PIXELS:,} in all"


def _shrunk(image: Image.Image, side: int, *, least: bool = False) -> Image.Image:
    """At most `side` pixels long; with `least` that short, whatever it was."""
    length = min(image.size) if least else max(image.size)
    if length <= side and not least:
        return image
    width, height = (max(round(each * side / length), LEAST_SIDE) for each in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS)
