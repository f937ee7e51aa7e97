"""The console in a real browser: what merchandisers and operators do, by keyboard and by mouse."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.describe.versions import Action, Impact
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.faults import Fault, FaultKind
from shop.errors import InvalidRequest
from tests.contract.accessibility import (
    faint_texts,
    nameless_controls,
    structure_faults,
    tab_order_faults,
)
from tests.contract.running_browser import a_page, running_browser
from tests.contract.running_console import (
    RunningConsole,
    a_draft,
    explained,
    facts_of_a_jacket,
    running_console,
)
from tests.unit.hostile_values import orders_and_markup

OLD = "A warm jacket for rainy days."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def console(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with running_console(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, console: RunningConsole) -> Iterator[Page]:
    with a_page(browser) as opened:
        log_in(opened, console)
        yield opened


def log_in(page: Page, console: RunningConsole) -> None:
    page.goto(console.address)
    page.get_by_label("Your name").fill("Ines")
    page.get_by_label("Token").fill(console.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Texts that wait for you")


def a_product(console: RunningConsole, product_id: str, *, impact: float = 1.0) -> str:
    """A product with a text on its page and a new one that waits; gives the new one's id."""
    facts = facts_of_a_jacket(product_id, f"Jacket {product_id}")
    console.texts.add(Action.PUBLISHED, facts=facts, draft=a_draft(OLD))
    waiting = console.texts.add(Action.QUEUED, facts=facts, impact=Impact(impact, 1_000.0, 1.0))
    return waiting.version_id


def open_product(page: Page, console: RunningConsole, product_id: str) -> None:
    page.goto(f"{console.address}/product?id={product_id}")


def test_a_wrong_token_is_refused_and_said(browser: Browser, console: RunningConsole) -> None:
    with a_page(browser) as page:
        page.goto(f"{console.address}/window")
        page.get_by_label("Your name").fill("Ines")
        page.get_by_label("Token").fill("0" * 64)
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("That is not the token")
        expect(page.get_by_label("Token")).to_be_focused()
        page.get_by_label("Token").fill(console.token)
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{console.address}/window")  # where one wanted to go


def test_logging_out_ends_the_session_for_whoever_kept_the_cookie(
    browser: Browser, console: RunningConsole
) -> None:
    with a_page(browser) as page:
        log_in(page, console)
        kept = page.context.cookies()
        page.get_by_role("button", name="Log out").click()
        page.context.add_cookies(kept)
        page.goto(f"{console.address}/reviews")
        expect(page).to_have_url(f"{console.address}/login?next=%2Freviews")


def test_the_queue_is_ordered_by_impact_and_walked_by_keyboard(
    page: Page, console: RunningConsole
) -> None:
    for product_id, impact in (("Q1", 20.0), ("Q2", 900.0), ("Q3", 70.0)):
        a_product(console, product_id, impact=impact)
    page.goto(f"{console.address}/reviews")
    titles = page.locator(".row-title").all_inner_texts()
    assert [title for title in titles if title[-2:] in ("Q1", "Q2", "Q3")] == [
        "Jacket Q2",
        "Jacket Q3",
        "Jacket Q1",
    ]
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("[data-row]").first).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text(titles[0])


def test_a_text_is_approved_by_one_key_and_the_next_comes(
    page: Page, console: RunningConsole
) -> None:
    a_product(console, "A1", impact=5_000.0)
    a_product(console, "A2", impact=4_999.0)
    open_product(page, console, "A1")
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Approved")
    expect(page.get_by_role("heading", level=1)).to_have_text("Jacket A2")
    assert console.texts.shown("A1") == a_draft()
    assert console.texts.decisions("A1")[0] == ("approved", "Ines", "")


def test_a_text_is_rejected_by_keyboard_with_a_reason(page: Page, console: RunningConsole) -> None:
    a_product(console, "R1")
    open_product(page, console, "R1")
    page.keyboard.press("r")
    expect(page.get_by_label("Why?")).to_be_focused()
    page.keyboard.type("a dull text")  # keys of the page mean nothing while somebody writes
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("Rejected")
    assert console.texts.decisions("R1")[0] == ("rejected", "Ines", "a dull text")
    assert console.texts.shown("R1") == a_draft(OLD)


def test_keys_do_nothing_once_they_are_turned_off(page: Page, console: RunningConsole) -> None:
    a_product(console, "K1")
    open_product(page, console, "K1")
    page.get_by_role("button", name="Keyboard shortcuts").click()
    page.reload()
    page.keyboard.press("a")
    page.keyboard.press("Tab")  # comes after whatever the key would have done
    expect(page.get_by_role("link", name="Skip to the page")).to_be_focused()
    assert console.texts.shown("K1") == a_draft(OLD)


def test_an_edit_is_held_to_the_facts_and_then_published(
    page: Page, console: RunningConsole
) -> None:
    a_product(console, "E1")
    open_product(page, console, "E1")
    page.keyboard.press("e")
    page.get_by_label("Opening").fill("A light jacket for rainy days, made of cashmere.")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("alert")).to_contain_text("cashmere")
    expect(page.get_by_label("Opening")).to_have_value(
        "A light jacket for rainy days, made of cashmere."
    )
    assert console.texts.shown("E1") == a_draft(OLD)
    page.get_by_label("Opening").fill("A light jacket in navy for rainy days.")
    page.get_by_role("button", name="Publish").click()
    expect(page.get_by_role("status")).to_contain_text("Published as you wrote it")
    shown = console.texts.shown("E1")
    assert shown.opening == "A light jacket in navy for rainy days."
    assert shown.bullets == a_draft().bullets


def test_a_text_is_rolled_back_in_two_clicks(page: Page, console: RunningConsole) -> None:
    a_product(console, "B1")
    open_product(page, console, "B1")
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Approved")
    open_product(page, console, "B1")
    page.get_by_text("Roll back", exact=True).click()
    page.get_by_role("button", name="Show version 1 again").click()
    expect(page.get_by_role("status")).to_contain_text("Rolled back")
    assert console.texts.shown("B1") == a_draft(OLD)


def test_two_versions_stand_side_by_side_with_words_that_differ_marked(
    page: Page, console: RunningConsole
) -> None:
    a_product(console, "D1")
    page.set_viewport_size({"width": 1280, "height": 900})
    open_product(page, console, "D1")
    left = page.get_by_role("region", name="On the page now")
    right = page.get_by_role("region", name="Proposed")
    expect(left.locator("del").first).to_have_text("warm")
    expect(right.locator("ins").first).to_have_text("light")
    boxes = left.bounding_box(), right.bounding_box()
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


def test_a_claim_leads_to_the_fact_that_grants_it(page: Page, console: RunningConsole) -> None:
    a_product(console, "C1")
    open_product(page, console, "C1")
    claim = page.get_by_role("region", name="Proposed").get_by_role("link", name="420 g")
    claim.focus()
    row = page.get_by_role("row", name="weight")
    expect(row).to_have_class("pointed-out")
    claim.click()
    assert page.evaluate("document.querySelector('tr:target th').textContent") == "weight"


def test_a_claim_without_a_fact_stands_out(page: Page, console: RunningConsole) -> None:
    facts = facts_of_a_jacket("U1", "Jacket U1")
    draft = a_draft("A light jacket for rainy days, made of cashmere.")
    fault = Fault(FaultKind.INVENTED, "cashmere", "is on no line of the facts")
    console.texts.add(Action.REJECTED, facts=facts, draft=draft, faults=[fault])
    open_product(page, console, "U1")
    expect(page.locator(".page-text .unsupported")).to_have_text("cashmere")
    expect(page.get_by_text("1 without a fact.")).to_be_visible()


def test_hostile_texts_come_out_as_the_texts_they_are(page: Page, console: RunningConsole) -> None:
    values = [value for value in orders_and_markup() if len(value) < 200]
    attributes = tuple(Attribute(f"x{n} {v}"[:80], v) for n, v in enumerate(values))
    name = "<img src=x onerror=alert(1)>"
    facts = Facts("H1\"'><script>alert(2)</script>", name, name, name, attributes)
    draft = Draft(" ".join(values)[:4_000], tuple(values[:20]), "{{ 7 * 7 }} </textarea><script>")
    fault = Fault(FaultKind.INVENTED, name, "<b>bold</b>")
    for action in (Action.PUBLISHED, Action.QUEUED):
        console.texts.add(
            action, facts=facts, draft=draft, faults=[fault], actor=name, model=name,
            impact=Impact(9e6, 1e3, 1.0),
        )  # fmt: skip
    page.goto(f"{console.address}/reviews")
    _nothing_came_alive(page)
    page.locator("[data-row]").first.click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    assert "{{ 7 * 7 }}" in page.locator("main").inner_text()
    _nothing_came_alive(page)
    page.keyboard.press("e")
    expect(page.get_by_label("Close")).to_have_value(draft.close)
    _nothing_came_alive(page)
    page.goto(f"{console.address}/product?id={'%3Csvg/onload=alert(3)%3E'}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("<svg/onload=alert(3)>")
    console.door.script.append(explained())
    console.door.script[-1].items[0].title = name  # type: ignore[union-attr]
    page.goto(f"{console.address}/window?placement=home&shopper=%22%3E{name}")
    expect(page.locator(".product-title").first).to_contain_text(name)
    _nothing_came_alive(page)


def _nothing_came_alive(page: Page) -> None:
    strange = "main script, main img, main iframe, main [onerror], main [onload], main b"
    assert page.locator(strange).count() == 0
    assert page.locator("main a[href^='javascript'], main a[href*='//']").count() == 0


def test_the_window_shows_the_list_why_and_where_the_time_went(
    page: Page, console: RunningConsole
) -> None:
    page.goto(f"{console.address}/window")
    expect(page.get_by_label("Shopper")).to_have_value("U0000042")
    console.door.script.append(explained())
    page.get_by_label("Placement", exact=True).select_option("cart")
    page.get_by_role("button", name="Look").click()
    expect(page.locator(".product")).to_have_count(6)
    asked = console.door.asked[-1]
    assert (asked.user_id, asked.placement, asked.explain) == ("U0000042", "cart", True)
    assert asked.preview, "a look of ours must not be logged as shown to the shopper"
    first = page.locator(".product").first
    first.get_by_text("Why it is here").click()
    expect(first.get_by_role("row", name="purchase")).to_contain_text("2.00 %")
    expect(first).to_contain_text("two tower (0.810)")
    expect(page.get_by_role("row", name="ranking")).to_contain_text("2.30")
    expect(page.get_by_text("lookups: STALE_PRICE")).to_be_visible()


def test_a_question_that_the_door_refuses_is_answered_beside_the_form(
    page: Page, console: RunningConsole
) -> None:
    console.door.script.append(InvalidRequest("filter", "ends too early"))
    page.goto(f"{console.address}/window?placement=home&filter=price+%3C")
    expect(page.get_by_role("alert")).to_have_text("filter: ends too early")
    expect(page.get_by_label("Filter")).to_have_value("price <")


def test_the_status_tells_a_door_that_does_not_serve(page: Page, console: RunningConsole) -> None:
    from grpc_health.v1 import health_pb2

    page.goto(f"{console.address}/status")
    door = page.get_by_role("row", name="recommendations")
    expect(door).to_contain_text("serving")
    console.health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
    try:
        page.get_by_role("link", name="Look again").click()
        expect(door).to_contain_text("not serving")
    finally:
        console.health.set("", health_pb2.HealthCheckResponse.SERVING)


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_can_be_read_and_used_by_everybody(
    browser: Browser, console: RunningConsole, width: int, scheme: str
) -> None:
    product_id = f"Z{width}{scheme}"
    console.texts.add(Action.PUBLISHED, facts=facts_of_a_jacket(product_id))
    version_id = a_product(console, product_id)
    size = {"width": width, "height": 900}
    with a_page(browser, viewport=size, color_scheme=scheme) as page:
        log_in(page, console)
        console.door.script.append(explained())
        for path in (
            "/reviews",
            f"/product?id={product_id}",
            f"/product/edit?id={product_id}&version={version_id}",
            "/submit?kind=campaign",
            "/window?placement=home&shopper=U1",
            "/status",
            "/product?id=unknown",
        ):
            page.goto(console.address + path)
            for details in page.locator("details:not(.ask) > summary").all():
                details.click()
            assert faint_texts(page) == [], path
            if scheme == "light":  # colours change nothing of the rest
                assert nameless_controls(page) == [], path
                assert structure_faults(page) == [], path
                assert tab_order_faults(page) == [], path
            assert width_of(page) <= width, path
            for question in page.locator("details.ask > summary").all():
                question.click()
                assert faint_texts(page) == [], path
                assert width_of(page) <= width, path


def width_of(page: Page) -> int:
    """Pixels; more than the window has means scrolling sideways."""
    wide: int = page.evaluate("document.documentElement.scrollWidth")
    return wide
