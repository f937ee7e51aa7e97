"""The example storefront in Node against a scripted door: always a list, every deed told once."""

import json
import socket
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.proto import recommendations_pb2 as pb
from shop.errors import DependencyUnavailable, InvalidRequest, Overloaded, VitrineError
from tests.contract.node_storefront import Browser, node_storefront, write_bestsellers
from tests.contract.scripted_door import STALL, ScriptedDoor, a_list, scripted_door

BESTSELLERS = [f"p{n}" for n in range(1, 13)]


@pytest.fixture(scope="module")
def open_door() -> Iterator[ScriptedDoor]:
    with scripted_door() as opened:
        yield opened


@pytest.fixture(scope="module")
def shop(open_door: ScriptedDoor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    bestsellers = tmp_path_factory.mktemp("shop") / "bestsellers.json"
    write_bestsellers(open_door.address, bestsellers)
    with node_storefront(open_door.address, bestsellers) as address:
        yield address


@pytest.fixture
def door(open_door: ScriptedDoor) -> ScriptedDoor:
    open_door.script.clear()
    open_door.asked.clear()
    open_door.logged.clear()
    open_door.calls = 0
    return open_door


@pytest.fixture
def browser(door: ScriptedDoor, shop: str) -> Browser:
    return Browser(shop)


@pytest.fixture
def patient(door: ScriptedDoor, tmp_path: Path) -> Iterator[Browser]:
    """Of a storefront whose losses are not used up: it asks again only so often."""
    with node_storefront(door.address, tmp_path / "none.json") as address:
        yield Browser(address)


# What a shopper sees


def test_a_page_shows_products_prices_and_why(door: ScriptedDoor, browser: Browser) -> None:
    few = pb.RecommendedProduct(
        product_id="p&1",
        title="<i>Lamp</i>",
        price_minor=199_950,
        list_price_minor=249_950,
        stock=2,
        reason=pb.SIMILAR,
    )
    door.script.append(a_list(items=[few]))
    page = browser.get("/?user=ada")
    assert page.products == ["p&1"]
    assert "<i>" not in page.html
    for shown in ("€1,999.50", "<s>€2,499.50</s>", "only 2 left", "because of what you looked at"):
        assert shown in page.html
    assert not page.notes
    (asked,) = door.asked
    assert (asked.placement, asked.user_id, asked.page_size) == ("home", "ada", 12)
    assert asked.visitor_id


@pytest.mark.parametrize(
    ("currency", "minor", "shown"), [("JPY", 1_980, "¥1,980"), ("USD", 5, "$0.05")]
)
def test_each_currency_has_its_own_minor_digits(
    door: ScriptedDoor, browser: Browser, currency: str, minor: int, shown: str
) -> None:
    item = pb.RecommendedProduct(product_id="p1", title="Lamp", price_minor=minor)
    door.script.append(a_list(items=[item], currency=currency))
    assert shown in browser.get().html


def test_a_product_that_is_not_counted_is_not_called_scarce(
    door: ScriptedDoor, browser: Browser
) -> None:
    assert "left" not in browser.get().html


def test_what_the_list_was_made_without_is_shown(door: ScriptedDoor, browser: Browser) -> None:
    lost = [pb.Degradation(stage="ranking", reason="NO_RANKING")]
    door.script.append(a_list(degraded=lost))
    page = browser.get()
    assert page.notes == ["ranking: NO_RANKING"]
    assert len(page.products) == 12


def test_a_visitor_stays_the_same_from_page_to_page(door: ScriptedDoor, browser: Browser) -> None:
    browser.get()
    browser.get()
    first, second = door.asked
    assert first.visitor_id == second.visitor_id
    Browser(browser.address).get()
    assert door.asked[2].visitor_id != first.visitor_id


def test_further_pages_go_on_where_the_last_ended(door: ScriptedDoor, browser: Browser) -> None:
    door.script.extend([a_list(next_page_token="page-2"), a_list(13, next_page_token="")])
    second = browser.press(browser.get("/?user=ada"), "/more")
    assert second.products[0] == "p13"
    assert second.choice("/click", 0)["position"] == 13
    assert [form.action for form in second.forms] == ["/click"]  # no page after the last
    assert (door.asked[1].page_token, door.asked[1].user_id) == ("page-2", "ada")


def test_whoever_comes_back_too_late_begins_anew(door: ScriptedDoor, browser: Browser) -> None:
    expired = InvalidRequest("page_token", "has expired; ask for the first page again")
    door.script.extend([a_list(next_page_token="page-2"), expired])
    page = browser.press(browser.get(), "/more")
    assert (page.products[0], page.choice("/click", 0)["position"]) == ("p1", 1)
    assert page.notes == ["page: EXPIRED"]
    assert [request.page_token for request in door.asked] == ["", "page-2", ""]


# What happens when the door does not do its part


@pytest.mark.parametrize(
    "loss", [Overloaded("too many calls", 30), DependencyUnavailable("door", "gone")]
)
def test_what_a_moment_mends_nobody_sees(
    door: ScriptedDoor, patient: Browser, loss: VitrineError
) -> None:
    door.script.append(loss)
    page = patient.get()
    assert (len(page.products), page.notes, door.calls) == (12, [], 2)
    assert "€10.01" in page.html


def test_a_shed_call_comes_back_when_it_was_told_to(door: ScriptedDoor, patient: Browser) -> None:
    patient.get()
    door.script.append(Overloaded("too many calls", 400))
    began = time.monotonic()
    assert not patient.get().notes
    assert time.monotonic() - began >= 0.4


@pytest.mark.parametrize(
    ("loss", "note"),
    [
        (InvalidRequest("user_id", "is odd"), "window: INVALID_ARGUMENT"),
        (KeyError("a bug"), "window: INTERNAL"),
        (Overloaded("too many calls", 60_000), "window: RESOURCE_EXHAUSTED"),
    ],
)
def test_what_would_fail_again_is_answered_with_the_bestsellers_at_once(
    door: ScriptedDoor, browser: Browser, loss: Exception, note: str
) -> None:
    door.script.append(loss)
    page = browser.get()
    assert page.products == BESTSELLERS
    assert page.notes == [note]
    assert door.calls == 1
    assert "€" not in page.html  # a price that was right last night is a promise today


def test_a_door_that_stalls_costs_the_deadline_and_no_more(
    door: ScriptedDoor, tmp_path: Path
) -> None:
    bestsellers = tmp_path / "bestsellers.json"
    bestsellers.write_text(json.dumps([{"productId": "b1", "title": "Best"}]))
    with node_storefront(door.address, bestsellers, RECOMMEND_TIMEOUT_MS="300") as address:
        door.script.append(STALL)
        began = time.monotonic()
        page = Browser(address).get()
        assert time.monotonic() - began < 5.0
    assert page.products == ["b1"]
    assert page.notes == ["window: DEADLINE_EXCEEDED"]


def test_without_any_door_the_bestsellers_can_be_looked_at_and_bought(tmp_path: Path) -> None:
    bestsellers = tmp_path / "bestsellers.json"
    bestsellers.write_text(json.dumps([{"productId": "b1", "title": "Best"}]))
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        closed = f"127.0.0.1:{nobody.getsockname()[1]}"
        with node_storefront(closed, bestsellers) as address:
            browser = Browser(address)
            looked = browser.press(browser.get(), "/click", 0)
            bought = browser.press(looked, "/purchase", 0)
    assert bought.products == ["b1"]
    assert bought.notes == ["window: UNAVAILABLE"]


# What is told of shoppers


def test_a_click_and_a_purchase_are_told_with_the_token_of_their_list(
    door: ScriptedDoor, browser: Browser
) -> None:
    door.script.append(a_list(request_id="list-7", attribution_token="token-7"))
    looked = browser.press(browser.get("/?user=ada"), "/click", 2)
    browser.press(looked, "/purchase", 0)
    click, purchase = door.logged
    assert (click.type, purchase.type) == ("click", "purchase")
    for event in (click, purchase):
        assert event.attribution_token == "token-7"
        assert (event.product_id, event.position, event.user_id) == ("p3", 3, "ada")
        assert event.visitor_id == event.session_id == door.asked[0].visitor_id
    assert (click.quantity, purchase.quantity) == (0, 1)
    assert click.idempotency_key != purchase.idempotency_key
    assert [request.placement for request in door.asked] == ["home", "product", "cart"]
    assert list(door.asked[1].context_product_ids) == ["p3"]


def test_a_page_that_is_sent_twice_tells_the_same_deed(
    door: ScriptedDoor, browser: Browser
) -> None:
    page = browser.get()
    for _ in range(2):
        browser.press(page, "/click", 0)
    browser.press(page, "/click", 1)
    keys = [event.idempotency_key for event in door.logged]
    assert keys[0] == keys[1] != keys[2]


def test_a_deed_is_told_before_the_next_list_is_asked_for(
    door: ScriptedDoor, patient: Browser
) -> None:
    page = patient.get()
    door.script.extend([DependencyUnavailable("feedback", "the disk is busy")] * 3)
    patient.press(page, "/click", 0)
    assert [event.type for event in door.logged] == ["click"]
    assert door.calls == 1 + 4 + 1


def test_a_deed_that_cannot_be_told_does_not_stop_the_shopper(
    door: ScriptedDoor, browser: Browser
) -> None:
    page = browser.get()
    door.script.append(InvalidRequest("events[0].attribution_token", "has expired"))
    looked = browser.press(page, "/click", 0)
    assert not door.logged
    assert looked.form("/purchase").buttons
    assert len(looked.products) == 12


@pytest.mark.parametrize(
    "choice",
    ["", "p1", "null", "[]", "{}", '{"productId": 1, "title": "x", "position": 1}', '{"position":'],
)
def test_a_form_that_no_page_sends_is_refused(
    door: ScriptedDoor, browser: Browser, choice: str
) -> None:
    body = urllib.parse.urlencode({"choice": choice}).encode()
    assert browser.status("/click", body) == 400
    assert door.calls == 0


def test_a_flood_is_refused_and_what_is_not_there_is_not_found(
    door: ScriptedDoor, browser: Browser
) -> None:
    assert browser.status("/click", b"choice=" + b"x" * 70_000) == 400
    assert browser.status("/attic") == 404
    assert browser.status("//") == 404
    assert browser.status("/more", b"first=NaN&page_token=x") == 200
    assert browser.get().products
