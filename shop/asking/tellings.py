"""Tellings: sentences that answer with one line of a product's facts, and a schema of no others.

What a small model is good at is seeing which line answers a question; it is bad at copying. So the
schema of an answer lists, for each product, the sentences that tell its lines; the model chooses.
The describer learns from the same sentences.

`{n}` is a line's name, `{N}` the same with a capital, `{v}` its value, `{t}` the product's title.
"""

from collections.abc import Mapping, Sequence

from shop.asking.facts import AVAILABILITY, PRICE
from shop.asking.prompt import MAX_SENTENCE, MAX_SENTENCES, sentences_schema
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.tellings import plain, plain_value

_TOLD = (
    "Its {n} is {v}.",
    "The {n} is {v}.",
    "{N}: {v}.",
    "The {n} of this one is {v}.",
    "It is listed with {n} {v}.",
)
_NAMED = ("The {n} of the {t} is {v}.", "The {t}: {n} {v}.", "{t}: its {n} is {v}.")
_PRICED = ("It costs {v}.", "Its price is {v}.", "The price is {v}.", "It is priced at {v}.")
_PRICED_BY_NAME = ("The {t} costs {v}.", "The price of the {t} is {v}.")
_STOCKED = ("It is in stock.", "This one is in stock.", "It is in stock now.")
_STOCKED_BY_NAME = ("The {t} is in stock.", "The {t} is in stock now.")


def tellings(line: Attribute, facts: Facts, *, by_name: bool) -> list[str]:
    """The sentences that tell this line of the product, calling it "it" or by its title."""
    forms: tuple[str, ...] = _NAMED if by_name else _TOLD
    if line.name == PRICE:
        forms = _PRICED_BY_NAME if by_name else _PRICED
    elif line.name == AVAILABILITY:
        forms = _STOCKED_BY_NAME if by_name else _STOCKED
    name, value, title = plain(line.name), plain_value(line), plain(facts.title)
    if not value or (by_name and not title):
        return []
    told = (
        form.format(n=name.lower(), N=name[:1].upper() + name[1:], v=value, t=title)
        for form in forms
    )
    return [each for each in told if len(each) <= MAX_SENTENCE]


def telling_schema(
    products: Sequence[Facts], lines: Sequence[Sequence[Attribute]]
) -> Mapping[str, object]:
    """JSON schema of an answer that tells of each product no lines but these.

    Where a question names lines, each product that has one is told of, in order; where it names
    none, the model chooses whom to speak of.
    """
    said = [
        _sentences(number, facts, asked)
        for number, (facts, asked) in enumerate(zip(products, lines, strict=True), start=1)
    ]
    said = [each for each in said if each]
    every = [facts.attributes for facts in products]
    first = [] if [*map(tuple, lines)] == every else said[:MAX_SENTENCES]
    sentences = {
        "type": "array",
        **({"prefixItems": first} if first else {}),
        "items": {"anyOf": said},
        "minItems": max(1, len(first)),
        "maxItems": MAX_SENTENCES,
    }
    return {**sentences_schema(len(products)), "properties": {"sentences": sentences}}


def _sentences(number: int, facts: Facts, lines: Sequence[Attribute]) -> Mapping[str, object]:
    texts = [
        text
        for by_name in (False, True)
        for line in lines
        for text in tellings(line, facts, by_name=by_name)
    ]
    if not texts:
        return {}
    return {
        "type": "object",
        "properties": {
            "product": {"type": "integer", "enum": [number]},
            "text": {"type": "string", "enum": list(dict.fromkeys(texts))},
        },
        "required": ["product", "text"],
        "additionalProperties": False,
    }
