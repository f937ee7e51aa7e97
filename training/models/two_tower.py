"""Two-tower retrieval model: shopper and product become unit vectors, their cosine says fit.

The item tower adds a learnt id to what the product is (hashed tokens), so a product nobody touched
still has a vector. The user tower reads the item vectors of the history through one transformer
block (after Kang & McAuley 2018) and pools them by attention that knows the context.

Shapes: B shoppers, T history, D vector, N products, R catalogue rows, L tokens, C context codes,
V context values, S all context codes together, E embedded context, H heads, K head size.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from shop.events import EVENT_CODE_COUNT
from training.model_files import TWO_TOWER_CONFIG, TWO_TOWER_WEIGHTS, read_json, write_whole
from training.models.ranker_layers import UntoldDropout

_MASKED = -1e9  # not -inf: a shopper without history would average over nothing and become NaN


@dataclass(frozen=True, slots=True)
class TwoTowerConfig:
    """Sizes. Everything needed to build the modules before their weights are loaded."""

    row_count: int  # R
    token_slots: int  # L
    token_buckets: int
    history_length: int  # T
    context_code_counts: tuple[int, ...]
    context_value_count: int
    vector_size: int = 64
    head_count: int = 2
    feed_forward_size: int = 128
    context_code_size: int = 8
    dropout: float = 0.1
    id_dropout: float = 0.2  # share of products that must do without their id in one step
    code_dropout: float = 0.1  # share of context codes, and of promotions told, hidden in one step

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "TwoTowerConfig":
        """Reads what `save_two_tower` wrote."""
        return TwoTowerConfig(**(raw | {"context_code_counts": tuple(raw["context_code_counts"])}))


class ItemTower(nn.Module):
    """Catalogue rows → unit vectors; row 0 → zeros."""

    tokens_RL: Tensor
    weights_RL: Tensor
    is_warm_R: Tensor

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        size, slots = config.vector_size, (config.row_count, config.token_slots)
        self.id_dropout = config.id_dropout
        self.ids = nn.Embedding(config.row_count, size)
        self.words = nn.Embedding(config.token_buckets + 1, size)
        self.mix = nn.Sequential(nn.Linear(size, 2 * size), nn.GELU(), nn.Linear(2 * size, size))
        self.register_buffer("tokens_RL", torch.zeros(slots, dtype=torch.int64))
        self.register_buffer("weights_RL", torch.zeros(slots))
        # Products without a positive have an untrained id: they live from their content alone.
        self.register_buffer("is_warm_R", torch.zeros(config.row_count))
        nn.init.normal_(self.ids.weight, std=0.1)
        nn.init.normal_(self.words.weight, std=0.1)

    def forward(self, rows_N: Tensor) -> Tensor:
        """[N, D]"""
        keeps_id_N = self.is_warm_R[rows_N]
        if self.training and self.id_dropout > 0:
            keeps_id_N = keeps_id_N * (torch.rand_like(keeps_id_N) >= self.id_dropout)
        content_ND = F.embedding_bag(
            self.tokens_RL[rows_N],
            self.words.weight,
            per_sample_weights=self.weights_RL[rows_N],
            mode="sum",
        )
        joined_ND = content_ND + self.ids(rows_N) * keeps_id_N.unsqueeze(-1)
        vectors_ND = F.normalize(joined_ND + self.mix(joined_ND), dim=-1)
        return vectors_ND * (rows_N > 0).unsqueeze(-1)


class UserTower(nn.Module):
    """Item vectors of the history, its events and ages, and the context → unit vector."""

    first_code_C: Tensor
    unknown_of_S: Tensor
    is_seen_S1: Tensor
    value_mean_V: Tensor
    value_scale_V: Tensor

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        size = config.vector_size
        self.head_count = config.head_count
        self.history_in = nn.Linear(size, size)
        self.events = nn.Embedding(EVENT_CODE_COUNT, size)
        self.places = nn.Parameter(torch.zeros(config.history_length, size))
        self.ages = nn.Linear(2, size, bias=False)
        self.before_attention = nn.LayerNorm(size)
        self.qkv = nn.Linear(size, 3 * size)
        self.attended = nn.Linear(size, size)
        self.before_feed = nn.LayerNorm(size)
        self.feed = nn.Sequential(
            nn.Linear(size, config.feed_forward_size),
            nn.ReLU(),
            nn.Linear(config.feed_forward_size, size),
        )
        counts = config.context_code_counts
        self.codes = nn.Embedding(sum(counts), config.context_code_size)  # one table, one gather
        firsts = torch.tensor((0, *counts[:-1])).cumsum(0)
        unknown_of_S = firsts.repeat_interleave(torch.tensor(counts))
        self.register_buffer("first_code_C", firsts, persistent=False)
        self.register_buffer("unknown_of_S", unknown_of_S, persistent=False)
        # A code without examples (an hour at night, a placement the log never named) is unknown.
        self.register_buffer("is_seen_S1", torch.ones(sum(counts), 1, dtype=torch.bool))
        context_in = len(counts) * config.context_code_size + config.context_value_count
        self.context = nn.Sequential(nn.Linear(context_in, size), nn.ReLU())
        self.register_buffer("value_mean_V", torch.zeros(config.context_value_count))
        self.register_buffer("value_scale_V", torch.ones(config.context_value_count))
        self.pool_query = nn.Linear(size, 2 * size)  # for two poolings: of thoughts, of products
        self.out = nn.Sequential(
            nn.Linear(3 * size, 2 * size), nn.ReLU(), nn.Linear(2 * size, size)
        )
        self.untold = UntoldDropout(config.code_dropout)
        self.dropout = nn.Dropout(config.dropout)
        self.code_dropout = config.code_dropout

    def forward(
        self,
        history_BTD: Tensor,
        is_real_BT: Tensor,
        history_events_BT: Tensor,
        history_ages_BT: Tensor,
        context_codes_BC: Tensor,
        context_values_BV: Tensor,
    ) -> Tensor:
        """[B, D]; T may be shorter than trained, the newest interaction is always last."""
        lived_BTD = self.history_in(history_BTD)
        return self.from_lived(
            lived_BTD,
            history_BTD,
            is_real_BT,
            history_events_BT,
            history_ages_BT,
            context_codes_BC,
            context_values_BV,
        )

    def from_lived(
        self,
        lived_BTD: Tensor,
        history_BTD: Tensor,
        is_real_BT: Tensor,
        history_events_BT: Tensor,
        history_ages_BT: Tensor,
        context_codes_BC: Tensor,
        context_values_BV: Tensor,
    ) -> Tensor:
        """[B, D], from `history_in` already applied: serving keeps that as a table."""
        length = history_BTD.shape[1]
        ages_BT2 = torch.stack([history_ages_BT * 0.2, torch.exp(-history_ages_BT)], dim=-1)
        x_BTD = lived_BTD + self.events(history_events_BT) + self.ages(ages_BT2)
        x_BTD = self.dropout(x_BTD + self.places[-length:])
        padding_BT = (1.0 - is_real_BT) * _MASKED
        x_BTD = x_BTD + self._attention(self.before_attention(x_BTD), padding_BT)
        x_BTD = x_BTD + self.feed(self.before_feed(x_BTD))
        context_BD = self._context(context_codes_BC, context_values_BV)
        thoughts_BD, products_BD = self._pooled(x_BTD, history_BTD, padding_BT, context_BD)
        real_B1 = is_real_BT.amax(dim=1, keepdim=True)
        joined_BE = torch.cat([thoughts_BD * real_B1, products_BD, context_BD], dim=-1)
        return F.normalize(self.out(joined_BE) + products_BD, dim=-1)

    def _attention(self, x_BTD: Tensor, padding_BT: Tensor) -> Tensor:
        batch, length, size = x_BTD.shape
        q_BHTK, k_BHTK, v_BHTK = (
            part.view(batch, length, self.head_count, size // self.head_count).transpose(1, 2)
            for part in self.qkv(x_BTD).chunk(3, dim=-1)
        )
        mixed_BHTK = F.scaled_dot_product_attention(
            q_BHTK, k_BHTK, v_BHTK, attn_mask=padding_BT[:, None, None, :]
        )
        joined: Tensor = self.attended(mixed_BHTK.transpose(1, 2).reshape(batch, length, size))
        return joined

    def _context(self, codes_BC: Tensor, values_BV: Tensor) -> Tensor:
        if self.training:
            codes_BC = codes_BC * (torch.rand(codes_BC.shape) >= self.code_dropout)
        known_SE = self.codes.weight
        table_SE = torch.where(self.is_seen_S1, known_SE, known_SE[self.unknown_of_S])
        embedded_BE = F.embedding(codes_BC + self.first_code_C, table_SE).flatten(1)
        scaled_BV = (self.untold(values_BV) - self.value_mean_V) * self.value_scale_V
        context_BD: Tensor = self.context(torch.cat([embedded_BE, scaled_BV], dim=-1))
        return context_BD

    def _pooled(
        self, x_BTD: Tensor, history_BTD: Tensor, padding_BT: Tensor, context_BD: Tensor
    ) -> tuple[Tensor, Tensor]:
        batch, _, size = x_BTD.shape
        query_BD2 = self.pool_query(context_BD).view(batch, size, 2)
        scores_BT2 = torch.bmm(x_BTD, query_BD2) * size**-0.5
        shares_B2T = torch.softmax(scores_BT2 + padding_BT.unsqueeze(-1), dim=1).transpose(1, 2)
        thoughts_BD = torch.bmm(shares_B2T[:, :1], x_BTD).squeeze(1)
        products_BD = torch.bmm(shares_B2T[:, 1:], history_BTD).squeeze(1)
        return thoughts_BD, products_BD


class TwoTower(nn.Module):
    """Both towers, as they are trained."""

    def __init__(self, config: TwoTowerConfig) -> None:
        super().__init__()
        self.config = config
        self.items = ItemTower(config)
        self.users = UserTower(config)

    def all_items(self) -> Tensor:
        """[R, D] the vector of every catalogue row, row 0 zeros."""
        rows_R = torch.arange(self.config.row_count)
        return torch.cat([self.items(part) for part in rows_R.split(8192)])


class ServingUserTower(nn.Module):
    """The user tower with its products as a table, from rows: what is exported and served."""

    items_RD: Tensor
    lived_RD: Tensor

    def __init__(self, users: UserTower, items_RD: Tensor) -> None:
        super().__init__()
        self.users = users
        self.register_buffer("items_RD", items_RD)
        self.register_buffer("lived_RD", users.history_in(items_RD).detach())

    def forward(
        self,
        history_rows: Tensor,
        history_events: Tensor,
        history_ages: Tensor,
        context_codes: Tensor,
        context_values: Tensor,
    ) -> Tensor:
        """user_vector [B, D] of unit length."""
        return self.users.from_lived(
            F.embedding(history_rows, self.lived_RD),
            F.embedding(history_rows, self.items_RD),
            (history_rows > 0).to(history_ages.dtype),
            history_events,
            history_ages,
            context_codes,
            context_values,
        )


def save_two_tower(model: TwoTower, folder: Path) -> None:
    """Weights and sizes into the model folder, each written whole."""
    write_whole(folder / TWO_TOWER_WEIGHTS, lambda path: torch.save(model.state_dict(), path))
    text = json.dumps(asdict(model.config), indent=2) + "\n"
    write_whole(folder / TWO_TOWER_CONFIG, lambda path: path.write_text(text))


def load_two_tower(folder: Path) -> TwoTower:
    """In evaluation mode. Raises NotFound if the folder holds no trained model."""
    model = TwoTower(TwoTowerConfig.from_json(read_json(folder / TWO_TOWER_CONFIG)))
    model.load_state_dict(torch.load(folder / TWO_TOWER_WEIGHTS, weights_only=True))
    return model.eval()


def load_user_tower(folder: Path) -> ServingUserTower:
    """The user tower as it is served. Raises NotFound if the folder holds no trained model."""
    return serving_user_tower(load_two_tower(folder))


def serving_user_tower(model: TwoTower) -> ServingUserTower:
    """The user tower of `model` over its present item vectors, in evaluation mode."""
    model.eval()
    with torch.no_grad():
        return ServingUserTower(model.users, model.all_items()).eval()
