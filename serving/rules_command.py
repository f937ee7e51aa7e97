"""Commands about the rule book: `vitrine rules check FILE` and `vitrine rules show`."""

import argparse
import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from serving.adapters.key_files import read_key
from serving.adapters.release_files import (
    check_files,
    current_release,
    read_catalogue,
    read_release_manifest,
)
from serving.adapters.rule_files import RuleFile
from serving.rulebooks import judged, notes_on
from serving.rules_state import RulesState, rules_state_file
from serving.settings import Settings
from serving.settings_reader import load_settings
from shop.catalogue import Catalogue
from shop.errors import NotFound, ReleaseRejected, RuleBookRejected, SettingsRejected
from shop.release import CATALOGUE_FILE
from shop.rulebook import (
    BackOrder,
    BookRule,
    Cap,
    Exclude,
    MarginFloor,
    Pin,
    RuleBook,
    Selection,
    Weigh,
)

_FAULTY = 1
_SHOWN_NAMES = 3
_PIPE_WIDTH = 140


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of `vitrine rules`."""
    parser.add_argument(
        "verb",
        choices=("check", "show"),
        metavar="check|show",
        help="check: every fault of a book, each with its fix; show: its rules, and which hold now",
    )
    parser.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="a rule book, see docs/rules.md; default: this stack's own (show: the one in force)",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--settings", type=Path, metavar="FILE", help="TOML; see serving/settings")


def run(arguments: argparse.Namespace) -> int:
    """0 if the book can be used, 1 if not."""
    return _check(arguments) if arguments.verb == "check" else _show(arguments)


def _check(arguments: argparse.Namespace) -> int:
    """Judges names, too, if there is a release in the state folder."""
    file = RuleFile(arguments.file or _here(arguments).rules_file)
    catalogue, unjudged = _catalogue(arguments.state_dir)
    faults: tuple[str, ...] = ()
    book = None
    try:
        book = judged(file.read().raw, str(file.path), catalogue)
    except FileNotFoundError:
        faults = ("is not there",)
    except RuleBookRejected as error:
        faults = error.faults
    notes = [unjudged] if unjudged else []
    if book is not None and catalogue is not None:
        notes += notes_on(book, catalogue)
    if arguments.json:
        _write_json(
            {
                "file": str(file.path),
                "usable": book is not None,
                "version": "" if book is None else book.version,
                "rules": 0 if book is None else len(book.rules),
                "faults": list(faults),
                "notes": notes,
            }
        )
    else:
        sys.stdout.writelines(f"{file.path}: {fault}\n" for fault in faults)
        sys.stdout.writelines(f"note: {note}\n" for note in notes)
        if book is not None:
            sys.stdout.write(
                f"{file.path}: version {book.version}, {len(book.rules)} rules, fine\n"
            )
    return _FAULTY if faults else 0


def _catalogue(state_dir: Path) -> tuple[Catalogue | None, str]:
    """Of the current release, or why there is none."""
    settings = Settings(state_dir=state_dir)
    try:
        folder = settings.releases_dir / current_release(settings.releases_dir)
        manifest = read_release_manifest(folder, read_key(settings.release_key_file))
        check_files(folder, manifest, (CATALOGUE_FILE,))
        return read_catalogue(folder / CATALOGUE_FILE), ""
    except (NotFound, ReleaseRejected, SettingsRejected, OSError) as error:
        return None, f"no release to compare names of categories and brands with: {error}"


@dataclass(frozen=True, slots=True)
class _InForce:
    """A book, and what the replicas say of it."""

    book: RuleBook
    state: RulesState | None  # None: no stack has told of it


def _show(arguments: argparse.Namespace) -> int:
    """A file, else what the stack that ran here last took up, else what it would take up."""
    if arguments.file:
        book = judged(_there(arguments.file), str(arguments.file), None)
        found = _InForce(book, None)
    else:
        here = _here(arguments)
        state = RulesState.read(rules_state_file(here.state_dir))
        found = _InForce(_book_in_force(here, state), state)
    now_ms = time.time_ns() // 1_000_000
    if arguments.json:
        _write_json(_as_json(found, now_ms))
    else:
        console = Console()
        if not console.is_terminal:  # a file or a pipe has no width of its own
            console = Console(width=_PIPE_WIDTH)
        console.print(*_as_table(found, now_ms), sep="\n")
    return _FAULTY if found.state is not None and found.state.faults else 0


def _there(path: Path) -> bytes:
    try:
        return RuleFile(path).read().raw
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there; name a rule book") from error


def _here(arguments: argparse.Namespace) -> Settings:
    settings = load_settings(arguments.settings)
    return Settings(state_dir=arguments.state_dir, rules=settings.rules)


def _book_in_force(settings: Settings, state: RulesState | None) -> RuleBook:
    if state is not None and not state.version:
        return RuleBook("", ())
    path = settings.rules_file if state is None else settings.accepted_rules_file
    try:
        return judged(RuleFile(path).read().raw, str(path), None)
    except FileNotFoundError:
        return RuleBook("", ())


def _as_json(found: _InForce, now_ms: int) -> dict[str, Any]:
    return {
        "version": found.book.version,
        "rules": [
            {
                "id": rule.id,
                "kind": rule.kind.value,
                "priority": rule.priority,
                "holds_now": rule.scope.window.holds_at(now_ms),
                "from": _moment(rule.scope.window.from_ms),
                "until": _moment(rule.scope.window.until_ms),
                "placements": sorted(rule.scope.placements),
                "countries": sorted(rule.scope.countries),
                "page_categories": sorted(rule.scope.page_categories),
                # Whether these are so, each replica knows for itself.
                "when_weather": sorted(rule.scope.weathers),
                "when_trending": sorted(rule.scope.trending),
                "does": _does(rule),
                "to": _to(rule.selection),
            }
            for rule in found.book.rules
        ],
        "state": None if found.state is None else asdict(found.state),
    }


def _as_table(found: _InForce, now_ms: int) -> tuple[Table, Text]:
    table = Table("rule", "does", "to", "where", "from", "until", "now")
    for rule in found.book.rules:
        holds = rule.scope.window.holds_at(now_ms)
        table.add_row(
            rule.mark,
            _does(rule),
            _to(rule.selection),
            _where(rule),
            _moment(rule.scope.window.from_ms),
            _moment(rule.scope.window.until_ms),
            _now(rule) if holds else Text("rests", "dim"),
        )
    lines = [f"version {found.book.version or 'none'}, {len(found.book.rules)} rules"]
    if found.state is None:
        lines.append("no stack has taken it up here yet")
    else:
        lines += [f"not in force: {fault}" for fault in found.state.faults]
        lines += [f"note: {note}" for note in found.state.notes]
    return table, Text("\n".join(lines))


def _now(rule: BookRule) -> Text:
    if rule.scope.weathers or rule.scope.trending:
        return Text("holds when so", "green")
    return Text("holds", "green")


def _does(rule: BookRule) -> str:
    match rule.effect:
        case Exclude():
            return "not shown"
        case Pin(product_id, position):
            return f"{product_id} at {position} (priority {rule.priority})"
        case Weigh(factor):
            return f"value × {factor:g} (priority {rule.priority})"
        case Cap(per, share, most):
            much = f"{share:.0%} of a page" if share < 1.0 else f"{most} on a page"
            return f"at most {much} per {per} (priority {rule.priority})"
        case MarginFloor(share):
            return f"last, if less than {share:.0%} is earned (priority {rule.priority})"
        case BackOrder(risk):
            return f"replaced, if the risk is above {risk:.0%} (priority {rule.priority})"


def _to(selection: Selection) -> str:
    parts = [
        f"{name} {_few(listed)}"
        for name, listed in (
            ("product", selection.product_ids),
            ("category", selection.categories),
            ("brand", selection.brands),
        )
        if listed
    ]
    told = " or ".join(parts)
    if selection.condition_text:
        told = f"({told}) and {selection.condition_text}" if told else selection.condition_text
    if selection.trending:
        told = f"({told}) and trending" if told else "trending"
    return told or "all"


def _where(rule: BookRule) -> str:
    scope = rule.scope
    parts = (
        scope.placements,
        scope.countries,
        scope.page_categories,
        scope.weathers,
        scope.trending,
    )
    return "; ".join(_few(sorted(part)) for part in parts if part) or "everywhere"


def _few(names: Iterable[str]) -> str:
    all_names = list(names)
    more = len(all_names) - _SHOWN_NAMES
    return ", ".join(all_names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")


def _moment(time_ms: int | None) -> str:
    if time_ms is None:
        return "–"
    return datetime.fromtimestamp(time_ms / 1000.0, UTC).isoformat(" ", "minutes")


def _write_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")
