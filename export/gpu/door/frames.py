"""Frames: batches of shoppers and of lists as bytes, between the door's processes and the engine.

A frame is its number and count (two little-endian uint32) and then its columns, one after the
other: all have a fixed size for each member. Both ends are of one machine and one checkout.

Shapes: B members of a batch, K listed.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.features import FeatureSchema
from shop.tensors import ModelSpec, user_tower_spec

Columns = tuple[NDArray[Any], ...]
HEAD = struct.Struct("<II")
MOST_MEMBERS = 4_096  # of one frame: more can only be a broken peer
_TYPES = {"INT64": np.dtype(np.int64), "FP32": np.dtype(np.float32)}


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a frame: type and shape of one member's part of each."""

    columns: tuple[tuple[np.dtype[Any], tuple[int, ...]], ...]

    @property
    def member_bytes(self) -> int:
        """What one member takes."""
        return sum(dtype.itemsize * _size(shape) for dtype, shape in self.columns)

    def pack(self, number: int, columns: Sequence[NDArray[Any]]) -> bytes:
        """One frame of columns [B, ...]. Raises ValueError if they are not of this layout."""
        count = len(columns[0])
        parts = [HEAD.pack(number, count)]
        for (dtype, shape), column in zip(self.columns, columns, strict=True):
            if column.dtype != dtype or column.shape != (count, *shape):
                raise ValueError(f"{column.dtype} {column.shape} instead of {dtype} {shape}")
            parts.append(np.ascontiguousarray(column).tobytes())
        return b"".join(parts)

    def unpack(self, count: int, raw: bytes) -> Columns:
        """The columns of a frame's bytes after its head. Raises ValueError of another length."""
        if count > MOST_MEMBERS or len(raw) != count * self.member_bytes:
            raise ValueError(f"{len(raw)} bytes for {count} members of {self.member_bytes}")
        columns, at = [], 0
        for dtype, shape in self.columns:
            size = count * _size(shape)
            columns.append(np.frombuffer(raw, dtype, size, at).reshape(count, *shape))
            at += size * dtype.itemsize
        return tuple(columns)


def shoppers_layout(schema: FeatureSchema) -> Layout:
    """The tower's inputs, in their order."""
    return _layout_of(user_tower_spec(schema))


def lists_layout(listed: int) -> Layout:
    """Rows [B, K] and values [B, K], best first; row 0 where there are fewer."""
    return Layout(((_TYPES["INT64"], (listed,)), (_TYPES["FP32"], (listed,))))


def _layout_of(spec: ModelSpec) -> Layout:
    return Layout(tuple((_TYPES[tensor.dtype], tensor.shape) for tensor in spec.inputs))


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
