"""Who may use the console: tokens, signed sessions, forms, and where a log-in leads."""

import base64
import json

import pytest

from serving.console.access import Access
from serving.console.settings import ConsoleSettings
from serving.console.visits import landing

KEY, OTHER_KEY = bytes(range(32)), bytes(range(1, 33))


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000_000.0


def an_access(clock: Clock | None = None, key: bytes = KEY) -> Access:
    clock = clock or Clock()
    return Access(key, lifetime_s=3_600.0, now_s=lambda: clock.now_s)


def test_only_the_token_itself_opens() -> None:
    access = an_access()
    assert access.is_token(access.token)
    assert access.is_token(f" {access.token}\n"), "people copy a line with its end"
    for wrong in ("", access.token[:-1], access.token.upper(), f"{access.token}0", "ä" * 64):
        assert not access.is_token(wrong)


def test_a_session_comes_back_from_its_cookie_as_it_was() -> None:
    access = an_access()
    session = access.open("Inés, buyer")
    assert access.session(access.cookie(session)) == session


def test_a_cookie_that_was_changed_or_signed_by_another_key_is_worth_nothing() -> None:
    access = an_access()
    body, _, signature = access.cookie(access.open("")).partition(".")
    name, *rest = json.loads(base64.urlsafe_b64decode(body))
    assert name == ""
    forged = base64.urlsafe_b64encode(json.dumps(["root", *rest]).encode()).decode()
    others = an_access(key=OTHER_KEY)
    for cookie in (
        f"{forged}.{signature}",
        f"{body}.",
        body,
        "",
        ".",
        "é.é",
        others.cookie(others.open("Ines")),
    ):
        assert access.session(cookie) is None


def test_a_session_ends_by_age_and_by_logging_out() -> None:
    clock = Clock()
    access = an_access(clock)
    old, left = access.open("Ines"), access.open("Ines")
    access.end(left)
    assert access.session(access.cookie(left)) is None
    assert access.session(access.cookie(old)) == old
    clock.now_s += 3_601.0
    assert access.session(access.cookie(old)) is None


def test_a_form_token_is_good_for_its_own_session_alone() -> None:
    access = an_access()
    mine, another = access.open("Ines"), access.open("Ines")
    assert access.is_form_token(mine, access.form_token(mine))
    assert not access.is_form_token(mine, access.form_token(another))
    assert not access.is_form_token(mine, "")


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://elsewhere.test/",
        "//elsewhere.test/reviews",
        "/\\elsewhere.test",
        "javascript:alert(1)",
        "/static/console.js",
        "/logout",
        "http://[",
        "",
    ],
)
def test_a_log_in_never_leads_elsewhere(elsewhere: str) -> None:
    assert landing(elsewhere) == "/"


def test_a_log_in_leads_to_the_page_that_was_wanted() -> None:
    assert landing("/product?id=P%26Q&version=v1") == "/product?id=P%26Q&version=v1"


def test_beyond_the_loopback_the_console_must_know_its_names() -> None:
    with pytest.raises(ValueError, match="names"):
        ConsoleSettings(host="0.0.0.0")
    assert ConsoleSettings(host="0.0.0.0", names=("console.shop",)).names == ("console.shop",)
    assert ConsoleSettings(host="::1").host == "::1"
