"""Calls of a console by a client that is no browser: it keeps no cookie and obeys no header."""

import http.client
import re
from dataclasses import dataclass
from urllib.parse import urlencode

FORM = "application/x-www-form-urlencoded"


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def cookie(self) -> str:
        return self.headers["set-cookie"].partition(";")[0]

    @property
    def form_token(self) -> str:
        found = re.search(r'name="form_token" value="(\w+)"', self.text)
        assert found, self.text
        return found.group(1)


def ask(address: str, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request; a header's name is written with underscores."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=10)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    text = answer.read().decode()
    found = {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return Answer(answer.status, found, text)


def post(address: str, path: str, cookie: str, fields: dict[str, str]) -> Answer:
    """A form."""
    return ask(address, "POST", path, urlencode(fields).encode(), content_type=FORM, cookie=cookie)


def logged_in(address: str, token: str) -> tuple[str, str]:
    """The cookie and the form token of a session."""
    page = ask(address, "GET", "/login")
    fields = {"form_token": page.form_token, "name": "Ines", "token": token}
    cookie = post(address, "/login", page.cookie, fields).cookie
    return cookie, ask(address, "GET", "/status", cookie=cookie).form_token
