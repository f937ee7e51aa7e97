"""Chain: shopper in, ranked products out, without a copy to the host between the stages.

Tower → exact search → live values → ranker. Ids and the shopper's tensors go in; rows, cosines and
probabilities come out. Several requests at once are one batch.

Shapes: B requests, K candidates, H heads.
"""

from torch import Tensor, nn

from export.gpu.live_values import LiveValues


class Chain(nn.Module):
    """A request's arithmetic. `search` is an `ExactSearch`, or a form of one."""

    def __init__(
        self, tower: nn.Module, search: nn.Module, values: LiveValues, ranker: nn.Module
    ) -> None:
        super().__init__()
        self.tower, self.search, self.values, self.ranker = tower, search, values, ranker

    def forward(
        self,
        history_rows: Tensor,
        history_events: Tensor,
        history_ages: Tensor,
        context_codes: Tensor,
        context_values: Tensor,
        closed: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Candidate rows [B, K], cosines [B, K], probabilities [B, K, H].

        `closed` is `ExactSearch.closed_for` of the request's filter. Where fewer products are
        allowed, row 0 fills up, whose probabilities mean nothing.
        """
        shopper = (history_rows, history_events, history_ages, context_codes, context_values)
        user_vector = self.tower(*shopper).float()
        rows, cosines = self.search(user_vector, closed)
        values = self.values(history_rows, rows)
        return rows, cosines, self.ranker(*shopper, user_vector, rows, values)
