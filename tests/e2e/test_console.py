"""The console of a whole stack: found by `status`, opened by its token, honest about the doors."""

from pathlib import Path

import psutil
import pytest

from serving.client import VitrineClient
from tests.contract.console_calls import ask, logged_in
from tests.e2e.running_stack import RunningStack, eventually


@pytest.fixture
def address(stack: RunningStack) -> str:
    found: str = stack.cli_json("status")["addresses"]["console"]
    return found


@pytest.fixture
def token(stack: RunningStack) -> str:
    """As a person reads it from `vitrine status`."""
    lines = stack.cli("status").stdout.splitlines()
    (line,) = [each for each in lines if each.startswith("console token")]
    return line.split()[2]


def test_the_start_said_where_the_console_is_and_how_to_come_in(
    stack: RunningStack, address: str, token: str
) -> None:
    told = (stack.state_dir / "first_up.txt").read_text()
    assert f"console: {address}/ with the token {token}" in told


def test_no_log_holds_the_token(stack: RunningStack, token: str) -> None:
    for log in Path(stack.folder.logs).iterdir():
        assert token not in log.read_text(errors="replace"), log


def test_the_window_is_the_doors_own_list_and_is_not_logged_as_shown(
    stack: RunningStack, address: str, token: str
) -> None:
    cookie, _ = logged_in(address, token)
    shopper = stack.known_shopper
    path = f"/window?placement=home&count=10&shopper={shopper}"
    page = ask(address, "GET", path, cookie=cookie)
    assert page.status == 200
    shown = [f"/product?id={item.product_id}" for item in stack.home(shopper, page_size=10).items]
    there = [link for link in shown if link in page.text]
    assert len(there) >= 8, "exploration may differ, the list may not"
    assert "Where the time went" in page.text
    assert "two tower" in page.text


def test_the_status_shows_both_doors_serving(stack: RunningStack, address: str, token: str) -> None:
    cookie, _ = logged_in(address, token)

    def serves() -> bool:
        page = ask(address, "GET", "/status", cookie=cookie).text
        return page.count("lamp off") == 0 and page.count("</span> serving") == 2

    assert eventually(serves)
    assert stack.prepared.release in ask(address, "GET", "/status", cookie=cookie).text


def test_a_killed_console_comes_back_and_no_list_fails_meanwhile(
    stack: RunningStack, address: str, token: str
) -> None:
    cookie, _ = logged_in(address, token)
    before = stack.service_pid("console")
    psutil.Process(before).kill()

    def is_back() -> bool:
        with VitrineClient(stack.state.door, timeout_s=10.0) as client:
            assert client.recommend(user_id=stack.known_shopper, placement="home").items
        try:
            return ask(address, "GET", "/status", cookie=cookie).status == 200
        except OSError:
            return False

    assert eventually(is_back)
    assert eventually(lambda: stack.service_pid("console") != before)
