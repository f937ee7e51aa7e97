"""Accessibility of a page, computed in the browser: contrast, names, structure, the order of Tab.

Ratios and thresholds are those of WCAG 2.2 (1.4.3: 4.5, for large text 3).
"""

from typing import Any

from playwright.sync_api import Page

_FAINT = """
() => {
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\\d.]+/g).map(Number);
    return [r, g, b, a];
  };
  const over = (top, under) =>
    [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) {
      layers.push(parse(getComputedStyle(each).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reverse().reduce((under, top) => over(top, under), [255, 255, 255, 1]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.slice(0, 3).map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [high, low] = [light(a), light(b)].sort((x, y) => y - x);
    return (high + 0.05) / (low + 0.05);
  };
  const faint = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const element = node.parentElement;
    if (!node.textContent.trim() || element.closest("svg, .unseen, .skip")) continue;
    if (!element.checkVisibility()) continue;
    const style = getComputedStyle(element);
    const behind = ground(element);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    const found = ratio(over(parse(style.color), behind), behind);
    if (found < (isLarge ? 3 : 4.5)) {
      faint.push(`${found.toFixed(2)}: ${node.textContent.trim().slice(0, 40)}`);
    }
  }
  return faint;
}
"""
_STRUCTURE = """
() => {
  const faults = [];
  const all = (selector) => [...document.querySelectorAll(selector)];
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  if (all("main").length !== 1) faults.push("not one main");
  const levels = all("h1, h2, h3, h4").map((each) => Number(each.tagName[1]));
  if (levels.filter((level) => level === 1).length !== 1) faults.push("not one h1");
  levels.forEach((level, at) => {
    if (level > (at ? levels[at - 1] : 0) + 1) faults.push(`heading ${at} leaves a level out`);
  });
  const ids = all("[id]").map((each) => each.id);
  if (new Set(ids).size !== ids.length) faults.push("an id stands twice");
  for (const each of all("[aria-labelledby], [aria-describedby]")) {
    const named = `${each.getAttribute("aria-labelledby") ?? ""} ` +
      `${each.getAttribute("aria-describedby") ?? ""}`;
    for (const id of named.trim().split(/\\s+/)) {
      if (!document.getElementById(id)) faults.push(`no element ${id}`);
    }
  }
  if (all("img:not([alt])").length) faults.push("an image without alt");
  if (all("th:not([scope])").length) faults.push("a header cell without scope");
  if (all("[tabindex]").some((each) => each.tabIndex > 0)) faults.push("a tab order of its own");
  for (const each of all("nav")) {
    if (!each.getAttribute("aria-label")) faults.push("a nav without a name");
  }
  return faults;
}
"""
_TABBABLE = """
() => [...document.querySelectorAll(
  "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
)].filter((each) => each.checkVisibility({ visibilityProperty: true })).map((each, at) => {
  each.dataset.tab = String(at);
  return each.outerHTML.slice(0, 80);
})
"""
_FOCUSED = """
() => {
  const style = getComputedStyle(document.activeElement);
  const seen = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  return [document.activeElement.dataset.tab ?? "", seen];
}
"""
_ROLES = ("link", "button", "textbox", "combobox", "searchbox")


def faint_texts(page: Page) -> list[str]:
    """Visible texts whose contrast with what is behind them is too low."""
    found: list[str] = page.evaluate(_FAINT)
    return found


def structure_faults(page: Page) -> list[str]:
    """Headings, landmarks, ids and table headers that are wrong."""
    found: list[str] = page.evaluate(_STRUCTURE)
    return found


def nameless_controls(page: Page) -> list[str]:
    """Links, buttons and fields that a screen reader cannot name."""
    return [
        f"{role}: {element.evaluate('each => each.outerHTML')[:80]}"
        for role in _ROLES
        for element in page.get_by_role(role, name="", exact=True).all()  # type: ignore[arg-type]
        if not _name_of(page, element)
    ]


def _name_of(page: Page, element: Any) -> str:
    snapshot: str = element.aria_snapshot()
    return snapshot.partition('"')[2]


def tab_order_faults(page: Page) -> list[str]:
    """Where Tab does not go through the page from top to bottom, or where focus is not seen."""
    there: list[str] = page.evaluate(_TABBABLE)
    page.keyboard.press("Shift")  # from now on the browser shows where the focus is
    page.evaluate("document.querySelector('[data-tab]').focus()")
    faults = []
    for at, element in enumerate(there):
        if at:
            page.keyboard.press("Tab")
        tab, is_seen = page.evaluate(_FOCUSED)
        if tab != str(at):
            return [*faults, f"after {at} steps focus is on {tab!r}, not on {element}"]
        if not is_seen:
            faults.append(f"focus is not seen on {element}")
    return faults
