"""Cells: approximate search in the memory of one device, for catalogues beyond exact search.

An inverted file (Jégou 2011, without the compression) in plain torch, for machines without FAISS's
GPU build; it is no part of the product, whose index is FAISS's. Vectors are clustered (k-means by
cosine, Dhillon & Modha 2001) and laid out in lists of one length, so that a search has fixed shapes
and can be recorded: a cluster fills as many lists as it needs, each known by the mean of its own
members. The lists nearest to a shopper are read whole and scored in float32.

Shapes: R catalogue rows, D vector size, C clusters, L lists, S places of a list, B requests,
P lists looked at, K nearest.
"""

import math

import torch
from torch import Tensor, nn

_ROUNDS = 8
_SAMPLED = 64  # rows of each cluster that k-means sees
_SCORES_BYTES = 1 << 30  # of one part of an assignment
_PLACES = 256


class CellSearch(nn.Module):
    """Nearest products by the lists around a shopper. Built with items [R, D], row 0 zeros."""

    def __init__(
        self, items: Tensor, *, count: int, probes: int, places: int = _PLACES, seed: int
    ) -> None:
        """`count` is K, `probes` P: more find more, and take longer."""
        super().__init__()
        self.lists_LS: Tensor
        self.vectors_LSD: Tensor
        self.means_LD: Tensor
        self.register_buffer("lists_LS", _lists(items, places, seed))
        self.register_buffer("vectors_LSD", items.half()[self.lists_LS])  # row 0 pads: zeros
        means = nn.functional.normalize(self.vectors_LSD.sum(dim=1, dtype=torch.float32), dim=-1)
        self.register_buffer("means_LD", means.half())
        self.row_count, self.probes = items.shape[0], probes
        self.count = min(count, self.row_count - 1)

    @property
    def probes(self) -> int:
        """P."""
        return self._probes

    @probes.setter
    def probes(self, wanted: int) -> None:
        self._probes = max(1, min(wanted, self.list_count))

    @property
    def list_count(self) -> int:
        """L."""
        return int(self.lists_LS.shape[0])

    @property
    def table_bytes(self) -> int:
        """What the index takes in memory."""
        parts = (self.lists_LS, self.vectors_LSD, self.means_LD)
        return sum(part.numel() * part.element_size() for part in parts)

    @property
    def read_bytes(self) -> int:
        """What one search reads."""
        _, places, size = self.vectors_LSD.shape
        return self.means_LD.numel() * 2 + self.probes * places * (2 * size + 4)

    def forward(self, user_BD: Tensor, closed_R: Tensor) -> tuple[Tensor, Tensor]:
        """Rows [B, K], best first, and cosines [B, K]; row 0 with -inf where too few were seen.

        `closed_R` is added to the scores: -inf where a row may not be found, row 0 among them.
        """
        with torch.autocast(user_BD.device.type, enabled=False):
            near_BP = (user_BD.half() @ self.means_LD.T).topk(self.probes, dim=-1).indices
            rows_BN = self.lists_LS[near_BP].flatten(1).long()
            vectors_BPSD = self.vectors_LSD[near_BP].float()
            cosines_BN = (vectors_BPSD * user_BD.float()[:, None, None]).sum(dim=-1).flatten(1)
            cosines_BN = cosines_BN + closed_R[rows_BN]
            seen = min(self.count, cosines_BN.shape[1])
            best, at = cosines_BN.topk(seen, dim=-1)
            rows = torch.where(best > -torch.inf, torch.gather(rows_BN, 1, at), 0)
            missing = (0, self.count - seen)
            return (
                nn.functional.pad(rows, missing),
                nn.functional.pad(best, missing, value=-torch.inf),
            )

    def closed_for(self, allowed: Tensor | None) -> Tensor:
        """[R] from allowed [R]; None allows all."""
        closed = torch.zeros(self.row_count, device=self.lists_LS.device)
        if allowed is not None:
            closed[~allowed] = -torch.inf
        closed[0] = -torch.inf
        return closed


def _lists(items: Tensor, places: int, seed: int) -> Tensor:
    """[L, S] int32 rows, cluster after cluster; 0 fills a cluster's last list up."""
    clusters = max(1, math.ceil((items.shape[0] - 1) / (2 * places)))
    cluster_R = _nearest(items[1:], _centres(items[1:], clusters, seed))
    order = cluster_R.argsort(stable=True)
    sizes = torch.bincount(cluster_R, minlength=clusters)
    needed = (sizes + places - 1) // places
    first_list, first_row = needed.cumsum(0) - needed, sizes.cumsum(0) - sizes
    cluster = cluster_R[order]
    within = torch.arange(order.numel(), device=items.device) - first_row[cluster]
    lists = torch.zeros(int(needed.sum()), places, dtype=torch.int32, device=items.device)
    lists[first_list[cluster] + within // places, within % places] = (order + 1).int()
    return lists


def _centres(vectors: Tensor, clusters: int, seed: int) -> Tensor:
    """[C, D] by k-means on a sample; a cluster that nobody is nearest to stays where it was."""
    generator = torch.Generator(vectors.device).manual_seed(seed)
    drawn = torch.randperm(vectors.shape[0], generator=generator, device=vectors.device)
    sample = vectors[drawn[: _SAMPLED * clusters]].float()
    centres = sample[:clusters].clone()
    for _ in range(_ROUNDS):
        nearest = _nearest(sample, centres)
        sums = torch.zeros_like(centres).index_add_(0, nearest, sample)
        is_empty = torch.bincount(nearest, minlength=clusters) == 0
        centres = torch.where(is_empty[:, None], centres, nn.functional.normalize(sums, dim=-1))
    return centres


def _nearest(vectors: Tensor, centres: Tensor) -> Tensor:
    """[R] the centre with the greatest cosine, in parts that memory bears."""
    part = max(1, _SCORES_BYTES // (4 * centres.shape[0]))
    return torch.cat([(each.float() @ centres.T).argmax(dim=-1) for each in vectors.split(part)])
