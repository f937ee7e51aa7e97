"""Rule book fields: which a rule of each kind has and what they may hold.

The reader (`rulebook_reader`) and the JSON Schema (`json_schema`, in docs/rules.schema.json) are
both made from these tables, so that they cannot differ.
"""

from dataclasses import dataclass
from typing import Any

from shop.countries import COUNTRIES
from shop.features import PLACEMENTS
from shop.filter_grammar import MAX_FILTER_CHARS
from shop.merchandising import LEAST_FACTOR, MOST_FACTOR
from shop.rulebook import (
    MAX_LISTED,
    MAX_POSITION,
    MAX_PRIORITY,
    MAX_RULES,
    MAX_TERMS,
    SCHEMA_VERSION,
    Kind,
)
from shop.rulebook_values import (
    Choice,
    FieldKind,
    Fields,
    Listed,
    Moment,
    OneOrMore,
    Real,
    Text,
    Whole,
    Yes,
)
from shop.surroundings import MAX_TERM_CHARS, WEATHERS

_MAX_NAME_CHARS = 200

_NAME = Text(
    rf"[^\x00-\x1f\x7f]{{1,{_MAX_NAME_CHARS}}}",
    f"write a name of 1 to {_MAX_NAME_CHARS} characters",
)
_COUNTRY = Choice(
    tuple(sorted(COUNTRIES)), "write ISO 3166-1 alpha-2 codes such as DE", defined_as="country"
)
_NAMES = Listed(_NAME, MAX_LISTED)

BOOK_FIELDS: dict[str, FieldKind] = {
    "schema": Whole(SCHEMA_VERSION, SCHEMA_VERSION),
    "version": Text(
        r"[!-~]{1,64}", "write a name for this state of the book, such as 2026-11-23.1"
    ),
}
_ALWAYS: dict[str, FieldKind] = {
    "id": Text(r"[a-z0-9][a-z0-9-]{0,63}", "write 1 to 64 of a-z, 0-9 and -"),
    "kind": Choice(tuple(Kind)),
}
_SCOPE: dict[str, FieldKind] = {
    "from": Moment(),
    "until": Moment(),
    "time_zone": Text(r"[A-Za-z0-9_+/-]{1,64}", "write a name such as Europe/Berlin or UTC"),
    "placements": Listed(Choice(PLACEMENTS), len(PLACEMENTS)),
    "countries": Listed(_COUNTRY, len(COUNTRIES)),
    "page_categories": _NAMES,
}
_TERM = Text(
    rf"(?=.*[^\W_])[^\x00-\x1f\x7f]{{1,{MAX_TERM_CHARS}}}",
    f"write a search term of 1 to {MAX_TERM_CHARS} characters",
)
# Not of legal exclusions: the law does not wait for the weather.
_WHEN: dict[str, FieldKind] = {
    "when": Fields(
        {
            "weather": OneOrMore(Choice(WEATHERS), len(WEATHERS)),
            "trending": OneOrMore(_TERM, MAX_TERMS),
        }
    )
}
_PRIORITY: dict[str, FieldKind] = {"priority": Whole(-MAX_PRIORITY, MAX_PRIORITY)}
_SELECTION: dict[str, FieldKind] = {
    "products": _NAMES,
    "categories": _NAMES,
    "brands": _NAMES,
    "condition": Text(
        rf"[\s\S]{{1,{MAX_FILTER_CHARS}}}",
        'write a filter such as category = "lamps" AND price < 50',
    ),
}
_WEIGHED = _SELECTION | {"trending": Yes()}


@dataclass(frozen=True, slots=True)
class KindFields:
    """What a rule of one kind has beside `id` and `kind`."""

    says: str
    required: dict[str, FieldKind]
    optional: dict[str, FieldKind]
    # One of these at least, or (exactly) one.
    needs: tuple[str, ...] = ()
    needs_one: tuple[str, ...] = ()

    @property
    def all(self) -> dict[str, FieldKind]:
        """Every field of such a rule."""
        return _ALWAYS | self.required | self.optional


_CAPPED: dict[str, FieldKind] = {
    "share": Real(0.0, 1.0, open_low=True),
    "most": Whole(1, MAX_POSITION),
    "brands": _NAMES,
    "categories": _NAMES,
}
KIND_FIELDS: dict[Kind, KindFields] = {
    Kind.EXCLUDE: KindFields("not shown", {}, _SCOPE | _WHEN | _SELECTION, needs=tuple(_SELECTION)),
    Kind.LEGAL: KindFields(
        "not shown in these countries, nor where the country is not known",
        {"countries": _SCOPE["countries"]},
        {name: each for name, each in _SCOPE.items() if name != "countries"} | _SELECTION,
        needs=tuple(_SELECTION),
    ),
    Kind.PIN: KindFields(
        "this product at this position",
        {"product": _NAME, "position": Whole(1, MAX_POSITION)},
        _SCOPE | _WHEN | _PRIORITY,
    ),
    Kind.BOOST: KindFields(
        "the value counts `factor` times",
        {"factor": Real(1.0, MOST_FACTOR, open_low=True)},
        _SCOPE | _WHEN | _PRIORITY | _WEIGHED,
        needs=tuple(_WEIGHED),
    ),
    Kind.BURY: KindFields(
        "the value counts `factor` times, less than once",
        {"factor": Real(LEAST_FACTOR, 1.0, open_high=True)},
        _SCOPE | _WHEN | _PRIORITY | _WEIGHED,
        needs=tuple(_WEIGHED),
    ),
    Kind.CAP: KindFields(
        "the most of a page that one brand or category takes",
        {"per": Choice(("brand", "category"))},
        _SCOPE | _WHEN | _PRIORITY | _CAPPED,
        needs_one=("share", "most"),
    ),
    Kind.MARGIN_FLOOR: KindFields(
        "behind all others where less than this share of the price is earned",
        {"share": Real(0.0, 1.0, open_low=True, open_high=True)},
        _SCOPE | _WHEN | _PRIORITY | _SELECTION,
    ),
    Kind.BACK_ORDER: KindFields(
        "behind all others where the risk of a back-order is above this, replaced by a similar"
        " product in stock",
        {"risk": Real(0.0, 1.0, open_high=True)},
        _SCOPE | _WHEN | _PRIORITY | _SELECTION,
    ),
}


def list_of(per: str) -> str:
    """The field that lists what a cap `per` brand or category is for."""
    return "brands" if per == "brand" else "categories"


def json_schema() -> dict[str, Any]:
    """The book as JSON Schema (draft 2020-12), for editors and for other programs that write it.

    It says what each field may hold. What only the whole book shows (double ids, contradictory
    pins, names that the catalogue lacks, windows that end before they start) is the reader's.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Vitrine rule book",
        "type": "object",
        "properties": {name: each.schema() for name, each in BOOK_FIELDS.items()}
        | {
            "rules": {
                "type": "array",
                "maxItems": MAX_RULES,
                "items": {"oneOf": [_rule_schema(kind, of) for kind, of in KIND_FIELDS.items()]},
            }
        },
        "required": list(BOOK_FIELDS),
        "additionalProperties": False,
        "$defs": {"country": {"type": "string", "pattern": f"^({'|'.join(_COUNTRY.values)})$"}},
    }


def _rule_schema(kind: Kind, fields: KindFields) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "title": kind.value,
        "description": fields.says,
        "type": "object",
        "properties": {name: each.schema() for name, each in fields.all.items()}
        | {"kind": {"const": kind.value}},
        "required": ["id", "kind", *fields.required],
        "additionalProperties": False,
    }
    if fields.needs:
        schema["anyOf"] = [{"required": [name]} for name in fields.needs]
    if fields.needs_one:
        schema["oneOf"] = [{"required": [name]} for name in fields.needs_one]
    return schema
