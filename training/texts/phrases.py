"""Phrases: the words that product pages are put together from. Only data.

No phrase claims anything by itself: what is said of a product stands in its slots, which
`training.texts.grammar` fills from the facts. `{v}` is an attribute's value, `{n}` its name, `{N}`
its name with a capital; `{title}`, `{brand}` and `{category}` are the product's.
"""

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

# Whole sentences about one attribute. Names that are not listed take GENERIC_SENTENCES.
SENTENCES: dict[str, tuple[str, ...]] = {
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

# One feature bullet, or a part of one.
BULLETS: dict[str, tuple[str, ...]] = {
    "use": ("For {v}", "Made for {v}", "Use: {v}"),
    "season": ("Season: {v}", "For {v}", "Made for {v}"),
    "style": ("Style: {v}", "{v} in style", "A {v} look"),
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
YES_OR_NO_SENTENCES = ("{N}: {v}.", "The {n}: {v}.", "For {n} we note {v}.")
YES_OR_NO_BULLETS = ("{N}: {v}", "{N} – {v}")
JOINTS = ("; ", " · ", ", ")

MATCHES = ("goes with", "compatible with", "suitable for", "compatible models")  # attribute names
MATCH_CLOSES = (
    "It goes with {v}.",
    "Put it together with {v}.",
    "It belongs beside {v}.",
    "Use it with {v}.",
)
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
