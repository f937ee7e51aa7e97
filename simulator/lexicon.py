"""Lexicon: the words and plain facts that the simulated catalogue is written with.

Only data. What is drawn from it, and how often, is decided in `simulator.catalogue`.
"""

from dataclasses import dataclass
from enum import StrEnum


class Department(StrEnum):
    """The three shops under one roof."""

    HOME = "home"
    FASHION = "fashion"
    OUTDOOR = "outdoor"


@dataclass(frozen=True, slots=True)
class CategoryFacts:
    """What products of one category are like."""

    name: str
    department: Department
    nouns: tuple[str, ...]
    materials: tuple[str, ...]
    uses: tuple[str, ...]
    seasons: tuple[str, ...]
    price_minor: int  # median list price
    return_logit: float  # against the average product; what must fit comes back more often
    goes_with: tuple[str, ...]  # categories of complementary products


SEASONS = ("all-year", "spring", "summer", "autumn", "winter")
STYLES = (
    "classic",
    "scandinavian",
    "industrial",
    "bohemian",
    "minimalist",
    "rustic",
    "sporty",
    "elegant",
)
COLOURS = (
    "black",
    "white",
    "grey",
    "navy",
    "sand",
    "olive",
    "rust",
    "burgundy",
    "forest green",
    "sky blue",
    "mustard",
    "blush",
)
SEGMENTS = (
    "families",
    "students",
    "nest-builders",
    "trend-seekers",
    "classic-dressers",
    "outdoor-people",
    "bargain-hunters",
    "premium-lovers",
)
COUNTRIES = ("DE", "FR", "NL", "AT", "IT", "BE", "ES", "GB")
DEVICES = ("mobile", "desktop", "tablet")

_H, _F, _O = Department.HOME, Department.FASHION, Department.OUTDOOR
_ALL = ("all-year",)
_WARM = ("all-year", "spring", "summer")
_COLD = ("all-year", "autumn", "winter")
_FABRIC = ("cotton", "linen", "viscose", "recycled polyester")
_WOOD = ("oak", "walnut", "pine", "steel")

CATEGORIES: tuple[CategoryFacts, ...] = (
    CategoryFacts(
        "sofas", _H, ("two-seat sofa", "corner sofa", "sofa bed", "loveseat"),
        ("linen", "leather", "velvet", "recycled polyester"), ("living room", "office"),
        _ALL, 79_900, 0.1, ("armchairs", "rugs", "lamps"),
    ),
    CategoryFacts(
        "armchairs", _H, ("armchair", "reading chair", "rocking chair", "ottoman"),
        ("linen", "leather", "velvet", "oak"), ("living room", "bedroom"),
        _ALL, 29_900, 0.1, ("sofas", "lamps", "rugs"),
    ),
    CategoryFacts(
        "dining tables", _H, ("dining table", "extendable table", "bistro table"),
        _WOOD, ("dining room", "kitchen", "garden"),
        _ALL, 44_900, -0.3, ("chairs", "tableware", "lamps"),
    ),
    CategoryFacts(
        "chairs", _H, ("dining chair", "bar stool", "desk chair", "folding chair"),
        ("oak", "pine", "steel", "velvet"), ("dining room", "office", "garden"),
        _ALL, 11_900, -0.1, ("dining tables", "rugs"),
    ),
    CategoryFacts(
        "shelves", _H, ("bookshelf", "wall shelf", "sideboard", "shoe rack"),
        _WOOD, ("living room", "office", "hallway"),
        _ALL, 15_900, -0.4, ("storage boxes", "lamps"),
    ),
    CategoryFacts(
        "bedding", _H, ("duvet cover", "bed sheet", "pillowcase set", "bedspread"),
        ("cotton", "linen", "viscose", "wool"), ("bedroom", "guest room"),
        ("all-year", "summer", "winter"), 5_990, -0.2, ("curtains", "lamps"),
    ),
    CategoryFacts(
        "rugs", _H, ("rug", "runner", "round rug", "bath mat"),
        ("wool", "cotton", "jute", "recycled polyester"), ("living room", "bedroom", "hallway"),
        _ALL, 13_900, 0.2, ("sofas", "armchairs", "curtains"),
    ),
    CategoryFacts(
        "curtains", _H, ("curtain pair", "blackout curtain", "roman blind"),
        ("linen", "cotton", "velvet", "recycled polyester"), ("living room", "bedroom"),
        _ALL, 5_490, 0.2, ("rugs", "bedding"),
    ),
    CategoryFacts(
        "lamps", _H, ("table lamp", "floor lamp", "pendant lamp", "wall lamp"),
        ("steel", "brass", "glass", "ceramic", "oak"), ("living room", "bedroom", "office"),
        _ALL, 7_990, -0.2, ("armchairs", "shelves", "dining tables"),
    ),
    CategoryFacts(
        "cookware", _H, ("frying pan", "saucepan", "casserole", "wok", "baking dish"),
        ("steel", "cast iron", "ceramic", "aluminium"), ("kitchen", "oven"),
        _ALL, 5_490, -0.5, ("tableware", "storage boxes"),
    ),
    CategoryFacts(
        "tableware", _H, ("dinner plate set", "bowl set", "mug pair", "glass set", "carafe"),
        ("ceramic", "glass", "stoneware", "bamboo"), ("dining room", "kitchen", "garden"),
        _ALL, 3_990, -0.4, ("cookware", "dining tables"),
    ),
    CategoryFacts(
        "storage boxes", _H, ("storage box", "basket", "laundry basket", "organiser"),
        ("jute", "bamboo", "cotton", "recycled polyester"), ("hallway", "bedroom", "office"),
        _ALL, 2_490, -0.5, ("shelves", "bedding"),
    ),
    CategoryFacts(
        "dresses", _F, ("midi dress", "maxi dress", "shirt dress", "wrap dress", "slip dress"),
        (*_FABRIC, "silk"), ("party", "everyday", "office"),
        ("summer", "spring", "all-year", "winter"), 6_990, 0.9, ("bags", "scarves", "sneakers"),
    ),
    CategoryFacts(
        "shirts", _F, ("shirt", "blouse", "overshirt", "polo shirt"),
        (*_FABRIC, "silk"), ("office", "everyday"),
        _WARM, 4_490, 0.4, ("trousers", "jeans", "knitwear"),
    ),
    CategoryFacts(
        "t-shirts", _F, ("t-shirt", "long-sleeved top", "tank top"),
        ("cotton", "linen", "recycled polyester", "merino"), ("everyday", "training"),
        _WARM, 1_990, 0.1, ("jeans", "trousers", "sneakers"),
    ),
    CategoryFacts(
        "knitwear", _F, ("jumper", "cardigan", "roll-neck jumper", "knitted vest"),
        ("wool", "merino", "cashmere", "cotton"), ("everyday", "office"),
        _COLD, 6_490, 0.4, ("jeans", "scarves", "coats"),
    ),
    CategoryFacts(
        "coats", _F, ("coat", "trench coat", "parka", "puffer jacket"),
        ("wool", "cotton", "recycled polyester", "down"), ("everyday", "office", "travel"),
        _COLD, 14_900, 0.5, ("scarves", "boots", "knitwear"),
    ),
    CategoryFacts(
        "trousers", _F, ("trousers", "chinos", "culottes", "shorts"),
        ("cotton", "linen", "wool", "viscose"), ("office", "everyday", "travel"),
        _WARM, 5_490, 0.7, ("shirts", "t-shirts", "sneakers"),
    ),
    CategoryFacts(
        "jeans", _F, ("straight jeans", "slim jeans", "wide jeans", "denim jacket"),
        ("cotton", "denim", "hemp"), ("everyday", "travel"),
        _ALL, 6_990, 0.8, ("t-shirts", "shirts", "sneakers"),
    ),
    CategoryFacts(
        "sneakers", _F, ("sneakers", "slip-on shoes", "running shoes", "sandals"),
        ("leather", "canvas", "recycled polyester", "suede"), ("everyday", "training", "travel"),
        _WARM, 8_490, 0.6, ("jeans", "t-shirts", "trousers"),
    ),
    CategoryFacts(
        "boots", _F, ("ankle boots", "chelsea boots", "knee boots"),
        ("leather", "suede", "rubber"), ("everyday", "office", "party"),
        _COLD, 11_900, 0.7, ("coats", "jeans", "scarves"),
    ),
    CategoryFacts(
        "bags", _F, ("tote bag", "shoulder bag", "crossbody bag", "clutch"),
        ("leather", "canvas", "suede", "recycled polyester"), ("everyday", "office", "party"),
        _ALL, 7_490, 0.0, ("scarves", "dresses"),
    ),
    CategoryFacts(
        "scarves", _F, ("scarf", "silk scarf", "shawl", "beanie"),
        ("wool", "silk", "cashmere", "cotton"), ("everyday", "party", "travel"),
        _COLD, 3_490, -0.2, ("coats", "bags", "knitwear"),
    ),
    CategoryFacts(
        "tents", _O, ("two-person tent", "family tent", "tarp", "beach shelter"),
        ("ripstop nylon", "recycled polyester", "canvas"), ("camping", "hiking", "festival"),
        ("summer", "spring", "all-year"), 19_900, -0.2, ("sleeping bags", "camp kitchen"),
    ),
    CategoryFacts(
        "sleeping bags", _O, ("sleeping bag", "sleeping mat", "camping quilt"),
        ("down", "ripstop nylon", "recycled polyester"), ("camping", "hiking"),
        ("summer", "winter", "all-year"), 11_900, -0.1, ("tents", "backpacks"),
    ),
    CategoryFacts(
        "backpacks", _O, ("backpack", "daypack", "trekking pack", "duffel bag"),
        ("ripstop nylon", "canvas", "recycled polyester"), ("hiking", "travel", "cycling"),
        _ALL, 9_490, 0.1, ("hiking boots", "sleeping bags", "bottles"),
    ),
    CategoryFacts(
        "hiking boots", _O, ("hiking boots", "trail shoes", "approach shoes"),
        ("leather", "suede", "recycled polyester"), ("hiking", "travel"),
        ("all-year", "summer", "autumn"), 13_900, 0.8, ("backpacks", "rainwear"),
    ),
    CategoryFacts(
        "rainwear", _O, ("rain jacket", "softshell jacket", "rain trousers", "poncho"),
        ("ripstop nylon", "recycled polyester", "rubber"), ("hiking", "cycling", "everyday"),
        ("all-year", "spring", "autumn"), 10_900, 0.4, ("hiking boots", "backpacks"),
    ),
    CategoryFacts(
        "camp kitchen", _O, ("camping stove", "camping pot set", "cool box", "folding table"),
        ("aluminium", "steel", "bamboo"), ("camping", "festival", "garden"),
        ("summer", "spring", "all-year"), 5_990, -0.3, ("tents", "bottles"),
    ),
    CategoryFacts(
        "bottles", _O, ("water bottle", "vacuum flask", "lunch box", "travel mug"),
        ("steel", "aluminium", "glass", "bamboo"), ("hiking", "office", "training"),
        _ALL, 2_490, -0.5, ("backpacks", "camp kitchen"),
    ),
)  # fmt: skip

# Brand and series names are put together from these, so that no real brand is meant.
BRAND_STARTS = (
    "Alder", "Birke", "Corvin", "Dunmar", "Elvar", "Fenholt", "Granvik", "Halden", "Isker",
    "Jorven", "Kestra", "Lindel", "Morvan", "Nordal", "Ostrava", "Pellin", "Quenby", "Rosmar",
    "Solvei", "Tarnby", "Ulmen", "Vestri", "Wendal", "Ysolde",
)  # fmt: skip
BRAND_ENDS = ("& Sons", "Works", "Studio", "House", "Supply", "Atelier", "Goods", "Line")
SERIES = (
    "Alba", "Brisa", "Calla", "Dara", "Elio", "Fjord", "Gale", "Heron", "Iris", "Juno", "Kite",
    "Lumo", "Mira", "Nilo", "Orla", "Pino", "Quill", "Runa", "Sella", "Tilda", "Umbra", "Vela",
    "Wren", "Xenia", "Yara", "Zephyr",
)  # fmt: skip
