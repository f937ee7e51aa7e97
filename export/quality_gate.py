"""Quality gate: whether a faster form of a model still answers like the one it came from.

Two measures, both against the float32 answer on the same inputs: ‖Δ‖/‖ref‖, and the NDCG of the
order that the faster form gives (Järvelin & Kekäläinen 2002, section 2.2, linear gain).

Shapes: L lists, N candidates of each.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shop.errors import ReleaseRejected

NDCG_AT = 20
MAX_NDCG_LOSS = 0.005
# Of a precision's own rounding, not of a fault: wrong weights or rows give 0.1 and more. Half
# precision of a few layers lies at 1e-3, eight bits at 1e-2.
MAX_RELATIVE_ERROR = {"fp32": 1e-4, "tf32": 3e-3, "fp16": 1e-2, "bf16": 3e-2}
MAX_RELATIVE_ERROR |= {"int8": 8e-2, "fp8": 8e-2}


@dataclass(frozen=True, slots=True)
class Fidelity:
    """How near the faster form is."""

    relative_error: float  # ‖Δ‖ / ‖ref‖
    ndcg_loss: float  # 1 - mean NDCG@20; 0 for answers that order nothing


def fidelity(reference: NDArray[Any], answer: NDArray[Any], *, orders: bool = True) -> Fidelity:
    """How near `answer` is to `reference`, same shape; [L, N] or [L, N, H] if it orders lists.

    Several heads are summed for the order. Raises ReleaseRejected if shapes differ or an answer is
    not finite: NaN would pass no comparison, and unnoticed.
    """
    if reference.shape != answer.shape or not np.isfinite(answer).all():
        raise ReleaseRejected(f"the answer is {answer.shape}, or not finite")
    wanted, given = reference.astype(np.float64), answer.astype(np.float64)
    error = float(np.linalg.norm(given - wanted) / np.linalg.norm(wanted))
    if not orders:
        return Fidelity(error, 0.0)
    if wanted.ndim == 3:
        wanted, given = wanted.sum(axis=-1), given.sum(axis=-1)
    return Fidelity(error, 1.0 - ndcg(wanted, given))


def ndcg(gains: NDArray[np.float64], scores: NDArray[np.float64], at: int = NDCG_AT) -> float:
    """Mean NDCG@`at` of ordering by scores [L, N] where the truth is gains [L, N].

    The list's least gain counts as 0: what all candidates share would hide any disorder.
    """
    gains = gains - gains.min(axis=1, keepdims=True)
    discounts = 1.0 / np.log2(np.arange(2, min(at, gains.shape[1]) + 2))
    found = np.take_along_axis(gains, np.argsort(-scores, axis=1, kind="stable"), axis=1)
    ideal = -np.sort(-gains, axis=1)
    best = (ideal[:, : discounts.size] * discounts).sum(axis=1)
    got = (found[:, : discounts.size] * discounts).sum(axis=1)
    return float(np.where(best > 0, got / np.where(best > 0, best, 1.0), 1.0).mean())


def check_fidelity(what: str, precision: str, measured: Fidelity) -> None:
    """Raises ReleaseRejected, with the figures, if this may not go online."""
    limit = MAX_RELATIVE_ERROR[precision]
    if not measured.relative_error <= limit:  # written so that NaN fails too
        raise ReleaseRejected(
            f"{what} in {precision}: ‖Δ‖/‖ref‖ {measured.relative_error:.1e}, at most {limit:.0e}"
        )
    if not measured.ndcg_loss <= MAX_NDCG_LOSS:
        raise ReleaseRejected(
            f"{what} in {precision}: NDCG@{NDCG_AT} falls by {measured.ndcg_loss:.2%}, "
            f"at most {MAX_NDCG_LOSS:.1%} is allowed"
        )
