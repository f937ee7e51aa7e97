"""Blend policies: how several sources make one list of candidates. Which one holds is a setting.

mixed     Every source has its share of every length of the list, in proportion to its weight.
cascade   Sources one after another; the next only fills up what is missing.
weighted  Every product by the sum of what its sources think of it. At place r (0-based) a source
          gives w / (k + r), reciprocal rank fusion (Cormack, Clarke & Büttcher 2009), because
          cosines, counts and shares have no common scale. The weights shift to content where
          behaviour is not known yet (Burke 2002): with

              known = n / (n + n0) · m / (m + m0)      0 for a new shopper or product, towards 1
              moved = content_shift · (1 - known)

          of a shopper with n interactions and a product that was wanted m times, item–item and
          user–user give only (1 - moved) of their weights, and content takes what they lose:

              w_content = content + moved · (item_item + user_user)

          The two-tower model keeps its weight: it has learnt from both, and so did its trust.

The three are Burke's mixed, cascade and weighted hybrids. Products that are there to be explored
are no guess, so no policy ranks them: they stand behind most others and before the cut.

Shapes: R catalogue rows, M proposed by one source, T proposed by all together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shop.blend import Proposal, Quotas, distinct_rows, merged, scores_of
from shop.candidates import BLENDED, BY_QUERY, Candidates, Source

BlendPolicy = Literal["weighted", "mixed", "cascade"]
_BEHAVIOUR = (Source.ITEM_ITEM, Source.USER_USER)  # what they know came from this very behaviour
_SHIFTED = frozenset((*_BEHAVIOUR, Source.CONTENT))
_HARDLY_HEARD = 1e-9  # weight 0: behind everything else
_CASCADED = tuple(source.name.lower() for source in BLENDED if source is not Source.EXPLORATION)


@dataclass(frozen=True, slots=True)
class BlendWeights:
    """How much each source is heard; see the module for the formula.

    Chosen by `loadtest.benchmarks.blend_search`, on other shoppers than `bench sources` reports on.
    Against 600 products of the two-tower model, a source below 0.3 finds nothing of its own in the
    weighted blend: 0.3 / 60 < 3.5 / 660. It only moves what others found.
    """

    two_tower: float = 3.5
    item_item: float = 0.5
    history: float = 1.6
    popular: float = 0.5  # hardly moves the world, but a shop may know no segments
    content: float = 0.8
    user_user: float = 0.5
    segment_popular: float = 0.8
    fresh: float = 0.5
    rank_offset: float = 60.0  # k; the value of the paper
    content_shift: float = 0.25
    shopper_half: float = 5.0  # n0: with so many interactions a shopper is half known
    product_half: float = 5.0  # m0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if not 0.0 <= getattr(self, name) < 1e6:
                raise ValueError(f"{name}: must be 0 to 1000000")
        for name in ("rank_offset", "shopper_half", "product_half"):
            if getattr(self, name) == 0.0:
                raise ValueError(f"{name}: must be above 0")
        if self.content_shift > 1.0:
            raise ValueError("content_shift: must be 0 to 1")

    def of(self, source: Source) -> float:
        """The weight of `source` for shoppers and products that are well known."""
        return float(getattr(self, source.name.lower()))


@dataclass(frozen=True, slots=True)
class BlendSettings:
    """Which policy holds in which placement, and what each goes by."""

    home: BlendPolicy = "weighted"
    product: BlendPolicy = "weighted"
    cart: BlendPolicy = "weighted"
    category: BlendPolicy = "weighted"
    search: BlendPolicy = "weighted"
    email: BlendPolicy = "weighted"
    weights: BlendWeights = field(default_factory=BlendWeights)
    # The short and sure ones first; a source that is not named is not in the cascade. What comes
    # behind the two-tower model, which fills any list, is for filters and losses.
    cascade: tuple[str, ...] = (
        "history",
        "content",
        "segment_popular",
        "two_tower",
        "item_item",
        "user_user",
        "fresh",
        "popular",
    )

    def __post_init__(self) -> None:
        if not self.cascade or len(set(self.cascade)) != len(self.cascade):
            raise ValueError("cascade: must name at least one source, and none twice")
        for name in self.cascade:
            if name not in _CASCADED:
                raise ValueError(f"cascade: must be of {', '.join(_CASCADED)}")

    def policy_of(self, placement: str) -> BlendPolicy:
        """The policy of one of `shop.features.PLACEMENTS`."""
        policy: BlendPolicy = getattr(self, placement)
        return policy


@dataclass(frozen=True, slots=True, eq=False)
class Warmth:
    """How far behaviour is known, of one shopper and of every product."""

    shopper: float  # n / (n + n0)
    products: NDArray[np.float32]  # [R] m / (m + m0)

    @staticmethod
    def of_products(wishes: NDArray[np.int32], weights: BlendWeights) -> NDArray[np.float32]:
        """[R] once for each release; wishes [R] how often each product was wanted."""
        return (wishes / (wishes + weights.product_half)).astype(np.float32)

    @staticmethod
    def of_shopper(interaction_count: int, weights: BlendWeights) -> float:
        """0 for a shopper nobody has seen."""
        return interaction_count / (interaction_count + weights.shopper_half)


def blend(
    policy: BlendPolicy,
    proposals: Sequence[Proposal],
    settings: BlendSettings,
    quotas: Quotas,
    warmth: Warmth,
    count: int,
) -> Candidates:
    """At most `count` products by `policy`; every source's score is kept."""
    trials = [each for each in proposals if each.source is Source.EXPLORATION]
    ranked = [each for each in proposals if each.source is not Source.EXPLORATION]
    behind = quotas.candidates - quotas.exploration
    if policy == "weighted":
        return _weighted(ranked, trials, settings.weights, warmth, behind, count)
    if policy == "cascade":
        ranked = _cascaded(ranked, settings.cascade)
        keys = [at + _places(len(each)) for at, each in enumerate(ranked)]
    else:
        keys = [_mixed_keys(len(each), settings.weights.of(each.source)) for each in ranked]
    if trials:
        trial_key = _behind(np.concatenate([*keys, np.zeros(0)]), behind)
        keys += [np.full(len(each), trial_key) for each in trials]
    return merged([*ranked, *trials], np.concatenate([*keys, np.zeros(0)]), count)


def _cascaded(proposals: Sequence[Proposal], order: Sequence[str]) -> list[Proposal]:
    by_name = {proposal.source.name.lower(): proposal for proposal in proposals}
    return [by_name[name] for name in order if name in by_name]


def _weighted(
    ranked: Sequence[Proposal],
    trials: Sequence[Proposal],
    weights: BlendWeights,
    warmth: Warmth,
    behind: int,
    count: int,
) -> Candidates:
    """By the sums, what is there to be explored at place `behind` at the latest."""
    proposals = [*ranked, *trials]
    if not proposals:
        return merged(proposals, np.zeros(0), count)
    distinct, places = distinct_rows([proposal.rows for proposal in proposals])
    heard = _heard(weights)
    given = np.concatenate([*(_given(each, heard, warmth) for each in ranked), np.zeros(0)])
    sums = np.bincount(places[: given.size], weights=given, minlength=distinct.size)
    order = np.argsort(-sums, kind="stable")
    if trials and behind < order.size:
        tried = np.zeros(order.size, dtype=np.bool_)
        tried[places[given.size :]] = True
        last = order[behind:]
        is_tried = tried[last]
        order = np.concatenate([order[:behind], last[is_tried], last[~is_tried]])
    order = order[:count]
    return Candidates(distinct[order], scores_of(proposals, places, distinct.size)[order])


@dataclass(frozen=True, slots=True)
class _Heard:
    weights: tuple[float, ...]  # by source
    rank_offset: float
    content_shift: float
    behaviour: float  # what content takes over, were nothing known


@lru_cache(maxsize=64)
def _heard(weights: BlendWeights) -> _Heard:
    by_source = tuple(
        0.0 if source in (Source.EXPLORATION, *BY_QUERY) else weights.of(source)
        for source in Source
    )
    behaviour = sum(weights.of(source) for source in _BEHAVIOUR)
    return _Heard(by_source, weights.rank_offset, weights.content_shift, behaviour)


def _given(proposal: Proposal, heard: _Heard, warmth: Warmth) -> NDArray[np.float64]:
    """[M] what the source adds to each of its products."""
    source, weight = proposal.source, heard.weights[proposal.source]
    if source not in _SHIFTED:
        return _by_rank(len(proposal), heard.rank_offset, weight)
    moved = warmth.products[proposal.rows] * (-heard.content_shift * warmth.shopper)
    moved += heard.content_shift
    if source is Source.CONTENT:
        given = moved * heard.behaviour + weight
    else:
        given = weight - moved * weight
    return np.asarray(given * _by_rank(len(proposal), heard.rank_offset, 1.0))


@lru_cache(maxsize=1024)  # the same few lengths in nearly every call
def _by_rank(length: int, offset: float, weight: float) -> NDArray[np.float64]:
    return weight / (offset + np.arange(length, dtype=np.float64))


@lru_cache(maxsize=1024)
def _mixed_keys(length: int, weight: float) -> NDArray[np.float64]:
    return (np.arange(length, dtype=np.float64) + 0.5) / max(weight, _HARDLY_HEARD)


@lru_cache(maxsize=1024)
def _places(length: int) -> NDArray[np.float64]:
    return np.arange(length, dtype=np.float64) / max(1, length)


def _behind(keys: NDArray[np.float64], place: int) -> float:
    """A key behind the first `place` of all proposals; repeated products count each time."""
    if not 0 <= place < keys.size:
        return np.inf
    return float(np.partition(keys, place)[place])
