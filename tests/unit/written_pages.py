"""A true letter about `a_shelf` and true pages about its category."""

from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute
from shop.descriptions.page_facts import Brief

OFFER = Brief(("P1",), (Attribute("offer", "20 % discount on every bookshelf until 30 November"),))


def a_letter(**changed: object) -> Draft:
    """What OFFER allows to say."""
    parts: dict[str, object] = {
        "opening": "Until 30 November every bookshelf of ours comes with a 20 % discount.",
        "bullets": ("The Halden Studio Alba bookshelf, made of oak and 80 cm wide",),
        "close": "Have a look at it in the shop, and tell us how you like it.",
        "title": "20 % discount on every bookshelf",
        "summary": "Oak for your office, until 30 November.",
    }
    return Draft(**(parts | changed))  # type: ignore[arg-type]


def a_category_page(**changed: object) -> Draft:
    """About shelves."""
    parts: dict[str, object] = {
        "opening": (
            "Shelves keep your books, boxes and plants where you see them. Ours are made of oak,"
            " come from Halden Studio, and fit an office as well as a small room. Each of them is"
            " FSC certified, and you choose by width, height and colour."
        ),
        "bullets": (
            "80 cm wide and 120 cm tall, so that shelves fit between a door and a window",
            "Adjustable shelves, for books of any height",
            "A wall mounting kit, for a firm hold",
        ),
        "close": "They go with storage boxes and lamps, and come with a warranty of 5 years.",
        "title": "Shelves in oak for office and home",
        "summary": (
            "Shelves in oak by Halden Studio, 80 cm wide, FSC certified, with a wall mounting kit"
            " and a warranty of 5 years."
        ),
    }
    return Draft(**(parts | changed))  # type: ignore[arg-type]
