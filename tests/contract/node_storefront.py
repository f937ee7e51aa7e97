"""The example storefront in Node, started for a test and visited as a browser without scripts."""

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "storefront-node"
ROOMY_MS = "5000"  # tests of what is shown must not fail because a machine is busy


def skip_unless_built() -> None:
    """Skips the test, with the way to have it run."""
    if shutil.which("node") is None or not (FOLDER / "dist" / "server.js").exists():
        pytest.skip("the Node storefront is not built; `make storefront` builds it or says why not")


@dataclass
class Form:
    """One of a page's forms: where it goes, what it carries, and the values of its buttons."""

    action: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[str] = field(default_factory=list)


class Page(HTMLParser):
    """What a shopper sees and may press."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.products: list[str] = []
        self.forms: list[Form] = []
        self.notes: list[str] = []
        self._in_note = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._in_note = tag == "p" and values.get("class") == "note"
        if tag == "li":
            self.products.append(values["data-product"])
        elif tag == "form":
            self.forms.append(Form(values["action"]))
        elif tag == "input":
            self.forms[-1].fields[values["name"]] = values["value"]
        elif tag == "button" and "value" in values:
            self.forms[-1].buttons.append(values["value"])

    def handle_data(self, data: str) -> None:
        if self._in_note:
            self.notes.append(data.strip())
            self._in_note = False

    def form(self, action: str) -> Form:
        (found,) = [form for form in self.forms if form.action == action]
        return found

    def choice(self, action: str, nth: int) -> dict[str, Any]:
        chosen: dict[str, Any] = json.loads(self.form(action).buttons[nth])
        return chosen


@dataclass
class Browser:
    """One visitor of a running storefront."""

    address: str
    cookie: str = ""

    def get(self, path: str = "/") -> Page:
        return self._opened(urllib.request.Request(self.address + path))

    def post(self, path: str, **fields: str) -> Page:
        body = urllib.parse.urlencode(fields).encode()
        return self._opened(urllib.request.Request(self.address + path, body))

    def press(self, page: Page, action: str, nth: int | None = None) -> Page:
        """A form's own button, or the nth of those that stand for products."""
        form = page.form(action)
        chosen = {} if nth is None else {"choice": form.buttons[nth]}
        return self.post(action, **form.fields, **chosen)

    def status(self, path: str, body: bytes | None = None) -> int:
        try:
            with urllib.request.urlopen(
                urllib.request.Request(self.address + path, body), timeout=30
            ) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def _opened(self, request: urllib.request.Request) -> Page:
        if self.cookie:
            request.add_header("Cookie", self.cookie)
        with urllib.request.urlopen(request, timeout=30) as answer:
            self.cookie = answer.headers["Set-Cookie"].partition(";")[0]
            return Page(answer.read().decode())


@contextmanager
def node_storefront(door: str, bestsellers: Path, **environment: str) -> Iterator[str]:
    """The address of a storefront that asks `door`, while the block runs."""
    skip_unless_built()
    settings = {"RECOMMEND_TIMEOUT_MS": ROOMY_MS} | environment
    process = subprocess.Popen(
        ["node", "dist/server.js"],
        cwd=FOLDER,
        env=_environment(door, bestsellers, PORT="0", **settings),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        try:
            line = process.stdout.readline()
            assert "http://" in line, "the storefront did not start"
            yield line.split("at ")[1].partition(",")[0]
        finally:
            process.terminate()
            assert process.wait(30) == 0


def write_bestsellers(door: str, bestsellers: Path) -> None:
    """As the shop does it every night."""
    skip_unless_built()
    subprocess.run(
        ["node", "dist/bestsellers.js"],
        cwd=FOLDER,
        env=_environment(door, bestsellers),
        check=True,
        capture_output=True,
        timeout=60,
    )


def _environment(door: str, bestsellers: Path, **more: str) -> dict[str, str]:
    # A machine's proxy must not come between the storefront and a door on the loopback.
    proxy = {"http_proxy": "http://127.0.0.1:1", "grpc_proxy": "http://127.0.0.1:1"}
    return os.environ | proxy | {"VITRINE": door, "BESTSELLERS": str(bestsellers)} | more
