"""Row products: a Triton-language kernel that multiplies one vector by a matrix, row by row.

At batch 1 a product of matrices is a reading of the weights; a library's general kernel tiles for
batches and reads no faster than it must. Here each program reads whole rows in wide loads, sums in
float32, and nothing is written but the result. Which form is quicker is measured
(`export.gpu.decoding`). Needs the package `triton` that PyTorch's CUDA builds bring.

Shapes: I inputs, O outputs.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

_ROWS, _COLUMNS, _WARPS = 4, 1_024, 8


@triton.jit  # type: ignore[untyped-decorator]
def _row_products(
    matrix: Any,
    vector: Any,
    result: Any,
    row_count: Any,
    column_count: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
) -> None:
    row = tl.program_id(0) * rows + tl.arange(0, rows)
    is_row = row < row_count
    first = row.to(tl.int64) * column_count
    total = tl.zeros((rows, columns), dtype=tl.float32)
    for start in range(0, column_count, columns):
        column = start + tl.arange(0, columns)
        is_column = column < column_count
        weights = tl.load(
            matrix + first[:, None] + column[None, :],
            mask=is_row[:, None] & is_column[None, :],
            other=0.0,
            eviction_policy="evict_first",
        )
        given = tl.load(vector + column, mask=is_column, other=0.0)
        total += weights.to(tl.float32) * given.to(tl.float32)[None, :]
    tl.store(result + row, tl.sum(total, axis=1), mask=is_row)


def row_products(vector_1I: Tensor, matrix_OI: Tensor) -> Tensor:
    """[1, O] in the matrix's type; the matrix lies row after row without gaps."""
    rows, columns = matrix_OI.shape
    result = torch.empty(1, rows, dtype=matrix_OI.dtype, device=matrix_OI.device)
    _row_products[(triton.cdiv(rows, _ROWS),)](
        matrix_OI,
        vector_1I.contiguous(),
        result,
        rows,
        column_count=columns,
        rows=_ROWS,
        columns=_COLUMNS,
        num_warps=_WARPS,
    )
    return result
