"""Tokens: they come back as they went out, and nothing else is accepted."""

import base64

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shop.errors import InvalidRequest
from shop.tokens import (
    MAX_TOKEN_CHARS,
    Attribution,
    Page,
    decode_attribution,
    decode_page,
    encode_attribution,
    encode_page,
    request_fingerprint,
)

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
NOW_MS, EXPIRES_MS = 1_000_000, 2_000_000
PRINT = request_fingerprint(placement="home", shopper="u1", filter_text="", strict=False)


def a_page(count: int = 40) -> Page:
    propensities = np.ones(count, dtype=np.float32)
    propensities[3:5] = (0.9, 0.05)
    return Page(
        release="release-1",
        expires_ms=EXPIRES_MS,
        offset=20,
        rows=np.arange(count, dtype=np.int64)[::-1] + 3_000_000_000,
        values=np.linspace(-5, 900, count, dtype=np.float32),
        propensities=propensities,
        moved=(np.arange(count) % 256).astype(np.uint8),
        sources=(np.arange(count) * 131 % 512).astype(np.uint16),
        losses=(("ranking", "NO_RANKING"), ("history", "NO_HISTORY")),
    )


def an_attribution() -> Attribution:
    return Attribution(
        request_id="request-ü",
        release="release-1",
        arms=("ranker-b", "slots-2"),
        expires_ms=EXPIRES_MS,
        rows=np.array([7, 3, 9], dtype=np.int64),
        propensities=np.array([1.0, 0.9, 0.005], dtype=np.float32),
    )


def test_a_page_comes_back_whole() -> None:
    page = a_page()
    back = decode_page(
        encode_page(page, KEY, fingerprint=PRINT), KEY, fingerprint=PRINT, now_ms=NOW_MS
    )
    assert (back.release, back.expires_ms, back.offset) == ("release-1", EXPIRES_MS, 20)
    assert back.losses == page.losses
    for name in ("rows", "values", "propensities", "moved", "sources"):
        np.testing.assert_array_equal(getattr(back, name), getattr(page, name))


def test_an_attribution_comes_back_whole() -> None:
    sent = an_attribution()
    back = decode_attribution(encode_attribution(sent, KEY), KEY, now_ms=NOW_MS)
    assert (back.request_id, back.release, back.arms) == (sent.request_id, sent.release, sent.arms)
    assert back.expires_ms == EXPIRES_MS
    np.testing.assert_array_equal(back.rows, sent.rows)
    np.testing.assert_array_equal(back.propensities, sent.propensities)


def test_tokens_are_safe_in_a_web_address_and_small() -> None:
    token = encode_page(a_page(500), KEY, fingerprint=PRINT)
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert len(token) < 7_600
    assert len(encode_attribution(an_attribution(), KEY)) < 200


def test_the_longest_page_fits_the_limit() -> None:
    page = a_page(500)
    page.propensities[:] = 0.5
    token = encode_page(page, KEY, fingerprint=PRINT)
    assert len(token) <= MAX_TOKEN_CHARS
    decode_page(token, KEY, fingerprint=PRINT, now_ms=NOW_MS)


def refusal(token: str, *, key: bytes = KEY, fingerprint: bytes = PRINT, now: int = NOW_MS) -> str:
    with pytest.raises(InvalidRequest) as refused:
        decode_page(token, key, fingerprint=fingerprint, now_ms=now)
    assert refused.value.field == "page_token"
    return refused.value.reason


def test_a_foreign_token_is_refused() -> None:
    token = encode_page(a_page(), OTHER_KEY, fingerprint=PRINT)
    assert "not made by this shop" in refusal(token)


def test_an_expired_token_is_refused() -> None:
    token = encode_page(a_page(), KEY, fingerprint=PRINT)
    assert "expired: ask for the first page again" in refusal(token, now=EXPIRES_MS)


def test_an_expired_attribution_token_says_what_to_do_with_the_event() -> None:
    token = encode_attribution(an_attribution(), KEY)
    with pytest.raises(InvalidRequest, match="expired: send the event without it"):
        decode_attribution(token, KEY, now_ms=EXPIRES_MS)


@pytest.mark.parametrize(
    "other",
    [
        {"placement": "cart"},
        {"shopper": "u2"},
        {"filter_text": "in_stock"},
        {"strict": True},
        {"wishes": ("boost 2.0 in_stock",)},
        {"placement": "hom", "shopper": "eu1"},
    ],
)
def test_a_token_of_another_request_is_refused(other: dict[str, object]) -> None:
    same = {"placement": "home", "shopper": "u1", "filter_text": "", "strict": False}
    fingerprint = request_fingerprint(**(same | other))  # type: ignore[arg-type]
    token = encode_page(a_page(), KEY, fingerprint=PRINT)
    assert "another placement, shopper, filter, boost or promotion" in refusal(
        token, fingerprint=fingerprint
    )


def test_an_attribution_token_is_no_page_token() -> None:
    assert "is no page_token" in refusal(encode_attribution(an_attribution(), KEY))


def test_a_token_of_a_later_version_is_refused() -> None:
    token = encode_page(a_page(), KEY, fingerprint=PRINT)
    raw = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    raw[0] = 9
    assert "not made by this shop" in refusal(base64.urlsafe_b64encode(raw).decode().rstrip("="))


@pytest.mark.parametrize("token", ["", "x", "!!!", "ü", "a" * (MAX_TOKEN_CHARS + 1), "AAAA", "="])
def test_what_is_no_token_is_refused(token: str) -> None:
    assert refusal(token)


@given(st.data())
def test_any_changed_character_is_noticed(data: st.DataObject) -> None:
    token = encode_page(a_page(8), KEY, fingerprint=PRINT)
    at = data.draw(st.integers(0, len(token) - 2))  # the last one has bits that mean nothing
    other = data.draw(st.sampled_from("ABCabc012-_").filter(lambda c: c != token[at]))
    assert refusal(token[:at] + other + token[at + 1 :])


@given(st.text(max_size=300))
def test_any_text_is_refused_as_a_page_or_attribution_token(text: str) -> None:
    assert refusal(text)
    with pytest.raises(InvalidRequest, match="attribution_token"):
        decode_attribution(text, KEY, now_ms=NOW_MS)


def test_a_name_that_no_token_can_carry_is_an_error_of_ours() -> None:
    attribution = an_attribution()
    with pytest.raises(ValueError, match="at most 255"):
        encode_attribution(
            Attribution(
                "r" * 256,
                attribution.release,
                (),
                EXPIRES_MS,
                attribution.rows,
                attribution.propensities,
            ),
            KEY,
        )
