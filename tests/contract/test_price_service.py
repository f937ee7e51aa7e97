"""A whole service on a real release, but no feed: it answers, keeps every price and says why."""

import time
from pathlib import Path

from serving.recommend.prices import PriceAsk
from serving.service import Service
from shop.pricing import Outcome
from tests.contract.test_release_switch import PickyTriton, a_whole_release, make_current, run


def test_a_service_whose_feeds_nobody_serves_keeps_every_price_and_says_why(
    tmp_path: Path,
) -> None:
    make_current(tmp_path, a_whole_release(tmp_path, 1).name)

    async def use(service: Service, triton: PickyTriton) -> None:
        ask = PriceAsk("r1", ("p1", "p2"), service.now_ms())
        answer = await service.suggest_prices(ask, start_s=time.monotonic(), total_s=2.0)
        lost = {reason.value for _, reason in answer.degraded}
        assert lost == {"STALE_COMPETITORS", "STALE_DEMAND", "STALE_CALENDAR"}
        assert answer.suggestions.price_minor.tolist() == [1_200, 1_200]
        assert set(answer.suggestions.outcomes) == {Outcome.UNKNOWN_LIMIT}

    run(tmp_path, use)
