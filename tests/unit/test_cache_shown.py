"""How well the cache does is seen in the metrics, in `vitrine status` and in every reply."""

import json
from pathlib import Path

import pytest

from serving.recommend.request import CacheStatus
from serving.reply import encode_answer
from serving.settings_reader import load_settings
from serving.stack.showing import cached_lately, hit_rate
from serving.telemetry import Telemetry
from shop.errors import SettingsRejected
from tests.unit.cached_shops import Replica, a_replica
from tests.unit.small_shop import an_ask


def two_calls(replica: Replica, telemetry: Telemetry) -> list[str]:
    """The `cache_status` of both replies."""
    statuses = []
    for _ in range(2):
        answer = replica.shop.time.run(replica.answer(an_ask()))
        telemetry.answered(answer)
        catalogue = replica.deps.release.tables.catalogue
        reply = encode_answer(answer, catalogue, b"k" * 32, attribution_ttl_ms=1_000)
        statuses.append(reply.cache_status)
        replica.shop.time.pass_ms(7_000)
    return statuses


def test_a_reply_says_what_it_owes_to_the_cache() -> None:
    assert two_calls(a_replica(), Telemetry()) == ["MISS", "HIT"]


def test_metrics_count_lists_by_status_and_show_ages_and_memory() -> None:
    replica, telemetry = a_replica(), Telemetry()
    telemetry.watch_cache(replica.cache)
    two_calls(replica, telemetry)
    value = telemetry.registry.get_sample_value
    for status, count in ((CacheStatus.MISS, 1), (CacheStatus.HIT, 1), (CacheStatus.BYPASS, 0)):
        assert value("vitrine_cache_lists_total", {"status": status.value}) == count
    assert value("vitrine_cache_age_seconds_sum") == 7.0
    assert value("vitrine_cache_entries") == 1
    assert value("vitrine_cache_bytes") == replica.cache.kept.kept_bytes > 0
    replica.cache.kept.evicted_count = 3
    assert value("vitrine_cache_evictions_total") == 3


def test_status_shows_the_hit_rate_of_the_last_lists(tmp_path: Path) -> None:
    lines = [{"cache": "HIT"}, {"cache": "MISS"}, {"cache": "PARTIAL"}, {"cache": "BYPASS"}, {}]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "gateway-0.jsonl").write_text('{"cut off\n' + text + "\n")
    cached = cached_lately(tmp_path)
    assert cached == {"HIT": 1, "MISS": 1, "PARTIAL": 1, "BYPASS": 1}
    assert hit_rate(cached) == pytest.approx(2 / 3)
    assert hit_rate({"BYPASS": 5}) is None


@pytest.mark.parametrize(
    ("name", "value", "named"),
    [
        ("VITRINE_RECOMMEND__CACHE__MAX_MB", "-1", "max_mb"),
        ("VITRINE_RECOMMEND__CACHE__TTL_MS", "0", "ttl_ms"),
        ("VITRINE_RECOMMEND__CACHE__TTL_MS", "900001", "ttl_ms"),
        ("VITRINE_RECOMMEND__CACHE__MATERIAL_CHANGE", "0.5", "material_change"),
        ("VITRINE_RECOMMEND__CACHE__STORE", "redis", "redis.url"),
        ("VITRINE_RULES__STORE", "redis", "redis.url"),
        ("VITRINE_RULES__LOOK_EVERY_S", "61", "look_every_s"),
    ],
)
def test_settings_that_cannot_be_are_named(name: str, value: str, named: str) -> None:
    with pytest.raises(SettingsRejected, match=named):
        load_settings(None, {name: value})
