"""Rule book reader: from the bytes of a TOML file to a whole book, or to everything that is wrong.

The file is hostile until read: its size is judged before it is parsed, and every field against the
tables in `rulebook_fields`. Time zones are looked up by whoever calls, because they lie on disk.
"""

import difflib
import tomllib
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, tzinfo
from typing import Any, cast

from shop.errors import InvalidRequest, RuleBookRejected
from shop.filter_grammar import parse
from shop.rule_clauses import TooManyBoxes, boxes_of
from shop.rulebook import (
    MAX_BOOK_BYTES,
    MAX_POSITION,
    MAX_RULES,
    BackOrder,
    BookRule,
    Cap,
    Effect,
    Exclude,
    Fault,
    Kind,
    MarginFloor,
    Pin,
    RuleBook,
    Scope,
    Selection,
    Weigh,
    Window,
)
from shop.rulebook_checks import contradictions
from shop.rulebook_fields import BOOK_FIELDS, KIND_FIELDS, KindFields, list_of
from shop.rulebook_values import FieldKind, shown
from shop.surroundings import term_key

_MAX_FAULTS = 100  # more are one mistake made often

ZoneNamed = Callable[[str], tzinfo | None]
"""The time zone of this name; None if there is none."""

Table = dict[str, Any]


def read_rulebook(raw: bytes, *, file: str, zone_named: ZoneNamed) -> RuleBook:
    """The book in `raw`. Raises RuleBookRejected, naming every fault with its fix."""
    reading = _Reading(zone_named)
    book = reading.book(raw)
    if book is not None:
        reading.faults += contradictions(book.rules)
    refuse(file, reading.faults)
    return cast(RuleBook, book)


def refuse(file: str, faults: list[Fault]) -> None:
    """Raises RuleBookRejected if there is a fault."""
    if not faults:
        return
    told = [str(fault) for fault in faults[:_MAX_FAULTS]]
    if len(faults) > _MAX_FAULTS:
        told.append(f"and {len(faults) - _MAX_FAULTS} more faults")
    raise RuleBookRejected(file, tuple(told))


class _Reading:
    """One file being read. Collects faults instead of stopping at the first."""

    def __init__(self, zone_named: ZoneNamed) -> None:
        self.faults: list[Fault] = []
        self._zone_named = zone_named

    def book(self, raw: bytes) -> RuleBook | None:
        table = self._parsed(raw)
        if table is None:
            return None
        rules = table.pop("rules", [])
        self._fields("", table, BOOK_FIELDS, tuple(BOOK_FIELDS))
        if not isinstance(rules, list) or not all(isinstance(rule, dict) for rule in rules):
            self._fault("", "rules", f"is {shown(rules)}", "write each rule as a table [[rules]]")
            return None
        if len(rules) > MAX_RULES:
            self._fault("", "rules", f"are {len(rules)}", f"keep to {MAX_RULES}")
            return None
        self._double_ids(rules)
        read = [self._rule(rule, number) for number, rule in enumerate(rules, start=1)]
        return RuleBook(
            str(table.get("version")), tuple([rule for rule in read if rule is not None])
        )

    def _parsed(self, raw: bytes) -> Table | None:
        if len(raw) > MAX_BOOK_BYTES:
            size = f"is {len(raw)} bytes long"
            self._fault("", "file", size, f"keep to {MAX_BOOK_BYTES}: select by category or brand")
            return None
        try:
            return tomllib.loads(raw.decode())
        except (ValueError, RecursionError) as error:  # not UTF-8, no TOML, nested too deep
            problem = str(error) or "is nested too deep"
            self._fault("", "file", f"is no TOML: {problem}", "mend it there")
            return None

    def _double_ids(self, rules: list[Table]) -> None:
        seen: set[str] = set()
        for rule in rules:
            name = rule.get("id")
            if isinstance(name, str) and name in seen:
                self._fault(name, "id", "is another rule's, too", "give each rule an id of its own")
            elif isinstance(name, str):
                seen.add(name)

    def _rule(self, table: Table, number: int) -> BookRule | None:
        """None if anything is wrong with it."""
        named = table.get("id")
        name = named if isinstance(named, str) and named.isprintable() else f"no. {number}"
        name = name[:64]
        before = len(self.faults)
        kind = table.get("kind")
        if kind not in tuple(Kind):
            allowed = ", ".join(Kind)
            self._fault(name, "kind", f"is {shown(kind)}", f"write one of {allowed}")
            return None
        fields = KIND_FIELDS[Kind(kind)]
        self._fields(name, table, fields.all, ("id", *fields.required))
        self._alternatives(name, table, fields)
        if len(self.faults) > before:  # what follows needs sound values
            return None
        rule = BookRule(
            id=name,
            kind=Kind(kind),
            priority=table.get("priority", 0),
            scope=Scope(
                self._window(name, table),
                frozenset(table.get("placements", ())),
                frozenset(table.get("countries", ())),
                frozenset(table.get("page_categories", ())),
                weathers=_texts(table.get("when", {}).get("weather", ())),
                trending=frozenset(
                    map(term_key, _texts(table.get("when", {}).get("trending", ())))
                ),
            ),
            selection=self._selection(name, table),
            effect=self._effect(name, Kind(kind), table),
        )
        return rule if len(self.faults) == before else None

    def _fields(
        self, rule: str, table: Table, allowed: dict[str, FieldKind], required: Iterable[str]
    ) -> None:
        for field in required:
            if field not in table:
                self._fault(rule, field, "is missing", allowed[field].fix)
        for field, value in table.items():
            if field not in allowed:
                self._fault(rule, shown(field)[1:-1], "is not known here", _closest(field, allowed))
            elif problem := allowed[field].problem(value):
                self._fault(rule, field, problem, allowed[field].fix)

    def _alternatives(self, rule: str, table: Table, fields: KindFields) -> None:
        if fields.needs and not any(name in table for name in fields.needs):
            names = ", ".join(fields.needs)
            self._fault(rule, names, "are all missing", "say which products it is for")
        given = [name for name in fields.needs_one if name in table]
        if fields.needs_one and len(given) != 1:
            problem = "are both given" if given else "are missing"
            self._fault(rule, " and ".join(fields.needs_one), problem, "write one of them")

    def _selection(self, rule: str, table: Table) -> Selection:
        text = table.get("condition", "")
        condition = None
        if text:
            try:
                condition = parse(text)
                boxes_of(condition)
            except InvalidRequest as error:
                self._fault(rule, "condition", error.reason, "mend it there")
            except TooManyBoxes as error:
                self._fault(rule, "condition", str(error), "make several rules of it")
        return Selection(
            product_ids=tuple(table.get("products", ())),
            categories=tuple(table.get("categories", ())),
            brands=tuple(table.get("brands", ())),
            condition=condition,
            condition_text=text,
            trending=table.get("trending", False),
        )

    def _effect(self, rule: str, kind: Kind, table: Table) -> Effect:
        match kind:
            case Kind.EXCLUDE | Kind.LEGAL:
                return Exclude()
            case Kind.PIN:
                return Pin(table["product"], table["position"])
            case Kind.BOOST | Kind.BURY:
                return Weigh(float(table["factor"]))
            case Kind.CAP:
                return self._cap(rule, table)
            case Kind.MARGIN_FLOOR:
                return MarginFloor(float(table["share"]))
            case Kind.BACK_ORDER:
                return BackOrder(float(table["risk"]))

    def _cap(self, rule: str, table: Table) -> Cap:
        per = table["per"]
        other = "categories" if list_of(per) == "brands" else "brands"
        if other in table:
            self._fault(rule, other, f"does nothing in a cap per {per}", f"write {list_of(per)}")
        return Cap(per, float(table.get("share", 1.0)), table.get("most", MAX_POSITION))

    def _window(self, rule: str, table: Table) -> Window:
        zone = self._zone(rule, table)
        instants: dict[str, int | None] = {}
        for field in ("from", "until"):
            instants[field] = self._instant_ms(rule, field, table, zone) if field in table else None
        begin, end = instants["from"], instants["until"]
        if begin is not None and end is not None and end <= begin:
            self._fault(rule, "until", "is not after `from`", "let the window end after it starts")
        return Window(begin, end)

    def _zone(self, rule: str, table: Table) -> tzinfo | None:
        name = table.get("time_zone")
        if name is None:
            return None
        if "from" not in table and "until" not in table:
            self._fault(rule, "time_zone", "does nothing without a window", "write from or until")
        zone = self._zone_named(name)
        if zone is None:
            self._fault(rule, "time_zone", f"is {shown(name)}", "write one such as Europe/Berlin")
        return zone

    def _instant_ms(self, rule: str, field: str, table: Table, zone: tzinfo | None) -> int | None:
        value: date = table[field]
        moment = (
            value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
        )
        if moment.tzinfo is None and "time_zone" not in table:
            self._fault(rule, field, "says no time zone", "add time_zone, such as Europe/Berlin")
            return None
        if moment.tzinfo is not None and "time_zone" in table:
            self._fault(rule, field, "says two time zones", "leave out the offset, or time_zone")
            return None
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=zone or UTC)
        return round(aware.timestamp() * 1000.0)

    def _fault(self, rule: str, field: str, problem: str, fix: str) -> None:
        self.faults.append(Fault(rule, field, problem, fix))


def _texts(value: str | list[str]) -> frozenset[str]:
    return frozenset([value] if isinstance(value, str) else value)


def _closest(field: str, allowed: Iterable[str]) -> str:
    names = sorted(allowed)
    close = difflib.get_close_matches(field[:64], names, n=1)
    return f"did you mean {close[0]}?" if close else f"allowed are {', '.join(names)}"
