"""Clocks an hour wrong, either way: what that may cost is said, and nothing waits for them."""

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from export.promote import promote
from serving.adapters.release_files import current_release
from serving.adapters.token_files import seen
from serving.codec import Decoder
from serving.proto import recommendations_pb2 as pb
from serving.recommend.settings import RecommendSettings
from serving.rules_sharing import RuleSharing, SharedBook
from serving.triton.status import write_status
from shop.errors import InvalidRequest
from shop.tokens import decode_attribution, decode_page, encode_attribution, encode_page
from tests.contract.small_release import KEY as RELEASE_KEY
from tests.unit.test_release_promotion import a_shelf, a_status
from tests.unit.test_tokens import KEY, PRINT, a_page, an_attribution
from tests.unit.time_travel import START_MS

HOUR_MS = 3_600_000
SKEWS = (-HOUR_MS, 0, HOUR_MS)
SETTINGS = RecommendSettings()
LEAD_MS = 2_500


@pytest.mark.parametrize("reader", SKEWS)
@pytest.mark.parametrize("maker", SKEWS)
def test_tokens_pass_between_replicas_whose_clocks_differ(maker: int, reader: int) -> None:
    made_ms, read_ms = START_MS + maker, START_MS + reader
    shown = replace(an_attribution(), expires_ms=made_ms + SETTINGS.attribution_ttl_ms)
    told = decode_attribution(encode_attribution(shown, KEY), KEY, now_ms=read_ms)
    assert told.request_id == shown.request_id
    page = replace(a_page(), expires_ms=made_ms + SETTINGS.page_ttl_ms)
    token = encode_page(page, KEY, fingerprint=PRINT)
    if read_ms - made_ms < SETTINGS.page_ttl_ms:
        assert decode_page(token, KEY, fingerprint=PRINT, now_ms=read_ms).release == page.release
    else:  # the reader is ahead by more than a page lives
        with pytest.raises(InvalidRequest, match="expired: ask for the first page again"):
            decode_page(token, KEY, fingerprint=PRINT, now_ms=read_ms)


@pytest.mark.parametrize("skew", SKEWS)
@pytest.mark.parametrize("offset", [0, -40 * 24 * HOUR_MS])  # the shop's clock minus the callers'
def test_events_of_clients_whose_clocks_are_wrong_are_taken(skew: int, offset: int) -> None:
    decoder = Decoder("EUR", KEY, lambda: START_MS, lambda: "id", clock_offset_ms=offset)
    time_ms = START_MS - offset + skew
    event = pb.Event(
        idempotency_key="k", type="click", user_id="ada", product_id="p1", time_ms=time_ms
    )
    (taken,) = decoder.events(pb.LogEventsRequest(events=[event]))
    assert taken.time_ms == START_MS + skew
    recent = pb.RecentEvent(type="click", product_id="p1", time_ms=time_ms)
    ask = decoder.ask(pb.RecommendRequest(placement="home", recent_events=[recent]))
    assert ask.recent_events[0].time_ms == START_MS + skew


class NoRules:
    """A `SharedRules` in which there is nothing."""

    def read(self, known: SharedBook | None) -> SharedBook | None:
        return known

    def publish(self, raw: bytes, sha256: str, *, from_ms: int) -> None:
        raise AssertionError(sha256)

    def restore(self, book: SharedBook) -> None:
        raise AssertionError(book)


@pytest.mark.parametrize("skew", SKEWS)
def test_no_replica_waits_longer_for_a_rule_book_than_was_agreed(skew: int, tmp_path: Path) -> None:
    sharing = RuleSharing(NoRules(), tmp_path / "offered", lambda: START_MS, lead_ms=LEAD_MS)
    book = SharedBook(1, "sha", from_ms=START_MS + skew + LEAD_MS, raw=b"")
    assert 0.0 <= sharing.waits_s(book) <= LEAD_MS / 1000.0


@pytest.mark.parametrize("skew", [-HOUR_MS, HOUR_MS])
def test_what_a_supervisor_that_is_gone_said_before_the_clock_was_set_is_not_believed(
    skew: int, tmp_path: Path
) -> None:
    shelf = a_shelf(tmp_path, releases=1)
    updated_ms = time.time_ns() // 1_000_000 + skew
    write_status(shelf.status_file, replace(a_status(7), updated_ms=updated_ms))
    promote("r0001-seed1", shelf, RELEASE_KEY, ready_within_s=0.2)
    assert current_release(shelf.releases_root) == "r0001-seed1"


def test_a_file_from_the_future_is_followed_by_one_from_the_past(tmp_path: Path) -> None:
    file = tmp_path / "callers.json"
    states = []
    for hours in (1, 0, -1):
        file.write_text(f"{hours}")
        os.utime(file, (time.time() + 3_600 * hours,) * 2)
        states.append(seen(file))
    assert len(set(states)) == 3
