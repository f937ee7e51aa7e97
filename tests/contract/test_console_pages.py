"""The console in a real browser: texts written again, and pages that are no product's."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from serving.adapters.photos import read_photo
from serving.describe.call import Wish
from serving.describe.handing_in import submit_photo
from serving.describe.versions import Action
from shop.descriptions.draft import Draft
from shop.descriptions.pages import PageKind
from tests.contract.running_browser import a_page, running_browser
from tests.contract.running_console import (
    RunningConsole,
    a_draft,
    facts_of_a_jacket,
    running_console,
)
from tests.contract.test_console_browser import OLD, log_in
from tests.unit.drawn_photos import a_photo, as_file

OFFER = "offer=20 % discount on every jacket until 30 November"
OPENING = "Until 30 November every jacket of ours comes with a 20 % discount."
CLOSE = "Have a look at it in the shop, and tell us how you like it."


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as found:
        yield found


@pytest.fixture(scope="module")
def console(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningConsole]:
    with running_console(tmp_path_factory.mktemp("pages")) as running:
        yield running


@pytest.fixture
def page(browser: Browser, console: RunningConsole) -> Iterator[Page]:
    with a_page(browser) as opened:
        log_in(opened, console)
        yield opened


def test_a_text_is_generated_again_by_keyboard_and_shown_with_what_became_of_it(
    page: Page, console: RunningConsole
) -> None:
    facts = facts_of_a_jacket("G1", "Jacket G1")
    console.texts.add(Action.PUBLISHED, facts=facts, draft=a_draft(OLD))
    console.texts.answers.append(a_draft().to_json())
    page.goto(f"{console.address}/product?id=G1")
    page.keyboard.press("g")
    page.get_by_role("button", name="Write a new version").click()
    expect(page.get_by_role("status")).to_contain_text("Published")
    expect(page.get_by_text("Version 2 of 2")).to_be_visible()
    assert console.texts.shown("G1") == a_draft()
    assert console.texts.decisions("G1")[0][:2] == ("published", "Ines")


def test_where_no_model_runs_the_page_says_so_and_the_text_stays(
    page: Page, console: RunningConsole
) -> None:
    facts = facts_of_a_jacket("G2", "Jacket G2")
    console.texts.add(Action.PUBLISHED, facts=facts, draft=a_draft(OLD))
    page.goto(f"{console.address}/product?id=G2")
    page.keyboard.press("g")
    page.get_by_role("button", name="Write a new version").click()
    expect(page.locator("main")).to_contain_text("no language model runs here")
    assert console.texts.shown("G2") == a_draft(OLD)


def test_the_first_text_of_a_product_is_written_from_its_empty_page(
    page: Page, console: RunningConsole
) -> None:
    console.texts.add(Action.PUBLISHED, facts=facts_of_a_jacket("G3"))  # makes it known
    known = console.texts.known
    known["G4"] = known["G3"]
    console.texts.answers.append(a_draft().to_json())
    page.goto(f"{console.address}/product?id=G4")
    page.get_by_role("button", name="Have one written").click()
    expect(page.get_by_text("Version 1 of 1")).to_be_visible()
    assert console.texts.shown("G4") == a_draft()


def hand_in(page: Page, console: RunningConsole, name: str, opening: str = OPENING) -> None:
    page.goto(f"{console.address}/reviews")
    page.get_by_role("link", name="Hand in a text").click()
    page.get_by_label("Kind").select_option("campaign")
    page.get_by_label("Its id").fill(name)
    page.get_by_label("Subject or title").fill("20 % discount on every jacket")
    page.get_by_label("Preview line").fill("For rainy days, until 30 November.")
    page.get_by_label("Opening").fill(opening)
    page.get_by_label("Close").fill(CLOSE)
    page.get_by_label("What the shop states").fill(OFFER)
    page.get_by_role("button", name="Check this text").click()
    expect(page.get_by_role("status")).to_be_visible()  # keys before that are of the page before


def test_a_campaign_is_handed_in_reviewed_published_and_taken_back(
    page: Page, console: RunningConsole
) -> None:
    hand_in(page, console, "spring")
    expect(page.get_by_role("status")).to_contain_text("waits for a decision")
    expect(page.get_by_role("heading", level=1)).to_have_text("20 % discount on every jacket")
    expect(page.get_by_role("row", name="spam points allowed")).to_contain_text("5.00")
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Approved")
    hand_in(page, console, "spring", OPENING.replace("every jacket of ours", "each jacket of ours"))
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Approved")
    page.goto(f"{console.address}/product?id=spring&kind=campaign")
    page.keyboard.press("b")
    page.get_by_role("button", name="Show version 1 again").click()
    expect(page.get_by_role("status")).to_contain_text("Rolled back")
    kept = console.texts.wait_for(console.texts.store.published("spring", PageKind.CAMPAIGN))
    assert kept.version.text.opening == OPENING
    assert kept.number == 1


def test_an_unstated_promise_is_refused_with_its_words_marked(
    page: Page, console: RunningConsole
) -> None:
    hand_in(page, console, "untrue", OPENING.replace("20 %", "50 %"))
    expect(page.get_by_role("status")).to_contain_text("Rejected by the checks")
    expect(page.locator(".page-text .unsupported").first).to_contain_text("50 %")


def test_the_queue_shows_one_kind_alone_and_a_letter_is_edited_with_its_subject(
    page: Page, console: RunningConsole
) -> None:
    console.texts.add(Action.QUEUED, facts=facts_of_a_jacket("K1", "Jacket K1"))
    hand_in(page, console, "summer")
    page.goto(f"{console.address}/reviews")
    page.get_by_role("link", name="Campaigns").click()
    expect(page.locator("[data-row]")).to_have_count(1)
    page.locator("[data-row]").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()
    page.keyboard.press("e")
    page.get_by_label("Subject").fill("Jackets, 50 % off")
    page.get_by_role("button", name="Publish this text").click()
    expect(page.get_by_role("alert")).to_contain_text("50 %")
    page.get_by_label("Subject").fill("Jackets with a 20 % discount")
    page.get_by_role("button", name="Publish this text").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Jackets with a 20 % discount")


def test_a_form_with_a_mistake_comes_back_filled_in(page: Page, console: RunningConsole) -> None:
    page.goto(f"{console.address}/submit?kind=campaign&id=odd")
    page.get_by_label("Subject or title").fill("Jackets & <b>more</b>")
    page.get_by_label("Opening").fill(OPENING)
    page.get_by_label("What the shop states").fill("no equals sign")
    page.get_by_role("button", name="Check this text").click()
    expect(page.get_by_role("alert")).to_contain_text("write NAME=VALUE")
    expect(page.get_by_label("Subject or title")).to_have_value("Jackets & <b>more</b>")


def test_a_photo_is_reviewed_with_its_figures_beside_it(
    page: Page, console: RunningConsole
) -> None:
    console.texts.add(Action.PUBLISHED, facts=facts_of_a_jacket("F1", "Jacket F1"))
    photo = read_photo(as_file(a_photo(3)), thumbnail_side=112)
    wish = Wish("F1", "studio", 0, None, PageKind.PHOTO)
    alt = Draft("A navy jacket with a hood.", (), "")
    assert console.texts.deps is not None
    console.texts.wait_for(submit_photo(wish, alt, photo, console.texts.deps))
    page.goto(f"{console.address}/reviews?kind=photo")
    page.locator("[data-row]").first.click()
    shown = page.get_by_role("img", name="A navy jacket with a hood.")
    expect(shown).to_be_visible()
    assert shown.evaluate("image => image.complete && image.naturalWidth") == 120
    expect(page.get_by_role("row", name="sharpness")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("status")).to_contain_text("Approved")
    kept = console.texts.wait_for(console.texts.store.published("F1", PageKind.PHOTO))
    assert kept.version.photo == photo.digest
