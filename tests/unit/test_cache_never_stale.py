"""Whatever happens in whatever order, a replica with a cache answers as one without would."""

import asyncio
from collections import deque
from dataclasses import replace
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

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
some_products = st.lists(products, max_size=2).map(tuple)
shoppers = st.sampled_from(["", "", "s1", "s2"])
replicas = st.integers(0, REPLICAS - 1)
FILTERS = (
    None,
    None,
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


@st.composite
def asks(draw: st.DrawFn) -> Ask:
    """Few enough kinds that many calls are the same call."""
    wanted = draw(st.sampled_from(FILTERS))
    promotes = draw(st.sampled_from([False, False, True]))
    return an_ask(
        # One id for all: what a call explores is then the same with and without a cache.
        request_id="r3",
        shopper=draw(shoppers),
        context=a_context(
            placement=draw(st.sampled_from(["home", "product"])),
            country=draw(st.sampled_from(["", "FR"])),
        ),
        page_size=draw(st.sampled_from([5, 8])),
        context_product_ids=draw(st.sampled_from([(), (), ("p5",), ("p9",)])),
        cart_product_ids=draw(st.sampled_from([(), (), ("p9",)])),
        exclude_product_ids=frozenset(draw(st.sampled_from([(), (), ("p3",)]))),
        recent_events=draw(
            st.sampled_from([(), (RecentEvent(EVENT_CODES[EventType.CLICK], "p7", START_MS - 9),)])
        ),
        filter=None if wanted is None else parse_filter(wanted),
        strict_filtering=draw(st.booleans()),
        diversity=draw(st.sampled_from([0.0, 0.5])),
        boosts=draw(st.sampled_from([(), (Boost(parse_filter('brand = "dune"'), 9.0),)])),
        promotions=(Promotion(parse_filter("price < 25"), 40.0),) if promotes else (),
        explain=draw(st.sampled_from([False, False, False, True])),
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
        self.recent: deque[Ask] = deque(maxlen=3)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.runner.close()

    # Calls

    @rule(replica=replicas, ask=asks())
    def call(self, replica: int, ask: Ask) -> None:
        self.recent.append(ask)
        self.compare(self.replicas[replica], ask)

    @precondition(lambda self: self.recent)
    @rule(replica=replicas, at=st.integers(0, 2))
    def call_again(self, replica: int, at: int) -> None:
        self.compare(self.replicas[replica], self.recent[at % len(self.recent)])

    @precondition(lambda self: self.recent)
    @rule(replica=replicas, at=st.integers(0, 2))
    def call_several_at_once(self, replica: int, at: int) -> None:
        self.compare(self.replicas[replica], self.recent[at % len(self.recent)], at_once=3)

    def compare(self, replica: Replica, ask: Ask, at_once: int = 1) -> None:
        async def both() -> tuple[list[Answer], Answer]:
            answers = await asyncio.gather(*(replica.answer(ask) for _ in range(at_once)))
            return answers, await replica.answer_anew(ask)

        logged = len(self.shop.log.impressions)
        answers, anew = self.runner.run(both())
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

    # Changes

    def price_now(self, product: str) -> int:
        listed = self.shop.pricing.price_minor[product]
        return round(listed * (1.0 - self.shop.promotions.percent_off.get(product, 0.0) / 100.0))

    def note(self, product: str) -> None:
        in_stock = self.shop.inventory.units[product] != 0
        self.truth[product].append((self.shop.time.now_ms, self.price_now(product), in_stock))

    @rule(names=some_products, factor=st.sampled_from([0.5, 0.9, 1.1, 2.0]))
    def price_changes(self, names: tuple[str, ...], factor: float) -> None:
        for name in names:
            before = self.shop.pricing.price_minor[name]
            self.shop.pricing.price_minor[name] = min(90_000, max(200, round(before * factor)))
            self.note(name)

    @rule(name=products, percent=st.sampled_from([0.0, 10.0, 50.0]))
    def promotion_begins_or_is_withdrawn(self, name: str, percent: float) -> None:
        self.shop.promotions.percent_off[name] = percent
        self.note(name)

    @rule(names=st.lists(products, max_size=6), units=st.sampled_from([0, 0, 9]))
    def stock_changes(self, names: list[str], units: int) -> None:
        for name in names:
            self.shop.inventory.units[name] = units
            self.note(name)

    @rule(name=products, risk=st.sampled_from([0.0, 0.9]))
    def supply_changes(self, name: str, risk: float) -> None:
        self.shop.supply.risk_and_days[name] = (risk, 9.0)

    @rule(shopper=st.sampled_from(["s1", "s2"]), product=products, kind=st.sampled_from(EventType))
    def event_is_logged(self, shopper: str, product: str, kind: EventType) -> None:
        event: Any = ShopperEvent(
            *("", kind, shopper, "session-1", product, self.shop.time.now_ms),
            *(1, 0, 0, 0.0, "", "home", "", "", ""),
        )
        known = self.shop.histories.of_shopper.get(shopper)
        self.shop.histories.of_shopper[shopper] = extended(known, [event])

    @rule(replica=replicas, book=st.sampled_from(BOOKS))
    def rules_are_reloaded(self, replica: int, book: tuple[str, ...]) -> None:
        self.replicas[replica].go_by(*book)

    @rule(replica=replicas, release=st.sampled_from(["release-1", "release-2"]))
    def release_is_promoted(self, replica: int, release: str) -> None:
        self.replicas[replica].serve(release)

    @rule(duration_ms=st.sampled_from([1, 300, 2_500, 11_000, 59_000, 3_600_000]))
    def time_passes(self, duration_ms: int) -> None:
        self.shop.time.pass_ms(duration_ms)

    # What becomes of what is kept

    @rule(replica=replicas)
    def memory_is_lost(self, replica: int) -> None:
        kept = self.replicas[replica].cache.kept
        for key in kept.keys():
            kept.drop(key)

    @rule()
    def what_is_shared_is_lost(self) -> None:
        self.shared.records.clear()

    @rule(fails=st.booleans())
    def what_is_shared_fails_or_recovers(self, fails: bool) -> None:
        self.shared.failure = DependencyUnavailable("rankings", "down") if fails else None

    @precondition(lambda self: self.shared.records)
    @rule(cut=st.integers(0, 400), at=st.integers(0, 99))
    def what_is_shared_is_damaged(self, cut: int, at: int) -> None:
        key = sorted(self.shared.records)[at % len(self.shared.records)]
        self.shared.records[key] = self.shared.records[key][:cut]


ReplicasOfOneShop.TestCase.settings = settings(
    max_examples=15, stateful_step_count=25, deadline=None
)
TestReplicasOfOneShop = ReplicasOfOneShop.TestCase
