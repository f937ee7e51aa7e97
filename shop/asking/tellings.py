"""Tellings: sentences that answer with one line of a product's facts, and a schema of no others.

What a small model is good at is seeing which line answers a question; it is bad at copying. So the
schema of an answer lists, for each product, the sentences that tell its lines; the model chooses.
The describer learns from the same sentences.

`{n}` is a line's name, `{N}` the same with a capital, `{v}` its value, `{t}` the product's title.
"""

from collections.abc import Mapping, Sequence

from shop.asking.facts import AVAILABILITY, PRICE
from shop.asking.judging import judge
from shop.asking.prompt import MAX_SENTENCE, MAX_SENTENCES, sentences_schema
from shop.asking.relevance import AskedLines
from shop.asking.sentences import Said
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.style import StyleGuide
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
    products: Sequence[Facts], asked: AskedLines, style: StyleGuide
) -> Mapping[str, object] | None:
    """JSON schema of an answer that tells of each product no lines but these; None if none can be.

    Where a question names lines, each product that has one is told of, in order; where it names
    none, the model chooses whom to speak of.
    """
    said = []
    for number, lines in enumerate(asked.lines, start=1):
        texts = [text for line in lines for text in _sayable(line, number, products, style)]
        if texts:
            said.append(_sentence(number, texts))
    if not said:
        return None
    first = said[:MAX_SENTENCES] if asked.is_named else []
    sentences = {
        "type": "array",
        **({"prefixItems": first} if first else {}),
        "items": {"anyOf": said},
        "minItems": max(1, len(first)),
        "maxItems": MAX_SENTENCES,
    }
    return {**sentences_schema(len(products)), "properties": {"sentences": sentences}}


def _sayable(
    line: Attribute, number: int, products: Sequence[Facts], style: StyleGuide
) -> list[str]:
    """Sentences that tell the line, of those whose first one stands before the judge."""
    facts = products[number - 1]
    found = []
    for by_name in (False, True):
        told = tellings(line, facts, by_name=by_name)
        if not told:
            continue
        judged = judge(Said(number, told[0]), products, style)
        if judged.stands and line.name in judged.told:
            found += told
    return found


def _sentence(number: int, texts: Sequence[str]) -> Mapping[str, object]:
    return {
        "type": "object",
        "properties": {
            "product": {"type": "integer", "enum": [number]},
            "text": {"type": "string", "enum": list(dict.fromkeys(texts))},
        },
        "required": ["product", "text"],
        "additionalProperties": False,
    }
