"""Storefronts in other languages and styles, against the whole stack."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving.async_client import AsyncVitrineClient
from serving.client import new_event
from serving.proto import recommendations_pb2 as pb
from tests.contract.node_storefront import Browser, Page, node_storefront, write_bestsellers
from tests.e2e.running_stack import RunningStack, eventually


@pytest.fixture
def browser(stack: RunningStack, tmp_path: Path) -> Iterator[Browser]:
    bestsellers = tmp_path / "bestsellers.json"
    write_bestsellers(stack.state.door, bestsellers)
    with node_storefront(stack.state.door, bestsellers) as address:
        yield Browser(address)


def visitor_of(browser: Browser) -> str:
    return browser.cookie.removeprefix("visitor=")


def counts_already(stack: RunningStack, page: Page, kind: str, nth: int, visitor: str) -> bool:
    """Whether the door knows the event that pressing the nth button of `page` tells."""
    form, choice = page.form(f"/{kind}"), page.choice(f"/{kind}", nth)
    again = pb.Event(
        idempotency_key=f"{form.fields['list']}:{kind}:{choice['position']}",
        type=kind,
        visitor_id=visitor,
        product_id=choice["productId"],
    )
    return stack.client.log_events([again]).duplicates == 1


def test_a_shop_window_in_node_shows_a_personal_list_in_pages(
    stack: RunningStack, browser: Browser
) -> None:
    first = browser.get(f"/?user={stack.known_shopper}")
    second = browser.press(first, "/more")
    assert len({*first.products, *second.products}) == 24
    assert not first.notes + second.notes
    assert "picked for you" in first.html
    assert first.html.count("€") >= 12


def test_a_click_in_node_is_on_disk_and_changes_the_next_list(
    stack: RunningStack, browser: Browser
) -> None:
    home = browser.get()
    visitor = visitor_of(browser)
    looked = browser.press(home, "/click", 3)
    assert looked.form("/purchase").fields["token"] == home.form("/click").fields["token"]
    bought = browser.press(looked, "/purchase", 0)
    assert len(looked.products) == len(bought.products) == 12
    assert counts_already(stack, home, "click", 3, visitor)
    assert counts_already(stack, looked, "purchase", 0, visitor)
    assert not counts_already(stack, home, "click", 4, visitor)
    reply = stack.client.recommend(visitor_id=visitor, placement="home", page_size=100)
    assert {"item_item", "history"} & {source for item in reply.items for source in item.sources}


def test_what_is_lost_behind_the_door_is_shown_in_the_window(
    stack: RunningStack, browser: Browser
) -> None:
    seen: list[Page] = []

    def is_shown() -> bool:
        seen.append(browser.get(f"/?user={stack.known_shopper}"))
        return bool(seen[-1].notes)

    with stack.fault("promotions", dead=True):
        assert eventually(is_shown)
    assert seen[-1].notes == ["lookups: DEFAULT_OFFER"]
    assert all(len(page.products) == 12 for page in seen)


def test_the_asynchronous_client_asks_for_many_at_once(stack: RunningStack) -> None:
    async def ask() -> list[pb.RecommendResponse]:
        async with AsyncVitrineClient(stack.state.door, timeout_s=10.0) as shop:
            replies = await asyncio.gather(
                *(shop.recommend(user_id=f"async-{n}", placement="home") for n in range(8))
            )
            event = new_event("click", user_id="async-0", product_id=replies[0].items[0].product_id)
            assert (await shop.log_events([event])).accepted == 1
            return replies

    assert [len(reply.items) for reply in asyncio.run(ask())] == [20] * 8
