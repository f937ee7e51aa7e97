"""What the console refuses, asked by a client that is no browser and obeys nobody."""

import stat
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest

from serving.console.guard import HEADERS
from serving.console.invitation import key_file
from serving.describe.versions import Action
from tests.contract.console_calls import FORM, ask, logged_in, post
from tests.contract.running_console import (
    RunningConsole,
    a_draft,
    facts_of_a_jacket,
    running_console,
)

ACTIONS = (
    "/reviews/approve",
    "/reviews/reject",
    "/product/edit",
    "/product/rollback",
    "/product/generate",
    "/submit",
    "/logout",
    "/login",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("guarded")


@pytest.fixture(scope="module")
def console(folder: Path) -> Iterator[RunningConsole]:
    with running_console(folder) as running:
        yield running


def test_without_a_session_there_is_only_the_log_in(console: RunningConsole) -> None:
    for path in (
        "/",
        "/reviews",
        "/product?id=P1",
        "/product/edit",
        "/submit",
        "/window",
        "/status",
    ):
        answer = ask(console.address, "GET", path)
        assert answer.status == 303
        assert answer.headers["location"].startswith("/login?next=")


def test_nothing_is_done_by_get(console: RunningConsole) -> None:
    cookie, _ = logged_in(console.address, console.token)
    for path in ACTIONS:
        if path not in ("/login", "/product/edit", "/submit"):  # which show their forms
            assert ask(console.address, "GET", path, cookie=cookie).status == 405


def test_an_action_needs_the_form_token_of_its_own_session(console: RunningConsole) -> None:
    facts = facts_of_a_jacket("G1", "Jacket G1")
    version = console.texts.add(Action.QUEUED, facts=facts)
    cookie, token = logged_in(console.address, console.token)
    _, another = logged_in(console.address, console.token)
    fields = {"version": version.version_id}
    for wrong in ({}, {"form_token": ""}, {"form_token": another}):
        assert post(console.address, "/reviews/approve", cookie, fields | wrong).status == 403
    assert (
        post(console.address, "/reviews/approve", "", fields | {"form_token": token}).status == 403
    )
    assert console.texts.decisions("G1")[0][0] == "queued"
    right = post(console.address, "/reviews/approve", cookie, fields | {"form_token": token})
    assert right.status == 303
    assert console.texts.shown("G1") == a_draft()
    again = post(console.address, "/reviews/approve", cookie, fields | {"form_token": token})
    assert again.status == 409
    assert "does not wait for review" in again.text


def test_a_visitor_who_is_not_logged_in_cannot_act_with_the_log_ins_form_token(
    console: RunningConsole,
) -> None:
    page = ask(console.address, "GET", "/login")
    fields = {"form_token": page.form_token, "version": "v"}
    assert post(console.address, "/reviews/approve", page.cookie, fields).status == 403


def test_actions_from_other_sites_are_refused_whatever_they_hold(console: RunningConsole) -> None:
    cookie, token = logged_in(console.address, console.token)
    body = urlencode({"form_token": token, "version": "v"}).encode()
    for foreign in (
        {"origin": "https://elsewhere.test"},
        {"origin": "null"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ):
        answer = ask(
            console.address,
            "POST",
            "/reviews/approve",
            body,
            content_type=FORM,
            cookie=cookie,
            **foreign,
        )
        assert answer.status == 403, foreign


def test_another_name_for_this_server_is_refused(console: RunningConsole) -> None:
    for name in ("rebound.test", "rebound.test:80", "127.0.0.1.rebound.test"):
        assert ask(console.address, "GET", "/login", host=name).status == 421


def test_bodies_are_forms_of_a_bounded_size(console: RunningConsole) -> None:
    cookie, token = logged_in(console.address, console.token)
    large = b"version=" + b"x" * (200 << 10)
    assert post(console.address, "/reviews/approve", cookie, {"form_token": token}).status == 400
    for body, kind, status in (
        (large, FORM, 413),
        (b"a=1&" * 100, FORM, 400),
        (b"a=%ff", FORM, 400),
        (b"\xff", FORM, 400),
        (b"{}", "application/json", 415),
    ):
        answer = ask(
            console.address, "POST", "/reviews/approve", body, content_type=kind, cookie=cookie
        )
        assert answer.status == status


def test_every_answer_carries_the_strict_headers(console: RunningConsole) -> None:
    for path in ("/login", "/static/console.css", "/nowhere", "/reviews"):
        answer = ask(console.address, "GET", path)
        for name, value in HEADERS.items():
            assert answer.headers[name] == value, path
        assert "server" not in answer.headers
    assert ask(console.address, "GET", "/login").headers["cache-control"] == "no-store"
    assert "unsafe" not in HEADERS["content-security-policy"]


def test_the_cookie_is_for_this_server_and_no_script(console: RunningConsole) -> None:
    told = ask(console.address, "GET", "/login").headers["set-cookie"].lower()
    assert "httponly" in told
    assert "samesite=strict" in told


def test_the_token_lies_in_a_file_for_its_owner_alone(
    console: RunningConsole, folder: Path
) -> None:
    file = key_file(folder / "state")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text().strip() == console.token


def test_logs_hold_neither_tokens_nor_what_was_asked(console: RunningConsole, folder: Path) -> None:
    cookie, _ = logged_in(console.address, console.token)
    ask(console.address, "GET", "/product?id=very-secret-product", cookie=cookie)
    log = (folder / "console.log").read_text()
    assert '"path": "/product"' in log
    for secret in (console.token, "very-secret-product", cookie.partition("=")[2]):
        assert secret not in log
