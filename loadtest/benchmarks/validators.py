"""Bench `validators`: what they find of planted faults, how often they cry wolf, what slips by.

A second judge, written from the world's truth, reads every page that they let through.
"""

import time
from collections import Counter
from pathlib import Path

from loadtest.benchmarks.planted_faults import Planted, clean_pages, planted_faults
from loadtest.benchmarks.result import Figure, Grid, Result, at_least, at_most
from loadtest.benchmarks.true_pages import small_world
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Facts
from shop.descriptions.style import StyleGuide
from shop.descriptions.validators import Measured, check
from simulator.page_truth import untruths
from training.brand_voice import train_brand_voice

_FINE = Measured(grade=6.0, language="en")  # neither is planted


def measure(state_dir: Path, images: Path) -> Result:
    """Recall by kind, false alarms, the second judge's findings, and the voice's AUC."""
    planted, clean = planted_faults(), clean_pages()
    began = time.perf_counter()
    passed = [each for each in planted if not _is_blocked(each.facts, each.draft)]
    alarms = [facts for facts, draft in clean if _is_blocked(facts, draft)]
    each_ms = (time.perf_counter() - began) * 1000.0 / (len(planted) + len(clean))
    untrue = sum(bool(_untrue(each.facts, each.draft)) for each in passed)
    untrue += sum(
        bool(_untrue(facts, draft)) for facts, draft in clean if not _is_blocked(facts, draft)
    )
    _, voice = train_brand_voice(small_world())
    recall, alarm_share = 1.0 - len(passed) / len(planted), len(alarms) / len(clean)
    figures: dict[str, Figure] = {
        "planted": len(planted),
        "recall": recall,
        "clean": len(clean),
        "false_alarms": alarm_share,
        "untrue_and_let_through": untrue,
        "ms_a_page": each_ms,
        "brand_auc": voice.auc,
        "brand_auc_least_of_unseen_manners": voice.least_auc,
    }
    return Result(
        name="validators",
        figures=figures,
        checks=(
            at_least("planted faults", len(planted), 500, ""),
            at_least("of them found", recall, 0.98, ""),
            at_most("true pages taken for faulty", alarm_share, 0.02, ""),
            at_most("let through, and untrue to the second judge", untrue, 0, ""),
        ),
        grids=(_by_kind(planted, passed),),
        notes=(
            "The voice's AUC is of products it has not seen; that of unseen manners leaves one of"
            " five manners out of its training each time and names the least.",
        ),
    )


def _is_blocked(facts: Facts, draft: Draft) -> bool:
    return check(draft, facts, StyleGuide(), _FINE).is_blocked


def _untrue(facts: Facts, draft: Draft) -> list[str]:
    lines = tuple((each.name, each.value, each.unit) for each in facts.lines)
    return untruths(facts.title, lines, draft.text)


def _by_kind(planted: list[Planted], passed: list[Planted]) -> Grid:
    in_all = Counter(each.kind for each in planted)
    slipped = Counter(each.kind for each in passed)
    rows = tuple((kind, str(n), str(n - slipped[kind])) for kind, n in in_all.items())
    return Grid("Planted faults", ("kind", "planted", "found"), rows)
