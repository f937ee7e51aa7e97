"""Ranker: the chance of every outcome for each candidate, in one pass over the request.

- Heads share experts through one gate each: multi-gate mixture of experts, MMoE (Ma 2018, KDD).
- Heads hang on one another over all impressions: P(cart) = P(click) · P(cart | click), likewise
  purchase: entire-space multi-task model, ESMM (Ma 2018, SIGIR). Return is given a purchase.
- Candidates attend to the history: deep interest network, DIN (Zhou 2018), by dot product.
- P(click) = P(examined | position, device) · P(click | examined): position-based model (Richardson
  2007, WWW). Serving scores everything as if it stood at the top, where examination is certain.

`Ranker` learns; `ServingRanker` is what export turns into a graph: it holds one table of finished
product features, gathers from it by row, and carries the calibration.

Suffixes: B requests, N candidates, T history, C context codes, V context values, F candidate
values, D vector size, R catalogue rows, A product codes, S product statics, E product features,
K attention size, M match features, U shopper features, X experts, H heads.
"""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shop.features import CANDIDATE_VALUES, CONTEXT_CODES, CONTEXT_VALUES
from training.calibration import Affine
from training.model_files import RANKER_CONFIG, RANKER_WEIGHTS, read_json, write_whole
from training.models.ranker_layers import (
    MATCH_COUNT,
    HeadwiseLinear,
    HistoryMatch,
    ProductEncoder,
    Standardise,
    TargetAttention,
    UntoldDropout,
)

# head → the head whose event must come first. Absent heads drop out of the chain.
PARENT_OF = {"cart": "click", "purchase": "click"}
MAX_POSITION = 100  # deeper positions count as this one
_CONTEXT_EMBEDDING = 8
_DEVICE = CONTEXT_CODES.index("device")


@dataclass(frozen=True, slots=True)
class RankerConfig:
    """Everything needed to build the model before its weights are loaded."""

    heads: tuple[str, ...]
    context_code_counts: tuple[int, ...]  # [C] as FeatureSchema.code_counts
    product_code_counts: tuple[int, ...]  # [A] the first is R, the product itself
    static_count: int  # S
    vector_size: int  # D
    embedding_size: int = 32
    attention_size: int = 32  # K
    expert_count: int = 4  # X
    expert_hidden: int = 64
    expert_size: int = 32
    tower_size: int = 16
    untold_dropout: float = 0.1  # share of lists that are not told of promotions, while learning

    @property
    def feature_size(self) -> int:
        """E: the two-tower vector, the learnt embedding and the statics of a product."""
        return self.vector_size + self.embedding_size + self.static_count

    @property
    def parents(self) -> tuple[int | None, ...]:
        """[H] the column of each head's parent, None where a head stands alone."""
        at = {head: column for column, head in enumerate(self.heads)}
        return tuple(at.get(PARENT_OF.get(head, "")) for head in self.heads)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        return asdict(self)

    @staticmethod
    def from_json(raw: dict[str, Any]) -> "RankerConfig":
        """The configuration that `to_json` wrote."""
        lists = {name: tuple(value) for name, value in raw.items() if isinstance(value, list)}
        return RankerConfig(**(raw | lists))


class RankerTrunk(nn.Module):
    """Everything after the product features: one conditional logit per head, position left out."""

    def __init__(self, config: RankerConfig) -> None:
        super().__init__()
        self.config = config
        self.attention = TargetAttention(config.feature_size, config.attention_size)
        self.match = HistoryMatch()
        self.context = nn.ModuleList(
            nn.Embedding(count, _CONTEXT_EMBEDDING) for count in config.context_code_counts
        )
        self.untold = UntoldDropout(config.untold_dropout)
        self.context_scale = Standardise(len(CONTEXT_VALUES))
        self.value_scale = Standardise(len(CANDIDATE_VALUES))
        shopper_size = (
            config.vector_size
            + config.attention_size
            + len(CONTEXT_CODES) * _CONTEXT_EMBEDDING
            + len(CONTEXT_VALUES)
        )
        candidate_size = (
            config.feature_size
            + 2 * config.attention_size
            + MATCH_COUNT
            + 1
            + len(CANDIDATE_VALUES)
        )
        gate_count = len(config.heads) * config.expert_count
        width = config.expert_count * config.expert_hidden + gate_count
        self.widths = (config.expert_count * config.expert_hidden, gate_count)
        # The first layer of all experts and gates, split so that the shopper's share is paid once.
        self.shopper_share = nn.Linear(shopper_size, width)
        self.candidate_share = nn.Linear(candidate_size, width, bias=False)
        self.experts = nn.ModuleList(
            nn.Linear(config.expert_hidden, config.expert_size) for _ in range(config.expert_count)
        )
        self.tower_inner = HeadwiseLinear(len(config.heads), config.expert_size, config.tower_size)
        self.tower_outer = HeadwiseLinear(len(config.heads), config.tower_size, 1)

    def forward(
        self,
        candidate_BNE: Tensor,
        history_BTE: Tensor,
        history_rows: Tensor,
        history_events: Tensor,
        history_ages: Tensor,
        context_codes: Tensor,
        context_values: Tensor,
        user_vector: Tensor,
        candidate_rows: Tensor,
        candidate_values: Tensor,
    ) -> Tensor:
        """[B, N, H] logits, each given its parent."""
        read_BNK, summary_BK = self.attention(
            candidate_BNE, history_BTE, history_events, history_ages, history_events > 0
        )
        match_BNM = self.match(candidate_rows, history_rows, history_events, history_ages)
        vector_BND = candidate_BNE[..., : self.config.vector_size]
        cosine_BN1 = vector_BND @ user_vector[:, :, None]
        candidate = torch.cat(
            [candidate_BNE, read_BNK, match_BNM, cosine_BN1, self.value_scale(candidate_values)],
            dim=-1,
        )
        contexts = [table(context_codes[:, at]) for at, table in enumerate(self.context)]
        shopper_BU = torch.cat(
            [
                user_vector * math.sqrt(self.config.vector_size),  # as the product features
                summary_BK,
                *contexts,
                self.context_scale(self.untold(context_values)),
            ],
            dim=-1,
        )
        first = self.candidate_share(candidate) + self.shopper_share(shopper_BU)[:, None, :]
        batch, count = candidate_rows.shape
        return self._mixed(first.flatten(0, 1)).view(batch, count, -1)

    def _mixed(self, first: Tensor) -> Tensor:
        """[BN, H]: every head's own mixture of the experts' opinions, through its tower."""
        config = self.config
        hidden, gates = first.split(self.widths, dim=-1)
        pieces = torch.relu(hidden).split(config.expert_hidden, dim=-1)
        opinions = torch.stack(
            [torch.relu(expert(piece)) for expert, piece in zip(self.experts, pieces, strict=True)],
            dim=1,
        )
        weights = torch.softmax(gates.unflatten(-1, (-1, config.expert_count)), dim=-1)
        mixed = (weights @ opinions).flatten(1)
        return self.tower_outer(torch.relu(self.tower_inner(mixed)))


class Ranker(nn.Module):
    """The model as it learns: product features made from their parts, position known."""

    def __init__(self, config: RankerConfig) -> None:
        super().__init__()
        self.config = config
        self.products = ProductEncoder(
            config.product_code_counts,
            config.embedding_size,
            config.static_count,
            config.vector_size,
        )
        self.trunk = RankerTrunk(config)
        devices = config.context_code_counts[_DEVICE]
        # softplus of their sum is how much of the log chance to be looked at is lost down the list
        self.overlooked = nn.Parameter(torch.full((MAX_POSITION + 1,), -3.0))
        self.overlooked_on = nn.Parameter(torch.zeros(devices, MAX_POSITION + 1))
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", torch.ones(len(config.heads)))
        self.register_buffer("shift", torch.zeros(len(config.heads)))

    def forward(
        self,
        history_rows: Tensor,
        history_events: Tensor,
        history_ages: Tensor,
        context_codes: Tensor,
        context_values: Tensor,
        user_vector: Tensor,
        candidate_rows: Tensor,
        candidate_values: Tensor,
        own_kept: Tensor | None = None,
    ) -> Tensor:
        """[B, N, H] raw logits, each given its parent and that the candidate is looked at."""
        logits: Tensor = self.trunk(
            self.products(candidate_rows, own_kept),
            self.products(history_rows),
            history_rows,
            history_events,
            history_ages,
            context_codes,
            context_values,
            user_vector,
            candidate_rows,
            candidate_values,
        )
        return logits

    def log_examined(self, positions: Tensor, context_codes: Tensor) -> Tensor:
        """[B, N] log chance to be looked at, at positions [B, N]; 0 on top and outside of lists."""
        at = positions.clamp(max=MAX_POSITION)
        devices = context_codes[:, _DEVICE, None].expand_as(at)
        lost = nn.functional.softplus(self.overlooked[at] + self.overlooked_on[devices, at])
        return torch.where(at > 1, -lost, 0.0)

    def calibrated(self, logits: Tensor) -> Tensor:
        """Raw logits [..., H] after the line that `set_calibration` holds."""
        return logits * self.scale + self.shift

    def set_calibration(self, lines: tuple[Affine, ...]) -> None:
        """One line per head, in the order of `config.heads`."""
        self.scale.copy_(torch.tensor([line.scale for line in lines]))
        self.shift.copy_(torch.tensor([line.shift for line in lines]))


def chained(logits: Tensor, parents: tuple[int | None, ...]) -> Tensor:
    """[..., H] probabilities at the top of the list: each head's own times that of its parent."""
    own = torch.sigmoid(logits).unbind(-1)
    return torch.stack(
        [own[at] if parent is None else own[at] * own[parent] for at, parent in enumerate(parents)],
        dim=-1,
    )


def chained_log(logits: Tensor, config: RankerConfig, log_examined: Tensor) -> tuple[Tensor, ...]:
    """H log probabilities [...] where the candidates stood; log_examined [...] weakens clicks."""
    own = nn.functional.logsigmoid(logits).unbind(-1)
    firsts = [
        log_own + log_examined if head == "click" else log_own
        for head, log_own in zip(config.heads, own, strict=True)
    ]
    return tuple(
        first if parent is None else first + firsts[parent]
        for first, parent in zip(firsts, config.parents, strict=True)
    )


class ServingRanker(nn.Module):
    """The model as it serves: one table of finished features, calibrated, top of the list."""

    def __init__(self, ranker: Ranker) -> None:
        super().__init__()
        self.parents = ranker.config.parents
        self.trunk = ranker.trunk
        self.table_RE: Tensor
        self.scale: Tensor
        self.shift: Tensor
        with torch.no_grad():
            table = ranker.products(torch.arange(ranker.config.product_code_counts[0]))
            table[0] = 0.0
        self.register_buffer("table_RE", table)
        self.register_buffer("scale", ranker.scale.clone())
        self.register_buffer("shift", ranker.shift.clone())

    def forward(
        self,
        history_rows: Tensor,
        history_events: Tensor,
        history_ages: Tensor,
        context_codes: Tensor,
        context_values: Tensor,
        user_vector: Tensor,
        candidate_rows: Tensor,
        candidate_values: Tensor,
    ) -> Tensor:
        """[B, N, H] probabilities; rows of padding get some value that means nothing."""
        logits = self.trunk(
            self.table_RE[candidate_rows],
            self.table_RE[history_rows],
            history_rows,
            history_events,
            history_ages,
            context_codes,
            context_values,
            user_vector,
            candidate_rows,
            candidate_values,
        )
        return chained(logits * self.scale + self.shift, self.parents)


def save_ranker(ranker: Ranker, folder: Path) -> None:
    """Write weights and configuration; `load_ranker` reads them back."""
    write_whole(folder / RANKER_WEIGHTS, lambda part: torch.save(ranker.state_dict(), part))
    text = json.dumps(ranker.config.to_json(), indent=2) + "\n"
    write_whole(folder / RANKER_CONFIG, lambda part: part.write_text(text))


def load_ranker(folder: Path) -> Ranker:
    """The trained model, calibrated, in evaluation mode. Raises NotFound if the folder has none."""
    ranker = Ranker(RankerConfig.from_json(read_json(folder / RANKER_CONFIG)))
    ranker.load_state_dict(torch.load(folder / RANKER_WEIGHTS, weights_only=True))
    return ranker.eval()


def load_serving_ranker(folder: Path) -> ServingRanker:
    """What export turns into a graph. Raises NotFound if the folder has none."""
    return ServingRanker(load_ranker(folder)).eval()
