"""Choice: the true probabilities with which shoppers click, cart, buy and return.

The click model is the position-based examination model (Richardson 2007, compared with the cascade
by Craswell 2008, used for counterfactual learning by Joachims 2017):

    P(click | shopper, product, position) = P(examined | position, device) · P(attracted | s, p, …)

An examined product attracts with a logistic probability, and the later deeds are logistic as well:

    attracted        ~ taste + appeal + price fit + need + season + discount + time of day
                       + engagement + left in a cart − dead end
    cart | click     ~ taste, price fit, need, discount, device, engagement, left, dead end, way
    purchase | cart  ~ taste, price fit, discount, device, engagement, left, dead end, way
    return | purchase ~ category, material and brand fit, shopper, price level, minus taste

taste = Σ weights of the product's attribute values + liking of its hidden traits. price fit falls
with the square of the distance between the paid and the wanted price level. need is the category of
which the session is in search. engagement is a session's mood; it also slows browsing and prolongs
the look at a product, so pauses and dwell tell of it: who hurries clicks less. left is the product
that the shopper last left in a cart, for two weeks. A dead end is a search that found nothing when
the session began. On their way are phones at commuting hours: they leaf, and buy later. Position 1
is examined for sure; so is a product one looks at outside a list.

Shapes: B shoppers, N products each, R catalogue rows.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.catalogue import ATTRIBUTES, TRAIT_COUNT, Products
from simulator.lexicon import CATEGORIES, DEVICES
from simulator.settings import MS_PER_DAY
from simulator.shoppers import Shoppers

NO_NEED = len(CATEGORIES)  # a session that looks for nothing in particular
NEED_SAME, NEED_RELATED = 1.5, 0.6
EXAMINATION_DECAY = np.array([0.42, 0.30, 0.36])  # as DEVICES: P(examined at k) = k ** -decay
_SEASON_PEAK = (0.0, 105.0, 196.0, 288.0, 15.0)  # day of the year, as SEASONS
_DEVICE_CART = np.array([-0.10, 0.12, 0.0])
_DEVICE_BUY = np.array([-0.25, 0.25, 0.0])
_MOOD_CLICK = 0.25
_LEFT_CLICK, _LEFT_CART, _LEFT_BUY = 1.1, 0.6, 0.8
_DEAD_END_CLICK, _DEAD_END_LATER = -0.35, -0.50
_ON_THE_WAY_CART, _ON_THE_WAY_BUY = -0.30, -0.60
_COMMUTING_HOURS = (7, 8, 17, 18)
_PHONE = DEVICES.index("mobile")
LEFT_DAYS = 14  # how long a product left in a cart is remembered


@dataclass(frozen=True, slots=True, eq=False)
class TrueProbabilities:
    """What really happens; click, cart and purchase per impression, return given a purchase."""

    click: NDArray[np.float32]  # [B, N]
    cart: NDArray[np.float32]  # [B, N]
    purchase: NDArray[np.float32]  # [B, N]
    return_risk: NDArray[np.float32]  # [B, N]


@dataclass(frozen=True, slots=True)
class Intercepts:
    """Logits that set how often things happen at all; see `simulator.calibration`."""

    click: float
    cart: float  # given click
    purchase: float  # given cart
    returned: float  # given purchase


@dataclass(frozen=True, slots=True, eq=False)
class Circumstances:
    """When and how shoppers look, one entry per shopper."""

    time_ms: NDArray[np.int64]  # [B]
    need: NDArray[np.int64]  # [B] category code, or NO_NEED
    device: NDArray[np.int64]  # [B] into DEVICES
    engagement: NDArray[np.float32]  # [B] 0 = a usual session
    left: NDArray[np.int64]  # [B] product last left in a cart, 0 = none of late
    dead_end: NDArray[np.bool_]  # [B] the session began with a search that found nothing

    def taken(self, rows: NDArray[np.intp]) -> "Circumstances":
        """The circumstances of these shoppers, in this order."""
        return Circumstances(*(getattr(self, name)[rows] for name in Circumstances.__slots__))


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Conditional probabilities, each given the step before."""

    examined: NDArray[np.float32]  # [B, N]
    attracted: NDArray[np.float32]  # [B, N] click, given examined
    carted: NDArray[np.float32]  # [B, N] given click
    bought: NDArray[np.float32]  # [B, N] given cart
    returned: NDArray[np.float32]  # [B, N] given purchase


@dataclass(frozen=True, slots=True, eq=False)
class ChoiceModel:
    """The truth of one world. Costs about 0.2 µs per pair."""

    products: Products
    shoppers: Shoppers
    intercepts: Intercepts
    need_fit: NDArray[np.float32]  # [C + 1, C] logits; the last row is NO_NEED

    def with_intercepts(self, intercepts: Intercepts) -> "ChoiceModel":
        """The same tastes at other overall rates."""
        return replace(self, intercepts=intercepts)

    def steps(
        self,
        shopper_rows: NDArray[np.int64],
        product_rows: NDArray[np.int64],
        positions: NDArray[np.int64],
        price_minor: NDArray[np.int64],
        when: Circumstances,
    ) -> Steps:
        """Every conditional probability. shopper_rows [B], the others [B, N]."""
        click, cart, buy, back = self.logits(shopper_rows, product_rows, price_minor, when)
        start = self.intercepts
        return Steps(
            examination(positions, when.device),
            sigmoid(click + start.click),
            sigmoid(cart + start.cart),
            sigmoid(buy + start.purchase),
            sigmoid(back + start.returned),
        )

    def logits(
        self,
        shopper_rows: NDArray[np.int64],
        product_rows: NDArray[np.int64],
        price_minor: NDArray[np.int64],
        when: Circumstances,
    ) -> tuple[NDArray[np.float32], ...]:
        """[B, N] each: click, cart, purchase and return, given the step before, no intercepts."""
        products, shoppers = self.products, self.shoppers
        taste = self.taste(shopper_rows, product_rows)
        appeal = products.appeal[product_rows]
        list_price = products.price_minor[product_rows]
        paid_share = (price_minor / np.maximum(list_price, 1)).astype(np.float32)
        level = products.price_level[product_rows] + (
            np.log(np.maximum(paid_share, 1e-3)) / products.log_price_spread[product_rows]
        )
        away = np.clip(level - shoppers.price_level[shopper_rows][:, None], -3.0, 3.0)
        price_fit = -0.22 * away**2
        deal = shoppers.deal_pull[shopper_rows][:, None] * np.clip(1.0 - paid_share, 0.0, 1.0)
        need = self.need_fit[when.need[:, None], products.category[product_rows]]
        season = season_pull(when.time_ms)[
            np.arange(when.time_ms.size)[:, None], products.attributes[product_rows, 4]
        ]
        hour, weekend = clock_pull(when.time_ms)
        mood = when.engagement[:, None]
        is_left = (product_rows == when.left[:, None]) & (product_rows > 0)
        dead_end, way = when.dead_end[:, None], on_the_way(when)[:, None]
        click = taste + appeal + price_fit + deal + need + season + hour[:, None]
        click = click + _MOOD_CLICK * mood + _LEFT_CLICK * is_left + _DEAD_END_CLICK * dead_end
        cart = 0.45 * taste + 0.3 * appeal + 0.6 * price_fit + 0.8 * deal + 0.4 * need
        cart = cart + 0.30 * mood + (_DEVICE_CART[when.device] + weekend)[:, None]
        cart = cart + _LEFT_CART * is_left + _DEAD_END_LATER * dead_end + _ON_THE_WAY_CART * way
        buy = 0.25 * taste + 0.15 * appeal + 0.6 * price_fit + deal
        buy = buy + 0.30 * mood + (_DEVICE_BUY[when.device] + weekend)[:, None]
        buy = buy + _LEFT_BUY * is_left + _DEAD_END_LATER * dead_end + _ON_THE_WAY_BUY * way
        back = products.return_logit[product_rows] + 0.25 * np.clip(level, -2.0, 2.0)
        back = back + shoppers.return_logit[shopper_rows][:, None] - 0.15 * taste
        return tuple(logit.astype(np.float32) for logit in (click, cart, buy, back))

    def taste(
        self, shopper_rows: NDArray[np.int64], product_rows: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """[B, N] how much each shopper likes each product, circumstances aside."""
        products, shoppers = self.products, self.shoppers
        who = shopper_rows[:, None]
        total = np.zeros(product_rows.shape, dtype=np.float32)
        for at in range(len(ATTRIBUTES)):
            value = products.attributes[product_rows, at] + shoppers.taste_offsets[at]
            total += shoppers.taste[who, value]
        for trait in range(TRAIT_COUNT):
            total += shoppers.trait_taste[who, trait] * products.traits[product_rows, trait]
        return total


def make_choice_model(products: Products, shoppers: Shoppers) -> ChoiceModel:
    """The choice model before its rates are set."""
    names = [facts.name for facts in CATEGORIES]
    fit = np.zeros((len(names) + 1, len(names)), dtype=np.float32)
    for code, facts in enumerate(CATEGORIES):
        fit[code, [names.index(name) for name in facts.goes_with]] = NEED_RELATED
        fit[code, code] = NEED_SAME
    return ChoiceModel(products, shoppers, Intercepts(0.0, 0.0, 0.0, 0.0), fit)


def examination(positions: ArrayLike, device: NDArray[np.int64]) -> NDArray[np.float32]:
    """[B, N] probability that a shopper looks at these 1-based positions [B, N]; 1 at the top."""
    decay = EXAMINATION_DECAY[device][:, None]
    return (np.asarray(positions, dtype=np.float64) ** -decay).astype(np.float32)


def season_pull(time_ms: NDArray[np.int64]) -> NDArray[np.float32]:
    """[B, seasons] logits: what is in season sells better; all-year products stay at 0."""
    day = (time_ms / MS_PER_DAY) % 365.2425  # near enough to the day of the year for a cosine
    angle = 2.0 * np.pi * (day[:, None] - np.array(_SEASON_PEAK)) / 365.2425
    pull = 0.5 * np.cos(angle)
    pull[:, 0] = 0.0
    return pull.astype(np.float32)


def clock_pull(time_ms: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """[B] logits of the hour on clicks (evenings browse) and of the weekend on buying."""
    hour = (time_ms // 3_600_000) % 24
    weekday = (time_ms // MS_PER_DAY + 3) % 7  # the epoch was a Thursday; Monday = 0
    evening = 0.10 * np.cos(2.0 * np.pi * (hour - 20) / 24.0)
    return evening.astype(np.float32), np.where(weekday >= 5, 0.08, 0.0).astype(np.float32)


def on_the_way(when: Circumstances) -> NDArray[np.bool_]:
    """[B] who looks by phone at commuting hours."""
    hour = (when.time_ms // 3_600_000) % 24
    return np.isin(hour, _COMMUTING_HOURS) & (when.device == _PHONE)


def sigmoid(logit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Logistic function; saturates instead of overflowing."""
    return (1.0 / (1.0 + np.exp(-np.clip(logit, -30.0, 30.0)))).astype(np.float32)
