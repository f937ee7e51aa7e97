"""Phrases: the words that product pages are put together from. Only data.

No phrase claims anything by itself: what is said of a product stands in its slots, which
`training.texts.grammar` fills from the facts; those of bullets are in `shop.descriptions.tellings`,
for the answer's schema has them, too. `{v}` is an attribute's value, `{n}` its name, `{N}`
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
