"""Tellings: in which words a page is put together, from its lead over its lines to its close.

The describer learns from pages that are put together of these, and the grammar of its answers
(`shop.descriptions.wording`) has them, too: what is asked for is what the model would like to say.
No form claims anything by itself: what is said of a product stands in its slots.

`{v}` is an attribute's value, `{n}` its name, `{N}` its name with a capital; `{title}`, `{brand}`
and `{category}` are the product's.
"""

from collections.abc import Mapping, Sequence

from shop.descriptions.facts import Attribute, Facts

MAX_BULLETS, MIN_BULLETS, MAX_BULLET = 8, 2, 160
MAX_WORDS = 24  # of a bullet
_MAX_VALUE = 120  # characters; a longer one is left out

LEADS = (
    "Here is the {title}.",
    "Meet the {title}.",
    "This is the {title}.",
    "Take a look at the {title}.",
    "{title}: here is what you should know.",
    "{title}, told in a few words.",
    "You are looking at the {title}.",
)
BRAND_LEADS = (
    "{brand} presents the {title}.",
    "From {brand}: the {title}.",
    "The {title} comes from {brand}.",
    "The {title} is by {brand}.",
    "By {brand}: the {title}.",
)
NAMELESS_LEADS = ("Here is what you should know.", "This product, told in a few words.")

CLOSES = (
    "Look at the list above before you order.",
    "All that we know of it is on this page; ask us for the rest.",
    "Look at the list above to see whether it suits you.",
    "Read the list above, then choose.",
    "If it suits your plans, you know all that you need.",
    "Have a look at our other {category}, too.",
    "See it beside our other {category} before you choose.",
    "There is more from {brand} in our shop.",
    "You find more by {brand} in our shop.",
)
KEYWORD_SENTENCES = (
    "If {v} is what you are looking for, read on.",
    "You searched for {v}: here it is.",
    "Looking for {v}? Read on.",
)

# Whole sentences about one attribute. Names that are not listed take GENERIC_SENTENCES.
SENTENCES: Mapping[str, tuple[str, ...]] = {
    "use": (
        "It is made for {v}.",
        "You can use it for {v}.",
        "It has its place where you need it for {v}.",
        "Its use: {v}.",
        "You will want it for {v}.",
    ),
    "season": (
        "It is meant for {v}.",
        "The season it is made for: {v}.",
        "Its season is {v}.",
        "You can plan on it for {v}.",
    ),
    "style": (
        "Its style is {v}.",
        "The look is {v}.",
        "If you like {v} things, you will like this one.",
        "It keeps to one style: {v}.",
    ),
    "material": (
        "It is made of {v}.",
        "The material is {v}.",
        "What you feel is {v}.",
        "You get it in {v}.",
    ),
    "colour": (
        "It comes in {v}.",
        "The colour is {v}.",
        "You get it in {v}.",
        "You see it here in {v}.",
    ),
    "goes with": ("It goes with {v}.", "Put it together with {v}.", "It belongs beside {v}."),
    "features": ("It has: {v}.", "What it has: {v}.", "It comes with: {v}."),
    "certification": ("It carries the label {v}.", "Its label: {v}.", "It is certified: {v}."),
    "made in": ("It is made in {v}.", "It comes from {v}.", "Made in {v}."),
    "care": ("Its care is simple to follow: {v}.", "To care for it: {v}.", "Care: {v}."),
    "category": ("You find it among our {v}.", "It belongs to our {v}.", "Look for it under {v}."),
    "brand": ("It is by {v}.", "It comes from {v}.", "The name behind it is {v}."),
}
GENERIC_SENTENCES = (
    "Its {n} is {v}.",
    "The {n}: {v}.",
    "{N} is {v}.",
    "For {n} we note {v}.",
    "We list its {n} as {v}.",
)

YES_OR_NO_SENTENCES = ("{N}: {v}.", "The {n}: {v}.", "For {n} we note {v}.")

# Names that are not listed take GENERIC_BULLETS.
BULLETS: Mapping[str, tuple[str, ...]] = {
    "use": ("For {v}", "Made for {v}", "Use: {v}"),
    "season": ("Season: {v}", "For {v}", "Made for {v}"),
    "style": ("Style: {v}", "{v} in style", "Look: {v}"),
    "material": ("Material: {v}", "Made of {v}", "In {v}"),
    "colour": ("Colour: {v}", "In {v}", "Comes in {v}"),
    "goes with": ("Goes with {v}", "Goes well beside {v}", "To go with {v}"),
    "features": ("Has: {v}", "With: {v}", "Features: {v}"),
    "certification": ("Label: {v}", "Certified: {v}", "Certification: {v}"),
    "made in": ("Made in {v}", "From {v}"),
    "care": ("Care: {v}", "To care for it: {v}"),
    "brand": ("Brand: {v}", "By {v}", "From {v}"),
    "category": ("Category: {v}", "From our {v}"),
}
GENERIC_BULLETS = ("{N}: {v}", "{N} – {v}", "{v} ({n})", "{N} is {v}")
# Of what is either there or not, "alarm clock: no": "no (alarm clock)" would be nobody's English.
YES_OR_NO = frozenset(("yes", "no"))
YES_OR_NO_BULLETS = ("{N}: {v}", "{N} – {v}")
MATCHES = ("goes with", "compatible with", "suitable for", "compatible models")  # attribute names
MATCH_CLOSES = (
    "It goes with {v}.",
    "Put it together with {v}.",
    "It belongs beside {v}.",
    "Use it with {v}.",
)
JOINTS = ("; ", " · ", ", ")

# What the answer's schema keeps out of strings. An inch keeps its sign.
_PLAIN = str.maketrans({'"': "″", "\\": "/", "<": "(", ">": ")"})


def plain(text: str) -> str:
    """Without the characters that the answer's schema forbids."""
    return " ".join(text.translate(_PLAIN).split())


def plain_value(attribute: Attribute) -> str:
    """The value as a page may show it; "" if it is too long to be told.

    Never a part of it: "waterproof, but not …" says something else than its first word.
    """
    text = plain(attribute.text)
    return text if len(text) <= _MAX_VALUE else ""


def leads_of(facts: Facts) -> tuple[str, ...]:
    """First sentences of a page about this product."""
    if not facts.title:
        return NAMELESS_LEADS
    forms = LEADS + (BRAND_LEADS if facts.brand else ())
    title, brand = plain(facts.title), plain(facts.brand)
    return tuple(form.format(title=title, brand=brand) for form in forms)


def keyword_sentences_of(keyword: str) -> tuple[str, ...]:
    """Sentences that greet whoever searched for this."""
    return tuple(form.format(v=plain(keyword)) for form in KEYWORD_SENTENCES)


def closes_of(facts: Facts) -> tuple[str, ...]:
    """Last sentences of a page: what the product goes with, where a line tells that."""
    told = (each for each in facts.attributes if each.name.casefold() in MATCHES)
    match = next((value for each in told if (value := plain_value(each))), "")
    if match:
        return tuple(form.format(v=match) for form in MATCH_CLOSES)
    category, brand = plain(facts.category), plain(facts.brand)
    return tuple(
        form.format(category=category, brand=brand)
        for form in CLOSES
        if ("{category}" not in form or category) and ("{brand}" not in form or brand)
    )


def sentences_of(attribute: Attribute) -> tuple[str, ...]:
    """Forms of sentences that tell this line."""
    if attribute.text.casefold() in YES_OR_NO:
        return YES_OR_NO_SENTENCES
    return SENTENCES.get(attribute.name.casefold(), GENERIC_SENTENCES)


def bullets_of(attribute: Attribute) -> tuple[str, ...]:
    """Forms of bullets that tell this line."""
    if attribute.text.casefold() in YES_OR_NO:
        return YES_OR_NO_BULLETS
    return BULLETS.get(attribute.name.casefold(), GENERIC_BULLETS)


def filled(form: str, attribute: Attribute) -> str:
    """A form with an attribute in it."""
    name, value = plain(attribute.name), plain_value(attribute)
    if form.endswith("{v}."):
        value = value.rstrip(".")  # the sentence has its own
    return form.format(v=value, n=name.lower(), N=name[:1].upper() + name[1:])


def packed(
    parts: Sequence[str],
    joint: str,
    *,
    most_bullets: int = MAX_BULLETS,
    most_words: int = MAX_WORDS,
) -> list[list[int]]:
    """Which parts share a bullet, in order: `most_bullets` of like length, none of them too long.

    What finds no room is left out.
    """
    bullets: list[list[int]] = []
    last = ""
    target = sum(map(len, parts)) / most_bullets
    crowded = len(parts) > most_bullets
    for at, part in enumerate(parts):
        joined = f"{last}{joint}{part}"
        fits = bool(bullets) and len(joined) <= MAX_BULLET and len(joined.split()) <= most_words
        has_room = bool(bullets) and len(last) < target
        if crowded and fits and (has_room or len(bullets) == most_bullets):
            bullets[-1].append(at)
            last = joined
        elif len(bullets) < most_bullets:
            bullets.append([at])
            last = part
    return bullets
