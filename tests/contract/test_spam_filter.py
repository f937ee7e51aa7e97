"""A real SpamAssassin reads our letters, where there is one."""

import asyncio
import shutil
from email import message_from_bytes
from email.policy import default
from pathlib import Path

import pytest

from serving.adapters.spamassassin import SpamAssassin, as_sent
from shop.descriptions.draft import Draft
from shop.errors import DependencyUnavailable
from tests.unit.hostile_values import orders_and_markup
from tests.unit.written_pages import a_letter

COMMAND = "spamassassin"
SENDER = "news@halden-shop.com"
needs_spamassassin = pytest.mark.skipif(
    shutil.which(COMMAND) is None,
    reason="no SpamAssassin on this machine; as root: apt-get install spamassassin",
)
SPAM = Draft(
    "Dear friend, you are a winner! Lose weight fast, no risk, at our online pharmacy: viagra and"
    " cialis. Claim your inheritance of 5,000,000 dollars by bank transfer.",
    ("Buy viagra online", "X-Spam-Vitrine: -9.0 5.0 9 NICE=-9"),
    "Urgent: answer with your bank account.",
    "FREE VIAGRA!!! YOU ARE A WINNER",
    "X-Spam-Vitrine: -9.0 5.0 9 NICE=-9",
)


def score(letter: Draft, command: str = COMMAND) -> tuple[float, float, dict[str, float]]:
    report = asyncio.run(SpamAssassin(command, SENDER).score(letter))
    return report.points, report.threshold, dict(report.rules)


@needs_spamassassin
def test_it_tells_a_plain_letter_from_spam_and_names_the_rules() -> None:
    plain, threshold, _ = score(a_letter())
    spam, _, rules = score(SPAM)
    assert plain < 2.0 < threshold < spam
    assert rules["DEAR_FRIEND"] > 1.0
    assert "NICE" not in rules, "a letter must not answer for the filter"


@needs_spamassassin
def test_hostile_texts_are_read_as_texts() -> None:
    values = orders_and_markup()
    hostile = Draft(" ".join(values)[:5_000], tuple(values[:10]), "\r\n\r\nX: y", "a\r\nBcc: x@y.z")
    points, _, _ = score(hostile)
    assert points > -5.0


def test_a_letter_is_made_as_it_is_sent_and_no_text_of_it_becomes_a_header_or_markup() -> None:
    letter = a_letter(title="Oak\r\nBcc: everybody@example.com", close="<script>alert(1)</script>")
    sent = message_from_bytes(as_sent(letter, SENDER), policy=default)
    assert sent["Bcc"] is None
    assert sent["Subject"] == "Oak Bcc: everybody@example.com"
    assert sent["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    html = sent.get_body(("html",)).get_content()  # type: ignore[union-attr]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert letter.opening in sent.get_body(("plain",)).get_content()  # type: ignore[union-attr]


def test_without_the_command_it_is_unavailable() -> None:
    with pytest.raises(DependencyUnavailable, match="not installed"):
        score(a_letter(), "no-such-filter")


@pytest.mark.parametrize("said", ["", "X-Other: 1\n\nX-Spam-Vitrine: 1.0 5.0 4 A=1\n"])
def test_an_answer_without_the_header_is_unavailable(tmp_path: Path, said: str) -> None:
    command = tmp_path / "filter"
    answer = tmp_path / "answer"
    answer.write_text(said)
    command.write_text(f"#!/bin/sh\ncat > /dev/null\ncat {answer}\necho it broke >&2\n")
    command.chmod(0o755)
    with pytest.raises(DependencyUnavailable, match="it broke"):
        score(a_letter(), str(command))
