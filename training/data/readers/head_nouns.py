"""Head nouns: a derived category for giftware titles that come without one.

The category is the noun a title ends on ("RED RETROSPOT LUNCH BOX" is a box), from a fixed table
made by reading the commonest last words of the Online Retail titles. It is a reading of the title
and nothing more: a title without a noun of the table has no category.
"""

import re

# category: words that stand for it, in the singular
_NOUNS = {
    "apron": "apron",
    "bag": "bag handbag washbag shopper",
    "basket": "basket bucket",
    "bottle": "bottle flask",
    "bowl": "bowl dish",
    "box": "box tin",
    "bunting": "bunting banner",
    "cake case": "case doily",
    "candle": "candle incense",
    "candle holder": "holder candleholder candlestick lantern",
    "card": "card wrap tag envelope postcard",
    "charm": "charm keyring",
    "clock": "clock thermometer",
    "cushion": "cushion cover pillow throw",
    "cutlery": "cutlery spoon fork knife",
    "decoration": "decoration garland wreath bell bauble dec ornament",
    "door and hooks": "hook hanger knob doorstop rack peg doormat",
    "figure": "doll girl bunny rabbit gnome",
    "frame": "frame album",
    "furniture": "cabinet chair stool table shelf drawer drawers bench",
    "game": "game toy jigsaw puzzle ball domino snap skittle",
    "garden": "planter windmill birdhouse watering trellis seed",
    "hot water bottle": "warmer",
    "jar": "jar pot jug vase canister",
    "jewellery": "necklace bracelet ring earring bangle brooch choker pendant hairclip",
    "kit": "kit",
    "lamp": "light lamp lampshade chandelier nightlight",
    "letters": "letter number alphabet",
    "magnet": "magnet",
    "mirror": "mirror compact",
    "mug": "mug cup saucer teacup beaker glass tumbler",
    "notebook": "notebook book journal sketchbook diary notepad",
    "ornament stand": "stand cakestand",
    "parasol": "parasol umbrella",
    "party": "balloon napkin straw tissue serviette",
    "plate": "plate placemat coaster tray board",
    "purse": "purse wallet passport",
    "ribbon and tape": "ribbon tape sticker patch",
    "sign": "sign plaque blackboard chalkboard memoboard",
    "stationery": "pencil pen ruler eraser rubber crayon",
    "towel": "towel flannel sponge soap",
}
_CATEGORY_OF = {word: category for category, words in _NOUNS.items() for word in words.split()}
# What comes after these describes the product; its noun stands before.
_TAIL = re.compile(r"\b(with|in|for|on|w)\b|[,+(].*")
_WORD = re.compile(r"[a-z]+")


def head_nouns(titles: list[str]) -> list[str]:
    """The derived category of every title, "" where the table knows no noun of it."""
    return [_category(title.lower()) for title in titles]


def _category(title: str) -> str:
    title = title.replace("hot water bottle", "warmer")  # no drinking bottle
    for part in (_TAIL.split(title, maxsplit=1)[0], title):
        for word in reversed(_WORD.findall(part)):
            category = _CATEGORY_OF.get(word) or _CATEGORY_OF.get(word.removesuffix("s"))
            category = category or _CATEGORY_OF.get(word.removesuffix("es"))
            if category:
                return category
    return ""
