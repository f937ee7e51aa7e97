"""Row scores: a Triton-language kernel that scores every row and keeps each group's best, at once.

One pass over the table as it is stored (fp16 or int8), for one user vector. `ExactSearch` does the
same by torch; which of the two is used is measured (`export.gpu.bench`). Needs the package `triton`
that PyTorch's CUDA builds bring.

Shapes: P padded rows, D vector size, G groups, S rows of a group, T rows of a tile.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor, nn

from export.gpu.search import ExactSearch

_TILE = 256  # rows of one program; a multiple of every group size


@triton.jit  # type: ignore[untyped-decorator]
def _score_tile(
    table: Any,
    scale: Any,
    user: Any,
    closed: Any,
    scores: Any,
    best: Any,
    row_count: Any,
    size: tl.constexpr,
    tile: tl.constexpr,
    group: tl.constexpr,
    is_scaled: tl.constexpr,
) -> None:
    first = tl.program_id(0).to(tl.int64) * tile
    row = first + tl.arange(0, tile)
    column = tl.arange(0, size)
    is_row = row < row_count
    vectors = tl.load(
        table + row[:, None] * size + column[None, :], mask=is_row[:, None], other=0
    ).to(tl.float32)
    score = tl.sum(vectors * tl.load(user + column)[None, :], axis=1)
    if is_scaled:
        score = score * tl.load(scale + row, mask=is_row, other=0.0)
    score = score + tl.load(closed + row, mask=is_row, other=float("-inf"))
    tl.store(scores + row, score, mask=is_row)
    groups: tl.constexpr = tile // group
    maxima = tl.max(tl.reshape(score, (groups, group)), axis=1)
    at = first // group + tl.arange(0, groups)
    tl.store(best + at, maxima, mask=at < row_count // group)


def score_rows(search: ExactSearch, user_D: Tensor, closed_P: Tensor) -> tuple[Tensor, Tensor]:
    """Scores [P] and the best of every group [G], float32."""
    table = search.scores_PD
    rows, size = table.shape
    scores = torch.empty(rows, dtype=torch.float32, device=table.device)
    best = torch.empty(rows // search.group, dtype=torch.float32, device=table.device)
    _score_tile[(triton.cdiv(rows, _TILE),)](
        table,
        search.scale_P,
        user_D.float().contiguous(),
        closed_P,
        scores,
        best,
        rows,
        size=size,
        tile=_TILE,
        group=search.group,
        is_scaled=search.storage == "int8",
    )
    return scores, best


def fused_search(search: ExactSearch, user_1D: Tensor, closed_P: Tensor) -> tuple[Tensor, Tensor]:
    """As `search(user_1D, closed_P)` for a batch of one and a filter [P]."""
    scores_P, best_G = score_rows(search, user_1D[0], closed_P)
    groups = best_G.topk(min(search.taken, best_G.numel()), sorted=False).indices
    inside = scores_P.view(-1, search.group)[groups]
    top = inside.flatten().topk(min(search.taken, inside.numel()), sorted=False)
    rows = groups[top.indices // search.group] * search.group + top.indices % search.group
    return search.scored_again(user_1D.float(), rows[None], top.values[None])


class KernelSearch(nn.Module):
    """An `ExactSearch` by the kernel: for a batch of one and filters [P]."""

    def __init__(self, search: ExactSearch) -> None:
        super().__init__()
        self.search = search

    def forward(self, user_1D: Tensor, closed_P: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [1, K] and cosines [1, K], as the search's own."""
        with torch.autocast(user_1D.device.type, enabled=False):
            return fused_search(self.search, user_1D, closed_P)
