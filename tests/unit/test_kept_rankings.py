"""What a replica keeps is bounded in bytes; what was not used for longest goes first."""

from serving.recommend.kept_rankings import KeptRankings


def test_the_least_recently_used_makes_room() -> None:
    kept = KeptRankings(max_bytes=3 * 1_200)
    for name in (b"a", b"b", b"c"):
        kept.put(name, bytes(1_000))
    assert kept.get(b"a") is not None
    kept.put(b"d", bytes(1_000))
    assert [kept.get(name) is not None for name in (b"a", b"b", b"c", b"d")] == [
        *(True, False, True, True)
    ]
    assert (len(kept), kept.evicted_count) == (3, 1)


def test_bytes_are_counted_whatever_is_replaced_or_dropped() -> None:
    kept = KeptRankings(max_bytes=10_000)
    kept.put(b"a", bytes(4_000))
    kept.put(b"a", bytes(100))
    one = kept.kept_bytes
    assert 100 < one < 1_000
    kept.put(b"b", bytes(100))
    kept.drop(b"b")
    kept.drop(b"nobody")
    assert kept.kept_bytes == one
    kept.clear()
    assert (kept.kept_bytes, len(kept)) == (0, 0)


def test_what_is_larger_than_all_the_room_is_not_kept() -> None:
    kept = KeptRankings(max_bytes=1_000)
    kept.put(b"a", bytes(100))
    kept.put(b"b", bytes(5_000))
    assert kept.get(b"a") is not None
    assert kept.get(b"b") is None
