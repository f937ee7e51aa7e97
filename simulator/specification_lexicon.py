"""Specification lexicon: which measures, features and labels products of a category have.

Only data. What is drawn from it is decided in `simulator.specifications`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measure:
    """A number with a unit, drawn from low to high in steps."""

    name: str
    unit: str
    low: float
    high: float
    step: float


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Specification:
    """What the specifications of one category tell, beside material, use, season and style."""

    measures: tuple[Measure, ...]
    choices: tuple[Choice, ...]
    features: tuple[str, ...]


_FURNITURE_CARE = Choice(
    "care", ("wipe with a damp cloth", "vacuum weekly", "dust with a dry cloth")
)
_FABRIC_CARE = Choice(
    "care", ("machine wash 30 °C", "machine wash 40 °C", "hand wash", "dry clean")
)
_SHOE_CARE = Choice("care", ("brush clean", "wipe with a damp cloth", "use a protective spray"))
_HOME_MEASURES = (
    Measure("width", "cm", 60, 240, 5),
    Measure("height", "cm", 40, 120, 5),
    Measure("depth", "cm", 30, 110, 5),
    Measure("weight", "kg", 4, 80, 1),
)
_FABRIC_MEASURES = (
    Measure("length", "cm", 55, 130, 1),
    Measure("fabric weight", "g/m²", 120, 380, 10),
)
_FIT = Choice("fit", ("regular", "slim", "relaxed", "oversized"))
_SOLE = Choice("sole", ("rubber", "cork", "EVA"))
_SHOE_MEASURES = (
    Measure("weight per shoe", "g", 180, 640, 10),
    Measure("heel height", "mm", 10, 60, 5),
)


def _home(*features: str) -> Specification:
    return Specification(
        _HOME_MEASURES,
        (_FURNITURE_CARE, Choice("assembly", ("none", "legs only", "full"))),
        features,
    )


def _textile(measures: tuple[Measure, ...], *features: str) -> Specification:
    return Specification(measures, (_FABRIC_CARE,), features)


def _garment(*features: str) -> Specification:
    return Specification(_FABRIC_MEASURES, (_FIT, _FABRIC_CARE), features)


def _shoe(*features: str) -> Specification:
    return Specification(_SHOE_MEASURES, (_SOLE, _SHOE_CARE), features)


SPECIFICATIONS: dict[str, Specification] = {
    "sofas": _home("removable covers", "storage compartment", "adjustable headrest"),
    "armchairs": _home("removable covers", "swivel base", "reclining backrest"),
    "dining tables": _home("extension leaf", "rounded edges", "scratch-resistant top"),
    "chairs": _home("stackable", "padded seat", "armrests"),
    "shelves": _home("adjustable shelves", "wall mounting kit", "cable outlet"),
    "bedding": _textile(
        (
            Measure("length", "cm", 200, 220, 10),
            Measure("width", "cm", 80, 240, 20),
            Measure("thread count", "", 144, 600, 4),
        ),
        "zip closure",
        "reversible design",
        "easy iron",
    ),
    "rugs": _textile(
        (
            Measure("length", "cm", 80, 300, 10),
            Measure("width", "cm", 50, 200, 10),
            Measure("pile height", "mm", 4, 30, 1),
        ),
        "non-slip backing",
        "suitable for underfloor heating",
        "hand-woven",
    ),
    "curtains": _textile(
        (Measure("length", "cm", 140, 300, 5), Measure("width", "cm", 90, 150, 5)),
        "blackout lining",
        "eyelet top",
        "thermal lining",
    ),
    "lamps": Specification(
        (
            Measure("height", "cm", 20, 180, 5),
            Measure("cable length", "cm", 120, 300, 10),
            Measure("maximum power", "W", 5, 60, 5),
        ),
        (
            Choice("compatible with", ("E27 bulbs", "E14 bulbs", "GU10 bulbs")),
            Choice("care", ("dust with a dry cloth",)),
        ),
        ("dimmable", "touch switch", "adjustable arm"),
    ),
    "tableware": Specification(
        (Measure("diameter", "cm", 8, 32, 1), Measure("pieces", "", 1, 24, 1)),
        (Choice("care", ("hand wash", "top rack of the dishwasher")),),
        ("dishwasher-safe", "microwave-safe", "stackable"),
    ),
    "cookware": Specification(
        (
            Measure("diameter", "cm", 14, 32, 2),
            Measure("volume", "l", 0.5, 8, 0.5),
            Measure("weight", "kg", 0.4, 4.5, 0.1),
        ),
        (
            Choice("compatible with", ("induction hobs", "gas hobs", "all hobs")),
            Choice("care", ("hand wash", "top rack of the dishwasher")),
        ),
        ("oven-safe", "stay-cool handle", "glass lid"),
    ),
    "storage boxes": Specification(
        (
            Measure("volume", "l", 5, 80, 1),
            Measure("width", "cm", 20, 60, 1),
            Measure("height", "cm", 15, 50, 1),
        ),
        (Choice("care", ("wipe with a damp cloth", "brush clean")),),
        ("lid", "carrying handles", "foldable"),
    ),
    "dresses": _garment("side pockets", "lined", "concealed zip"),
    "shirts": _garment("button-down collar", "chest pocket", "easy iron"),
    "t-shirts": _garment("crew neck", "moisture-wicking", "reinforced shoulders"),
    "knitwear": _garment("ribbed cuffs", "itch-free yarn", "side slits"),
    "coats": _garment("detachable hood", "inside pocket", "two-way zip"),
    "trousers": _garment("elastic waistband", "crease-resistant", "side pockets"),
    "jeans": _garment("five pockets", "stretch", "button fly"),
    "sneakers": _shoe("cushioned insole", "breathable upper", "reflective details"),
    "boots": _shoe("side zip", "warm lining", "non-slip sole"),
    "bags": Specification(
        (Measure("volume", "l", 2, 30, 1), Measure("weight", "g", 200, 1200, 20)),
        (
            Choice("care", ("wipe with a damp cloth", "brush clean")),
            Choice("compatible with", ("13-inch laptops", "15-inch laptops", "A4 folders")),
        ),
        ("laptop compartment", "detachable strap", "magnetic closure"),
    ),
    "scarves": _textile(
        (Measure("length", "cm", 90, 220, 5), Measure("width", "cm", 20, 90, 5)),
        "fringed edges",
        "reversible design",
        "hand-woven",
    ),
    "tents": Specification(
        (
            Measure("weight", "kg", 1.2, 9.5, 0.1),
            Measure("water column", "mm", 1500, 5000, 500),
            Measure("sleeps", "", 1, 6, 1),
            Measure("set-up time", "min", 3, 25, 1),
        ),
        (Choice("care", ("dry before packing",)),),
        ("taped seams", "mosquito net", "vestibule"),
    ),
    "sleeping bags": Specification(
        (
            Measure("weight", "g", 450, 2200, 50),
            Measure("comfort temperature", "°C", -15, 15, 1),
            Measure("length", "cm", 185, 225, 5),
        ),
        (_FABRIC_CARE,),
        ("two-way zip", "draught collar", "compression sack"),
    ),
    "backpacks": Specification(
        (Measure("volume", "l", 12, 75, 1), Measure("weight", "g", 420, 2400, 20)),
        (
            Choice("care", ("hand wash", "wipe with a damp cloth")),
            Choice("compatible with", ("2 l hydration bladders", "3 l hydration bladders")),
        ),
        ("rain cover", "ventilated back", "laptop compartment"),
    ),
    "hiking boots": _shoe("waterproof membrane", "ankle support", "non-slip sole"),
    "rainwear": Specification(
        (
            Measure("water column", "mm", 5000, 20000, 1000),
            Measure("weight", "g", 180, 900, 10),
        ),
        (_FIT, _FABRIC_CARE),
        ("taped seams", "detachable hood", "ventilation zips"),
    ),
    "camp kitchen": Specification(
        (Measure("weight", "g", 250, 3500, 50), Measure("volume", "l", 1, 30, 1)),
        (
            Choice("compatible with", ("screw-on gas cartridges", "induction hobs")),
            Choice("care", ("hand wash", "wipe with a damp cloth")),
        ),
        ("folding handles", "wind shield", "carry bag"),
    ),
    "bottles": Specification(
        (
            Measure("volume", "ml", 250, 1500, 50),
            Measure("keeps hot for", "h", 4, 24, 1),
            Measure("weight", "g", 120, 620, 10),
        ),
        (
            Choice("care", ("hand wash", "top rack of the dishwasher")),
            Choice("compatible with", ("standard cup holders", "bike bottle cages")),
        ),
        ("leakproof", "double-walled", "carrying loop"),
    ),
}

# Labels that a product may carry, by the materials they go with.
CERTIFICATIONS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("FSC", ("oak", "walnut", "pine", "bamboo")),
    ("OEKO-TEX Standard 100", ("cotton", "linen", "viscose", "silk", "velvet", "denim", "jute")),
    ("GOTS", ("cotton", "linen", "wool", "hemp")),
    ("Global Recycled Standard", ("recycled polyester",)),
    ("Responsible Wool Standard", ("wool", "merino", "cashmere")),
    ("Responsible Down Standard", ("down",)),
    ("bluesign", ("ripstop nylon", "recycled polyester")),
)
WARRANTY_YEARS = (1, 2, 3, 5, 10)
ORIGINS = ("Portugal", "Italy", "Poland", "Denmark", "Türkiye", "India", "Vietnam")
