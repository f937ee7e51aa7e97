"""Whatever happens in whatever order, a replica with a cache answers as one without would."""

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from serving.adapters.history_records import extended
from serving.adapters.memory import MemoryRankings
from serving.recommend.ports import ShopperEvent
from serving.recommend.request import Answer, Ask, CacheStatus, RecentEvent
from shop.errors import DependencyUnavailable
from shop.events import EVENT_CODES, EventType
from shop.filters import parse_filter
from shop.merchandising import Boost, Promotion
from tests.unit.cached_shops import PRODUCTS, TIGHT, Replica, a_replica, same
from tests.unit.small_shop import a_context, a_shop, an_ask
from tests.unit.time_travel import START_MS

REPLICAS = 2
products = st.integers(1, PRODUCTS).map(lambda row: f"p{row}")
replicas = st.integers(0, REPLICAS - 1)
FILTERS = (
    "price < 30",
    'category = "lamps" AND price < 40',
    'price < 40 AND category = "lamps"',
    "in_stock AND price >= 15",
)
BOOKS: tuple[tuple[str, ...], ...] = (
    (),
    ('kind = "exclude"\nproducts = ["p1", "p2"]',),
    ('kind = "exclude"\nbrands = ["acme", "bright", "calm"]',),
    ('kind = "legal"\ncountries = ["FR"]\ncategories = ["lamps"]',),
    ('kind = "exclude"\ncondition = "price >= 30"',),
    ('kind = "pin"\nproduct = "p37"\nposition = 2',),
    ('kind = "boost"\nfactor = 3.0\ncategories = ["rugs"]',),
    ('kind = "back_order"\nrisk = 0.3',),
    # A campaign that runs from 10 s to 100 s after the start, 15:06:40.
    (
        'kind = "pin"\nproduct = "p20"\nposition = 1\n'
        "from = 2025-06-15T15:06:50Z\nuntil = 2025-06-15T15:08:20Z",
    ),
)


# For every field that may make a list another one: its values, the plainest first.
CHOICES: dict[str, tuple[Any, ...]] = {
    "shopper": ("", "s1", "s2"),
    "session_id": ("session-1", "session-2"),
    "context": tuple(
        a_context(placement=placement, country=country, device=device)
        for placement, country, device in (
            ("home", "", "mobile"),
            ("product", "", "mobile"),
            ("home", "FR", "mobile"),
            ("home", "", "desktop"),
        )
    ),
    "page_size": (5, 8),
    "context_product_ids": ((), ("p5",), ("p9",)),
    "cart_product_ids": ((), ("p9",)),
    "exclude_product_ids": (frozenset(), frozenset({"p3"})),
    "recent_events": (
        (),
        (RecentEvent(EVENT_CODES[EventType.CLICK], "p7", START_MS - 9),),
        (RecentEvent(EVENT_CODES[EventType.CART], "p7", START_MS - 9),),
    ),
    "filter": (None, *map(parse_filter, FILTERS)),
    "strict_filtering": (False, True),
    "diversity": (0.0, 0.5),
    "boosts": ((), (Boost(parse_filter('brand = "dune"'), 9.0),)),
    "promotions": (
        (),
        (Promotion(parse_filter("price < 25"), 40.0),),
        (Promotion(parse_filter("price < 25"), 20.0),),
    ),
    "explain": (False, True),
}
changes = st.sampled_from([(name, value) for name, all_ in CHOICES.items() for value in all_])


happenings = st.one_of(
    st.tuples(
        st.just("prices change"),
        st.tuples(
            st.lists(products, min_size=1, max_size=4), st.sampled_from([0.5, 0.9, 1.1, 2.0])
        ),
    ),
    st.tuples(st.just("promotion"), st.tuples(products, st.sampled_from([0.0, 10.0, 50.0]))),
    st.tuples(
        st.just("stock changes"),
        st.tuples(st.lists(products, min_size=1, max_size=6), st.sampled_from([0, 0, 9])),
    ),
    st.tuples(st.just("supply changes"), st.tuples(products, st.sampled_from([0.0, 0.9]))),
    st.tuples(
        st.just("event"),
        st.tuples(
            st.sampled_from(["s1", "s2"]),
            st.sampled_from(["p1", "p2"]),
            st.sampled_from([EventType.CLICK, EventType.CART, EventType.REMOVE]),
        ),
    ),
    st.tuples(st.just("rules"), st.sampled_from(BOOKS)),
    st.tuples(st.just("release"), st.sampled_from(["release-1", "release-2"])),
    st.tuples(st.just("what is shared fails"), st.booleans()),
    st.tuples(st.just("what is shared is damaged"), st.integers(0, 400)),
    st.tuples(st.sampled_from(["memory is lost", "what is shared is lost"]), st.none()),
)


def an_event(shopper: str, product: str, kind: EventType, time_ms: int) -> ShopperEvent:
    """In the session that calls are of."""
    return ShopperEvent(
        *("", kind, shopper, "session-1", product, time_ms),
        *(1, 0, 0, 0.0, "", "home", "", "", ""),
    )


class ReplicasOfOneShop(RuleBasedStateMachine):
    """Calls between changes of everything that a list is made from."""

    @initialize()
    def open(self) -> None:
        self.shop = a_shop(PRODUCTS, settings=TIGHT)
        self.shared = MemoryRankings()
        self.replicas = [a_replica(self.shop, shared=self.shared) for _ in range(REPLICAS)]
        self.runner = self.shop.time.runner()
        # What each product cost, and whether it could be had, since when: newest last.
        ids = self.shop.deps.release.tables.catalogue.product_ids[1:].tolist()
        self.truth = {each: deque([(0, self.price_now(each), True)], maxlen=50) for each in ids}
        # One id for all: what a call explores is then the same with and without a cache.
        plain = {name: values[0] for name, values in CHOICES.items()}
        self.recent: deque[Ask] = deque([an_ask(request_id="r3", **plain)], maxlen=4)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    # Calls

    @rule(replica=replicas, at=st.integers(0, 3), change=st.none() | changes)
    def call(self, replica: int, at: int, change: tuple[str, Any] | None) -> None:
        """A call of lately, as it was or different in one thing."""
        ask = self.recent[at % len(self.recent)]
        if change is not None:
            ask = replace(ask, **{change[0]: change[1]})
            self.recent.append(ask)
        self.compare(self.replicas[replica], ask)

    @rule(replica=replicas, at=st.integers(0, 3))
    def call_several_at_once(self, replica: int, at: int) -> None:
        self.compare(self.replicas[replica], self.recent[at % len(self.recent)], at_once=3)

    def compare(self, replica: Replica, ask: Ask, at_once: int = 1) -> None:
        async def both() -> tuple[list[Answer], Answer]:
            answers = await asyncio.gather(*(replica.answer(ask) for _ in range(at_once)))
            return answers, await replica.answer_anew(ask)

        logged = len(self.shop.log.impressions)
        answers, anew = self.runner.get_loop().run_until_complete(both())
        for answer in answers:
            assert same(answer, anew), (answer.cache, self.shop.shown(answer))
            self.check_against_the_truth(answer)
            if ask.explain:
                assert answer.cache.status is CacheStatus.BYPASS
        lists = sum(len(answer.slate) > 0 for answer in answers)
        assert len(self.shop.log.impressions) == logged + lists

    def check_against_the_truth(self, answer: Answer) -> None:
        """Shown is what was so within the time to live of the shop's systems, cache or not."""
        ttls = TIGHT.offers
        oldest_ms = self.shop.time.now_ms - max(ttls.price.ttl_ms, ttls.promotion.ttl_ms) - 50
        prices = answer.offers.price_minor[answer.slate.at].tolist()
        for product, price in zip(self.shop.shown(answer), prices, strict=True):
            states = list(self.truth[product])
            until = [*(since for since, *_ in states[1:]), 1 << 62]
            lately = [s for s, end in zip(states, until, strict=True) if end >= oldest_ms]
            assert any(was_in_stock for _, _, was_in_stock in lately), product
            assert any(abs(price - was) <= 1 for _, was, _ in lately), product

    # What happens

    def price_now(self, product: str) -> int:
        listed = self.shop.pricing.price_minor[product]
        return round(listed * (1.0 - self.shop.promotions.percent_off.get(product, 0.0) / 100.0))

    def note(self, product: str) -> None:
        in_stock = self.shop.inventory.units[product] != 0
        self.truth[product].append((self.shop.time.now_ms, self.price_now(product), in_stock))

    def happen(self, happening: tuple[str, Any], replica: Replica) -> None:
        """One of HAPPENINGS; only some of them are to this replica alone."""
        what, how = happening
        shop = self.shop
        match what:
            case "prices change":
                names, factor = how
                for name in names:
                    before = shop.pricing.price_minor[name]
                    shop.pricing.price_minor[name] = min(90_000, max(200, round(before * factor)))
                    self.note(name)
            case "promotion":
                name, percent = how
                shop.promotions.percent_off[name] = percent
                self.note(name)
            case "stock changes":
                names, units = how
                for name in names:
                    shop.inventory.units[name] = units
                    self.note(name)
            case "supply changes":
                name, risk = how
                shop.supply.risk_and_days[name] = (risk, 9.0)
            case "event":
                shopper, product, kind = how
                event = an_event(shopper, product, kind, shop.time.now_ms)
                known = shop.histories.of_shopper.get(shopper)
                shop.histories.of_shopper[shopper] = extended(known, [event])
            case "rules":
                replica.go_by(*how)
            case "release":
                replica.serve(how)
            case "memory is lost":
                replica.cache.kept.clear()
            case "what is shared is lost":
                self.shared.records.clear()
            case "what is shared fails":
                self.shared.failure = DependencyUnavailable("rankings", "down") if how else None
            case "what is shared is damaged":
                for key, record in self.shared.records.items():
                    self.shared.records[key] = record[:how]

    @rule(replica=replicas, happening=happenings)
    def something_happens(self, replica: int, happening: tuple[str, Any]) -> None:
        self.happen(happening, self.replicas[replica])

    @rule(duration_ms=st.sampled_from([1, 300, 2_500, 11_000, 59_000, 3_600_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.shop.time.pass_ms(duration_ms)

    @rule(replica=replicas, other=replicas, at=st.integers(0, 3), happening=happenings)
    def something_happens_between_two_calls(
        self, replica: int, other: int, at: int, happening: tuple[str, Any]
    ) -> None:
        ask = self.recent[at % len(self.recent)]
        self.compare(self.replicas[replica], ask)
        self.happen(happening, self.replicas[other])
        self.shop.time.pass_ms(2_500)  # longer than what is known of prices and stock is current
        self.compare(self.replicas[other], ask)


# Few, because the quick tests are to be quick. 500 examples of 30 steps, that is 14,600 lists with
# 12,400 of them from a cache, found no difference.
ReplicasOfOneShop.TestCase.settings = settings(
    max_examples=12, stateful_step_count=25, deadline=None
)
TestReplicasOfOneShop = ReplicasOfOneShop.TestCase
