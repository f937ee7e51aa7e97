"""Reading a rule book: whole, or with everything that is wrong and what mends it."""

import json
import tomllib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from serving.adapters.rule_files import zone_named
from shop.errors import RuleBookRejected
from shop.rulebook import MAX_BOOK_BYTES, MAX_RULES, Kind, Pin, RuleBook
from shop.rulebook_checks import unknown_names, unknown_products
from shop.rulebook_fields import json_schema
from shop.rulebook_reader import read_rulebook
from tests.unit.rule_books import HEAD, a_book, toml_of
from tests.unit.small_shop import a_catalogue

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = (ROOT / "serving" / "rules.example.toml").read_text()


def read(text: str) -> RuleBook:
    return read_rulebook(text.encode(), file="rules.toml", zone_named=zone_named)


def faults_of(text: str | bytes) -> tuple[str, ...]:
    raw = text if isinstance(text, bytes) else text.encode()
    with pytest.raises(RuleBookRejected) as rejected:
        read_rulebook(raw, file="rules.toml", zone_named=zone_named)
    return rejected.value.faults


def uncommented(text: str) -> str:
    """The example with its rules: prose has a space after the #, rules have none."""
    lines = text.splitlines()
    return "\n".join(line[1:] if line[:1] == "#" and line[1:2] > " " else line for line in lines)


def test_the_example_has_no_rules_as_it_is_shipped() -> None:
    assert read(EXAMPLE).rules == ()


def test_the_examples_rules_are_of_every_kind_and_sound() -> None:
    assert {rule.kind for rule in read(uncommented(EXAMPLE)).rules} == set(Kind)


def test_a_window_is_in_the_time_zone_it_names() -> None:
    windows = [
        rule.scope.window
        for rule in a_book(
            'kind = "pin"\nproduct = "p1"\nposition = 1\ntime_zone = "Europe/Berlin"\n'
            "from = 2026-07-01\nuntil = 2026-12-01T08:00:00",
            'kind = "pin"\nproduct = "p2"\nposition = 2\nfrom = 2026-06-30T22:00:00Z',
        ).rules
    ]
    assert windows[0].from_ms == windows[1].from_ms == 1_782_856_800_000  # summer: UTC+2
    assert windows[0].until_ms == 1_796_108_400_000  # winter: 07:00 UTC
    assert windows[1].until_ms is None


def test_a_rule_may_wait_for_weather_and_search_trends() -> None:
    both, one = a_book(
        'kind = "exclude"\nproducts = ["p1"]\n'
        'when = { weather = ["rain", "snow"], trending = "Rain Boots" }',
        'kind = "bury"\nfactor = 0.5\ntrending = true',
    ).rules
    assert both.scope.weathers == {"rain", "snow"}
    assert both.scope.trending == {"rain boot"}
    assert not both.selection.trending
    assert one.selection.trending
    assert not one.scope.weathers


def test_what_a_rule_cannot_wait_for_is_told_with_what_it_can() -> None:
    (fault,) = faults_of(toml_of('kind = "exclude"\nproducts = ["p1"]\nwhen = { weather = "wet" }'))
    assert "rule r1: when: weather is 'wet'; write a table of weather or trending" in fault
    assert "rain" in fault


def test_every_fault_is_told_at_once_with_rule_field_and_fix() -> None:
    faults = faults_of(
        HEAD
        + """
        [[rules]]
        id = "twice"
        kind = "boost"
        factor = 200
        brands = ["acme"]
        [[rules]]
        id = "twice"
        kind = "bury"
        factor = 1.0
        brands = ["acme"]
        [[rules]]
        id = "Loud Name"
        kind = "exclude"
        [[rules]]
        id = "late"
        kind = "exclude"
        products = ["p1"]
        from = 2026-12-02T00:00:00+01:00
        until = 2026-12-01T00:00:00+01:00
        [[rules]]
        id = "nowhere"
        kind = "legal"
        products = ["p1"]
        countries = ["UK"]
        [[rules]]
        id = "odd"
        kind = "magic"
        [[rules]]
        id = "badly-put"
        kind = "exclude"
        condition = "price <"
        productz = ["p1"]
        [[rules]]
        id = "half"
        kind = "cap"
        per = "brand"
        """
    )
    told = "\n".join(faults)
    for piece in (
        "rule twice: id: is another rule's, too; give each rule an id of its own",
        "rule twice: factor: is 200; write a number above 1 and at most 100",
        "rule twice: factor: is 1.0; write a number at least 0.01 and below 1",
        "rule Loud Name: id: is 'Loud Name'; write 1 to 64 of a-z, 0-9 and -",
        "rule Loud Name: products, categories, brands, condition: are all missing",
        "rule late: until: is not after `from`",
        "rule nowhere: countries: element 1 is 'UK'",
        "rule odd: kind: is 'magic'; write one of exclude, legal, pin",
        "rule badly-put: productz: is not known here; did you mean products?",
        "rule half: share and most: are missing; write one of them",
    ):
        assert piece in told
    assert len(faults) == 10


@pytest.mark.parametrize(
    ("rule", "fault"),
    [
        ('kind = "exclude"\ncondition = "price <"', "condition: expected an amount"),
        (
            'kind = "exclude"\ncondition = "'
            + " AND ".join(f"(brand = 'b{n}' OR price > {n})" for n in range(1, 6))
            + '"',
            "make several rules of it",
        ),
        ('kind = "pin"\nproduct = "p1"', "position: is missing; write 1 to 500"),
        ('kind = "pin"\nproduct = "p1"\nposition = true', "position: is True"),
        ('kind = "pin"\nproduct = "p1"\nposition = 1\npriority = 5000', "priority: is 5000"),
        ('kind = "legal"\nproducts = ["p1"]', "countries: is missing"),
        ('kind = "exclude"\nproducts = []', "products: has 0 elements"),
        ('kind = "exclude"\nproducts = ["p1", "p1"]', "products: names one twice"),
        ('kind = "exclude"\nproducts = [["p1"]]', "products: element 1 is ['p1']"),
        ('kind = "exclude"\nproducts = ["p1"]\npriority = 1', "priority: is not known here"),
        ('kind = "exclude"\nproducts = ["p1"]\nplacements = ["attic"]', "placements: element 1"),
        ('kind = "exclude"\nproducts = ["p1"]\nfrom = 2026-01-01', "says no time zone"),
        ('kind = "exclude"\nproducts = ["p1"]\ntime_zone = "UTC"', "does nothing without a window"),
        (
            'kind = "exclude"\nproducts = ["p1"]\nfrom = 2026-01-01\ntime_zone = "Mars/Olympus"',
            "time_zone: is 'Mars/Olympus'",
        ),
        (
            'kind = "exclude"\nproducts = ["p1"]\nfrom = 2026-01-01\ntime_zone = "../passwd"',
            "time_zone: is",
        ),
        (
            'kind = "exclude"\nproducts = ["p1"]\nfrom = 2026-01-01T00:00:00Z\ntime_zone = "UTC"',
            "says two time zones",
        ),
        ('kind = "exclude"\nproducts = ["p1"]\nfrom = 0001-01-01T00:00:00Z', "from: is 0001-01-01"),
        ('kind = "cap"\nper = "brand"\nshare = 0.5\nmost = 3', "share and most: are both given"),
        ('kind = "cap"\nper = "brand"\nmost = 3\ncategories = ["x"]', "does nothing in a cap per"),
        ('kind = "cap"\nper = "brand"\nmost = 0', "most: is 0; write 1 to 500"),
        ('kind = "margin_floor"\nshare = nan', "share: is nan"),
        ('kind = "back_order"\nrisk = 1.0', "risk: is 1.0"),
        ('kind = "boost"\nbrands = ["a"]\nfactor = inf', "factor: is inf"),
        ('kind = "boost"\nbrands = ["a"]\nfactor = 1' + "0" * 400, "factor: is 1000"),
    ],
)
def test_a_fault_is_named(rule: str, fault: str) -> None:
    told = faults_of(toml_of(rule))
    assert any(fault in each for each in told), told


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("schema = 1", "the book: version: is missing"),
        ('schema = 2\nversion = "1"', "schema: is 2; write 1"),
        ('schema = 1\nversion = "1"\nrules = 7', "write each rule as a table [[rules]]"),
        ("not a book", "the book: file: is no TOML"),
        ("x = " + "[" * 3_000 + "]" * 3_000, "the book: file: is no TOML"),
        (HEAD + "#" * MAX_BOOK_BYTES, "bytes long"),
        (b"\xff\xfe", "is no TOML"),
        (HEAD + "[[rules]]\n" * (MAX_RULES + 1), f"are {MAX_RULES + 1}; keep to {MAX_RULES}"),
    ],
)
def test_a_file_that_is_no_book_is_refused(text: str | bytes, fault: str) -> None:
    told = faults_of(text)
    assert any(fault in each for each in told), told


def test_a_thousand_faults_are_told_shortly() -> None:
    told = faults_of(HEAD + "[[rules]]\n" * 400)
    assert len(told) == 101
    assert told[-1] == "and 300 more faults"


PIN = 'kind = "pin"\nproduct = "{}"\nposition = {}\n'


@pytest.mark.parametrize(
    ("one", "other", "contradicts"),
    [
        (PIN.format("p1", 1), PIN.format("p2", 1), True),
        (PIN.format("p1", 1), PIN.format("p1", 2), True),
        (PIN.format("p1", 1), PIN.format("p2", 2), False),
        (PIN.format("p1", 1), PIN.format("p2", 1) + "priority = 1", False),
        (PIN.format("p1", 1) + 'countries = ["DE"]', PIN.format("p2", 1), True),
        (
            PIN.format("p1", 1) + 'countries = ["DE"]',
            PIN.format("p2", 1) + 'countries = ["FR"]',
            False,
        ),
        (
            PIN.format("p1", 1) + 'placements = ["home"]',
            PIN.format("p2", 1) + 'placements = ["cart", "home"]',
            True,
        ),
        (
            PIN.format("p1", 1) + "until = 2026-12-01T00:00:00Z",
            PIN.format("p2", 1) + "from = 2026-12-01T00:00:00Z",
            False,
        ),
    ],
)
def test_pins_contradict_only_where_both_hold(one: str, other: str, contradicts: bool) -> None:
    text = toml_of(one, other)
    if contradicts:
        assert "contradicts rule r1, where both hold" in faults_of(text)[0]
    else:
        assert all(isinstance(rule.effect, Pin) for rule in read(text).rules)


def test_names_that_the_catalogue_lacks_are_faults_and_products_are_not() -> None:
    book = a_book(
        'kind = "exclude"\ncategories = ["lamp"]\nproducts = ["p1", "p999"]',
        'kind = "boost"\nfactor = 2\ncondition = \'NOT brand IN ("acme", "Acme")\'',
        'kind = "cap"\nper = "brand"\nmost = 1\nbrands = ["zzz"]\npage_categories = ["rugs", "?"]',
        'kind = "pin"\nproduct = "gone"\nposition = 1',
    )
    assert [str(fault) for fault in unknown_names(book, a_catalogue())] == [
        "rule r1: categories: 'lamp' is no category of this catalogue; did you mean 'lamps'?",
        "rule r2: condition: 'Acme' is no brand of this catalogue; did you mean 'acme'?",
        "rule r3: page_categories: '?' is no category of this catalogue; see the catalogue's"
        " spelling",
        "rule r3: brands: 'zzz' is no brand of this catalogue; see the catalogue's spelling",
    ]
    assert unknown_products(book, a_catalogue()) == ["r1: p999", "r4: gone"]


def as_json(value: Any) -> Any:
    """TOML's dates as an editor shows them to a schema."""
    if isinstance(value, dict):
        return {name: as_json(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [as_json(inner) for inner in value]
    return value.isoformat() if isinstance(value, datetime | date) else value


def test_the_schema_in_the_docs_is_the_readers() -> None:
    assert json.loads((ROOT / "docs" / "rules.schema.json").read_text()) == json_schema()


def test_the_schema_accepts_what_the_reader_accepts() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    jsonschema.validate(as_json(tomllib.loads(uncommented(EXAMPLE))), json_schema())


@pytest.mark.parametrize(
    "rule",
    [
        'kind = "boost"\nfactor = 200\nbrands = ["a"]',
        'kind = "bury"\nfactor = 1.0\nbrands = ["a"]',
        'kind = "exclude"',
        'kind = "legal"\nproducts = ["p1"]',
        'kind = "legal"\nproducts = ["p1"]\ncountries = ["UK"]',
        'kind = "magic"',
        'kind = "cap"\nper = "brand"\nshare = 0.5\nmost = 3',
        'kind = "pin"\nproduct = "p1"\nposition = 0',
        'kind = "exclude"\nproducts = ["p1", "p1"]',
        'kind = "exclude"\nproducts = ["p1"]\npriority = 1',
        'kind = "exclude"\nproducts = ["p1"]\nfrom = 1999-01-01T00:00:00Z',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = "rain"',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = {}',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = { weather = "drizzle" }',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = { weather = [] }',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = { weather = ["rain", "rain"] }',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = { wind = "strong" }',
        'kind = "exclude"\nproducts = ["p1"]\nwhen = { trending = " " }',
        'kind = "legal"\ncountries = ["DE"]\nproducts = ["p1"]\nwhen = { weather = "rain" }',
        'kind = "boost"\nfactor = 2\ntrending = false',
        'kind = "exclude"\nproducts = ["p1"]\ntrending = true',
    ],
)
def test_the_schema_refuses_what_the_reader_refuses(rule: str) -> None:
    assert faults_of(toml_of(rule))
    # Not `validate`, which checks the schema itself each time.
    schema = jsonschema.Draft202012Validator(json_schema())
    assert not schema.is_valid(as_json(tomllib.loads(toml_of(rule))))
