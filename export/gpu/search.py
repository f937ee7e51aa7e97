"""Search: the nearest products of user vectors, exactly, in the memory of one device.

Scores are computed in chunks of rows. In each chunk the best score of every small group of rows is
kept beside the scores: the K best rows lie in the K groups with the best maxima (if a row among the
K best lay elsewhere, K groups would hold a better one each), so only these groups are sorted. What
is found in fp16 or int8 is scored again in float32 from the fp16 vectors, which undoes the rounding
of the scores. Row 0 is no product and is never found; filters are added as -inf.

Shapes: R catalogue rows, P padded rows, D vector size, B requests, K nearest, C rows of a chunk,
G groups, S rows of a group.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

Storage = Literal["fp32", "fp16", "int8"]
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8}
# More than K are taken before they are scored again: rounding may have put the K-th lower. Eight
# bits of 64 numbers disturb cosines by some 0.3 %, where thousands of neighbours may lie.
_SPARE = {"fp32": 1.0, "fp16": 1.1, "int8": 2.0}
_SMALLEST_GROUP, _LARGEST_GROUP = 16, 256
_SUMMED_BATCH = 4  # up to here one pass over the rows per request; above, a matrix product
_SCORES_BYTES = 2 << 30  # of one chunk for the whole batch


class ExactSearch(nn.Module):
    """Nearest products of every row. Built with items [R, D] of unit length, row 0 zeros."""

    def __init__(
        self, items: Tensor, *, storage: Storage = "fp16", count: int, chunk_rows: int = 0
    ) -> None:
        """`count` is K. `chunk_rows` 0: all rows at once."""
        super().__init__()
        self.storage, self.row_count = storage, items.shape[0]
        self.count = min(count, self.row_count - 1)
        self.taken = min(math.ceil(self.count * _SPARE[storage]), self.row_count - 1)
        self.group = group_size(self.row_count, self.taken)
        padded = -(-self.row_count // self.group) * self.group
        self.chunk = _chunk_of(chunk_rows or padded, self.group, padded)
        vectors = torch.zeros(padded, items.shape[1], dtype=items.dtype, device=items.device)
        vectors[: self.row_count] = items
        self.scores_PD: Tensor
        self.scale_P: Tensor
        self.exact_PD: Tensor
        self.closed_P: Tensor
        scale = torch.ones(padded, dtype=torch.float32, device=items.device)
        if storage == "int8":
            scale = vectors.float().abs().amax(dim=1).clamp(min=1e-9) / 127.0
            stored = (vectors.float() / scale[:, None]).round().to(torch.int8)
        else:
            stored = vectors.to(_DTYPES[storage])
        self.register_buffer("scores_PD", stored)
        self.register_buffer("scale_P", scale)
        exact = stored if storage != "int8" else vectors.half()
        self.register_buffer("exact_PD", exact)
        closed = torch.zeros(padded, dtype=torch.float32, device=items.device)
        closed[0] = -torch.inf
        closed[self.row_count :] = -torch.inf
        self.register_buffer("closed_P", closed)

    @property
    def table_bytes(self) -> int:
        """What one search of everything must read."""
        scales = self.scale_P.numel() * 4 if self.storage == "int8" else 0
        return self.scores_PD.numel() * self.scores_PD.element_size() + scales

    def closed_for(self, allowed: Tensor | None) -> Tensor:
        """[P] or [B, P] what is added to the scores, from allowed [R] or [B, R]; None allows all.

        Made once for a filter, and as quick to search with as none.
        """
        if allowed is None:
            return self.closed_P
        closed = self.closed_P.expand(*allowed.shape[:-1], -1).clone()
        closed[..., : self.row_count][~allowed] = -torch.inf
        return closed

    def forward(self, user_BD: Tensor, closed: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [B, K], best first, and cosines [B, K]; row 0 with -inf where fewer are allowed."""
        with torch.autocast(user_BD.device.type, enabled=False):  # precision is decided here
            found = [
                self._nearest_of_chunk(user_BD.float(), closed, start)
                for start in range(0, self.scores_PD.shape[0], self.chunk)
            ]
            rows, scores = merged(found, self.taken)
            return self.scored_again(user_BD.float(), rows, scores)

    def _nearest_of_chunk(
        self, user_BD: Tensor, closed: Tensor, start: int
    ) -> tuple[Tensor, Tensor]:
        part = slice(start, start + self.chunk)
        scores_BC = self._scores(user_BD, part)
        scores_BC = scores_BC + closed[..., part].to(scores_BC.dtype)
        batch = user_BD.shape[0]
        scores_BGS = scores_BC.view(batch, -1, self.group)
        groups = min(self.taken, scores_BGS.shape[1])
        best_BG = scores_BGS.amax(dim=-1).topk(groups, dim=-1, sorted=False).indices
        inside = torch.gather(scores_BGS, 1, best_BG[..., None].expand(-1, -1, self.group))
        top = inside.flatten(1).topk(min(self.taken, groups * self.group), dim=-1, sorted=False)
        group = torch.gather(best_BG, 1, top.indices // self.group)
        return group * self.group + top.indices % self.group + start, top.values

    def _scores(self, user_BD: Tensor, part: slice) -> Tensor:
        table_CD, scale_C = self.scores_PD[part], self.scale_P[part]
        if user_BD.shape[0] <= _SUMMED_BATCH and torch.compiler.is_compiling():
            # Compiled, this is one pass over the table as stored; else it would be written out.
            raw_BC = (table_CD.float()[None] * user_BD[:, None]).sum(dim=-1)
        elif self.storage == "fp32":
            raw_BC = user_BD @ table_CD.T
        else:
            raw_BC = user_BD.half() @ table_CD.half().T
        return raw_BC * scale_C.to(raw_BC.dtype) if self.storage == "int8" else raw_BC

    def scored_again(
        self, user_BD: Tensor, rows_BK: Tensor, scores_BK: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The best K of rows [B, taken], by their float32 cosines; what scored -inf stays out."""
        near_BKD = self.exact_PD[rows_BK].float()
        cosines = (near_BKD * user_BD[:, None]).sum(dim=-1)
        cosines = torch.where(scores_BK > -torch.inf, cosines, -torch.inf)
        best, at = cosines.topk(self.count, dim=-1)
        rows = torch.gather(rows_BK, 1, at)
        return torch.where(best > -torch.inf, rows, 0), best


def merged(found: list[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """The best `count` rows of several chunks, or of several devices' shards, in no order."""
    if len(found) == 1:
        return found[0]
    rows = torch.cat([rows for rows, _ in found], dim=1)
    top = torch.cat([scores for _, scores in found], dim=1).topk(count, dim=-1, sorted=False)
    return torch.gather(rows, 1, top.indices), top.values


def group_size(row_count: int, taken: int) -> int:
    """S: a power of two for which maxima and opened groups are about as many: R/S = K·S."""
    even = math.sqrt(row_count / max(1, taken))
    nearest = 2 ** round(math.log2(max(1.0, even)))
    return int(min(_LARGEST_GROUP, max(_SMALLEST_GROUP, nearest)))


def chunk_rows_for(batch: int, row_count: int) -> int:
    """How many rows at once keep the float32 scores of a batch within their share of memory."""
    return max(1, min(row_count, _SCORES_BYTES // (4 * batch)))


def _chunk_of(wanted: int, group: int, padded: int) -> int:
    """Whole groups, and at most all rows."""
    return min(padded, max(group, wanted // group * group))
