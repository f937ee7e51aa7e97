"""SpamAssassin: what a mail server's spam filter says of a letter, by its own command.

The letter is made as it would be sent: plain text and HTML, the sender, and a way to unsubscribe by
one click (RFC 8058). Tests that ask the network (block lists, SPF, DKIM) are off: they judge the
server that sends, which is not this one.
"""

import asyncio
import re
import shutil
import subprocess
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate, make_msgid
from html import escape

from shop.descriptions.deliverability import SpamReport
from shop.descriptions.draft import Draft
from shop.errors import DependencyTimeout, DependencyUnavailable

_TIMEOUT_S = 20.0  # it reads its rules for a second, and three times that on a busy machine
_MOST_BYTES = 1 << 20
_OPTIONS = (
    "--local",
    "--nocreate-prefs",
    "--cf=use_bayes 0",  # what this machine's own mail taught it says nothing of others
    "--cf=report_safe 0",
    "--cf=clear_headers",
    "--cf=add_header all Vitrine _SCORE_ _REQD_ _VERSION_ _TESTSSCORES(,)_",
)
_TOLD = re.compile(
    rb"^X-Spam-Vitrine: (?P<points>-?[\d.]+) (?P<threshold>[\d.]+) (?P<version>[\w.-]+)"
    rb"(?P<rules>.*(?:\n[ \t].*)*)",
    re.MULTILINE,
)
_RULE = re.compile(r"([A-Z][A-Z0-9_]*)=(-?\d+(?:\.\d+)?)")


class SpamAssassin:
    """The command on this machine; asked anew for each letter."""

    def __init__(self, command: str, sender: str) -> None:
        """`command` is its name or path; whether it is there shows at the first letter."""
        self._command = command
        self._sender = sender

    async def score(self, letter: Draft) -> SpamReport:
        """A second's work in a process of its own. Raises DependencyUnavailable or -Timeout."""
        return await asyncio.to_thread(self._score, letter)

    def _score(self, letter: Draft) -> SpamReport:
        program = shutil.which(self._command)
        if program is None:
            raise DependencyUnavailable("spam filter", f"{self._command} is not installed")
        try:
            done = subprocess.run(
                [program, *_OPTIONS],
                input=as_sent(letter, self._sender),
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise DependencyTimeout("spam filter", f"no answer in {_TIMEOUT_S:g} s") from error
        except OSError as error:
            raise DependencyUnavailable("spam filter", str(error)) from error
        return _report(done.stdout[:_MOST_BYTES], done.stderr)


def as_sent(letter: Draft, sender: str) -> bytes:
    """The letter as mail servers get it. Whatever the texts hold, they are texts."""
    local, _, domain = sender.partition("@")
    message = EmailMessage(policy=SMTP)
    message["From"] = Address("", local, domain)
    message["To"] = Address("", "customer", domain)
    message["Subject"] = " ".join(letter.title.split())
    message["Date"] = formatdate()
    message["Message-ID"] = make_msgid(domain=domain)
    message["List-Unsubscribe"] = f"<https://{domain}/unsubscribe>"
    message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    leaving = f"https://{domain}/unsubscribe"
    bullets = [f"- {bullet}" for bullet in letter.bullets]
    plain = [letter.summary, letter.opening, *bullets, letter.close, f"Unsubscribe: {leaving}"]
    message.set_content("\n\n".join(part for part in plain if part) + "\n")
    message.add_alternative(_html(letter, leaving), subtype="html")
    return message.as_bytes()


def _html(letter: Draft, leaving: str) -> str:
    listed = "".join(f"<li>{escape(bullet)}</li>" for bullet in letter.bullets)
    return (
        f'<!doctype html>\n<html lang="en"><head><title>{escape(letter.title)}</title></head><body>'
        f"\n<p>{escape(letter.summary)}</p>\n<p>{escape(letter.opening)}</p>\n"
        f"{f'<ul>{listed}</ul>' if listed else ''}\n<p>{escape(letter.close)}</p>\n"
        f'<p><a href="{leaving}">Unsubscribe</a></p>\n</body></html>\n'
    )


def _report(output: bytes, complaint: bytes) -> SpamReport:
    """From the header that we asked for; it stands before everything that the letter holds."""
    head = output.replace(b"\r\n", b"\n").partition(b"\n\n")[0]
    told = _TOLD.search(head)
    if told is None:
        said = complaint.decode(errors="replace").strip().splitlines()
        reason = said[-1][:200] if said else "its answer cannot be read"
        raise DependencyUnavailable("spam filter", reason)
    rules = "".join(told["rules"].decode(errors="replace").split())
    return SpamReport(
        points=float(told["points"]),
        threshold=max(float(told["threshold"]), 0.1),
        rules=tuple((name, float(points)) for name, points in _RULE.findall(rules)),
        scorer=f"SpamAssassin {told['version'].decode()}",
    )
