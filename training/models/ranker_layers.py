"""Layers of the ranker that are not in torch: product features, attention, matching, small maps.

Each is plain tensor arithmetic with dynamic batch and candidate count, so that it exports to ONNX.

Suffixes: B requests, N candidates, T history, D vector size, R catalogue rows, A product codes,
S product statics, E product features, K attention size, M match features, V context values.
"""

import math

import torch
from torch import Tensor, nn

from shop.context_values import MAY_BE_UNTOLD
from shop.events import EVENT_CODE_COUNT, EVENT_CODES, EventType
from shop.features import CONTEXT_VALUES

# What a product's own past in the history is counted by, and over how long it fades, in hours.
_MATCH_GROUPS: tuple[tuple[EventType, ...], ...] = (
    (EventType.CLICK,),
    (EventType.CART,),
    (EventType.REMOVE,),
    (EventType.ABANDON,),
    (EventType.PURCHASE,),
    (EventType.RETURN,),
)
_MATCH_FADES_HOURS = (1.0, 24.0, 24.0 * 14, 24.0 * 60)
MATCH_COUNT = len(_MATCH_GROUPS) * (len(_MATCH_FADES_HOURS) + 1)  # M
_HIDDEN_LOGIT = -1e4  # finite, so that padding can never make a NaN


class ProductEncoder(nn.Module):
    """Row → finished product features: two-tower vector, learnt embedding, statics.

    The embedding is the sum of the product's own, which says little for a new product, and those
    of its category, brand and attributes.
    """

    def __init__(
        self, code_counts: tuple[int, ...], embedding_size: int, static_count: int, vector_size: int
    ) -> None:
        super().__init__()
        rows = code_counts[0]
        self.embeddings = nn.ModuleList(
            nn.Embedding(count, embedding_size, padding_idx=0) for count in code_counts
        )
        for embedding in self.embeddings:
            nn.init.normal_(embedding.weight, std=0.15)
            with torch.no_grad():
                embedding.weight[0].zero_()
        self.codes_RA: Tensor
        self.statics_RS: Tensor
        self.vectors_RD: Tensor
        self.register_buffer("codes_RA", torch.zeros(rows, len(code_counts), dtype=torch.int64))
        self.register_buffer("statics_RS", torch.zeros(rows, static_count))
        self.register_buffer("vectors_RD", torch.zeros(rows, vector_size))

    def forward(self, rows: Tensor, own_kept: Tensor | None = None) -> Tensor:
        """rows [...] → [..., E]; own_kept [...] 0 hides a product's own embedding, as if new."""
        codes = self.codes_RA[rows]
        own = self.embeddings[0](codes[..., 0])
        embedded = own if own_kept is None else own * own_kept[..., None]
        for at, embedding in enumerate(self.embeddings):
            if at > 0:
                embedded = embedded + embedding(codes[..., at])
        # Unit vectors have entries of 1 / √D; learning is quicker where all inputs are about 1.
        vectors = self.vectors_RD[rows] * math.sqrt(self.vectors_RD.shape[1])
        return torch.cat([vectors, embedded, self.statics_RS[rows]], dim=-1)


class TargetAttention(nn.Module):
    """Each candidate's own reading of the history; a learnt first entry keeps empty ones finite."""

    def __init__(self, feature_size: int, size: int) -> None:
        super().__init__()
        self.query = nn.Linear(feature_size, size, bias=False)
        self.key = nn.Linear(feature_size, size)
        self.value = nn.Linear(feature_size, size)
        self.key_of_event = nn.Embedding(EVENT_CODE_COUNT, size)
        self.value_of_event = nn.Embedding(EVENT_CODE_COUNT, size)
        self.weight_of_event = nn.Embedding(EVENT_CODE_COUNT, 1)
        self.fade = nn.Parameter(torch.zeros(1))
        self.first_key = nn.Parameter(torch.zeros(size))
        self.first_value = nn.Parameter(torch.zeros(size))
        self.scale = 1.0 / math.sqrt(size)
        nn.init.normal_(self.key_of_event.weight, std=0.05)
        nn.init.normal_(self.value_of_event.weight, std=0.05)
        nn.init.zeros_(self.weight_of_event.weight)

    def forward(
        self,
        candidate_BNE: Tensor,
        history_BTE: Tensor,
        events_BT: Tensor,
        ages_BT: Tensor,
        is_real_BT: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """What each candidate [B, N, K] and the plain shopper [B, K] take from the history."""
        key_BTK = self.key(history_BTE) + self.key_of_event(events_BT)
        value_BTK = self.value(history_BTE) + self.value_of_event(events_BT)
        weight_BT = self.weight_of_event(events_BT)[..., 0] - self.fade * ages_BT
        weight_BT = torch.where(is_real_BT, weight_BT, _HIDDEN_LOGIT)
        batch = events_BT.shape[0]
        first = self.first_key.expand(batch, 1, -1)
        keys = torch.cat([first, key_BTK], dim=1) * self.scale
        values = torch.cat([self.first_value.expand(batch, 1, -1), value_BTK], dim=1)
        weights = torch.cat([torch.zeros_like(weight_BT[:, :1]), weight_BT], dim=1)
        query_BNK = self.query(candidate_BNE)
        logits = query_BNK @ keys.transpose(1, 2) + weights[:, None, :]
        read_BNK = torch.softmax(logits, dim=-1) @ values
        summary_BK = (torch.softmax(weights, dim=-1)[:, None, :] @ values)[:, 0]
        return torch.cat([read_BNK, query_BNK * read_BNK], dim=-1), summary_BK


class HistoryMatch(nn.Module):
    """How often and how lately each candidate itself stands in the history, by kind of event.

    One matrix product: equality [N, T] times fading weights per kind of event [T, M].
    """

    def __init__(self) -> None:
        super().__init__()
        group_of_event = torch.zeros(EVENT_CODE_COUNT, len(_MATCH_GROUPS))
        for group, events in enumerate(_MATCH_GROUPS):
            for event in events:
                group_of_event[EVENT_CODES[event], group] = 1.0
        self.group_of_event: Tensor
        self.fades: Tensor
        self.register_buffer("group_of_event", group_of_event, persistent=False)
        rates = torch.tensor([0.0, *(1.0 / hours for hours in _MATCH_FADES_HOURS)])
        self.register_buffer("fades", rates, persistent=False)

    def forward(
        self, candidate_rows_BN: Tensor, rows_BT: Tensor, events_BT: Tensor, ages_BT: Tensor
    ) -> Tensor:
        """[B, N, M] log1p of counts; the first of every group does not fade."""
        is_same_BNT = candidate_rows_BN[:, :, None] == rows_BT[:, None, :]
        fading = torch.exp(-torch.expm1(ages_BT)[..., None] * self.fades)
        weights = self.group_of_event[events_BT][..., None] * fading[..., None, :]
        return torch.log1p(is_same_BNT.to(weights.dtype) @ weights.flatten(2))


class HeadwiseLinear(nn.Module):
    """One small linear map per head, [..., H · in] → [..., H · out], as one product.

    Block-diagonal: the zeros cost less than one call per head would.
    """

    def __init__(self, head_count: int, size_in: int, size_out: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(size_in)
        self.weight = nn.Parameter(torch.empty(head_count, size_out, size_in))
        self.bias = nn.Parameter(torch.empty(head_count * size_out))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, values: Tensor) -> Tensor:
        return nn.functional.linear(values, torch.block_diag(*self.weight), self.bias)


class UntoldDropout(nn.Module):
    """Hides from a share of requests, while learning, what not every storefront tells."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        untold = torch.tensor([name in MAY_BE_UNTOLD for name in CONTEXT_VALUES])
        self.untold_V: Tensor
        self.register_buffer("untold_V", untold, persistent=False)

    def forward(self, context_values: Tensor) -> Tensor:
        """[B, V], the values that are hidden at 0, as where nothing is told."""
        if not self.training:
            return context_values
        hidden_B1 = torch.rand(context_values.shape[0], 1) < self.share
        return context_values.masked_fill(hidden_B1 & self.untold_V, 0.0)


class Standardise(nn.Module):
    """Values brought to mean 0 and deviation 1 of the training window."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))

    def fit(self, values: Tensor) -> None:
        """Learn mean and deviation from values [..., count]; constant columns become 0."""
        flat = values.reshape(-1, values.shape[-1])
        self.mean.copy_(flat.mean(dim=0))
        self.scale.copy_(1.0 / flat.std(dim=0, correction=0).clamp(min=1e-3))

    def ignore(self, columns: list[int]) -> None:
        """These columns are 0 from now on, whatever they hold."""
        self.scale[columns] = 0.0

    def forward(self, values: Tensor) -> Tensor:
        """Same shape; far outliers are held in, since no training taught what they mean."""
        return ((values - self.mean) * self.scale).clamp(-8.0, 8.0)
