"""Page keys: by what the store of versions keeps a page, and how webhooks call its kind."""

from shop.descriptions.pages import PageKind

# No id holds this character: the door refuses control characters.
_SEPARATOR = "\x1f"
TOLD_AS = {  # what a webhook's type begins with
    PageKind.PRODUCT: "description",
    PageKind.CAMPAIGN: "campaign",
    PageKind.CATEGORY: "category",
    PageKind.PHOTO: "photo",
}


def page_key(page_id: str, kind: PageKind) -> str:
    """By what a page is kept: no two pages of different kinds have one key."""
    return page_id if kind is PageKind.PRODUCT else f"{kind}{_SEPARATOR}{page_id}"


def is_product_key(key: str) -> bool:
    """Whether a page's key is a product's id."""
    return _SEPARATOR not in key
