"""Call: what one wish for a text works with, and what the text is to be about."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from serving.describe.judging import Judges, PhotoJudge, Subject
from serving.describe.ports import Measures, Product, ProductFacts, SeenPhotos, SpamScorer, Writer
from serving.describe.versions import PUBLISHING, VersionReader, VersionWriter
from shop.descriptions.brand import BrandModel
from shop.descriptions.draft import Draft
from shop.descriptions.page_facts import Brief, campaign_facts
from shop.descriptions.pages import PageKind, style_for
from shop.descriptions.style import StyleGuide

_NO_BRIEF = Brief()


class Versions(VersionReader, VersionWriter, Protocol):
    """Reading and adding."""


@dataclass(frozen=True, slots=True)
class WritingSettings:
    """How the model is asked."""

    max_tokens: int = 600
    temperature: float = 0.4
    binds_wording: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Deps:
    """What the pipeline works with."""

    products: ProductFacts
    writer: Writer
    versions: Versions
    measures: Measures
    brand: BrandModel
    style: StyleGuide
    styles: Mapping[str, StyleGuide]  # by category
    spam: SpamScorer
    photos: PhotoJudge
    seen: SeenPhotos
    writing: WritingSettings
    now_ms: Callable[[], int]
    new_id: Callable[[], str]

    @property
    def judges(self) -> Judges:
        """Who is asked about a text."""
        return Judges(self.measures, self.brand, self.spam, self.photos)


@dataclass(frozen=True, slots=True)
class Wish:
    """One text that somebody wants."""

    product_id: str  # or the id of a campaign, or the name of a category
    actor: str
    seed: int
    adapter: str | None
    kind: PageKind = PageKind.PRODUCT
    brief: Brief = _NO_BRIEF  # of a campaign


async def product_of(wish: Wish, deps: Deps) -> Product:
    """What is known of a page's subject, and how much hangs on it. Raises NotFound."""
    match wish.kind:
        case PageKind.CATEGORY:
            return await deps.products.category(wish.product_id)
        case PageKind.CAMPAIGN:
            found = [await deps.products.product(each) for each in wish.brief.product_ids]
            facts = campaign_facts(
                wish.product_id, wish.brief.stated, [each.facts for each in found]
            )
            if not found:  # a letter about no product in particular is about all of them
                return replace(await deps.products.whole_shop(), facts=facts)
            margin = sum(each.margin for each in found) / len(found)
            share = max(each.traffic_share for each in found)
            return Product(facts, sum(each.traffic for each in found), share, margin)
        case _:
            return await deps.products.product(wish.product_id)


async def subject_of(kind: PageKind, product: Product, deps: Deps) -> Subject:
    """What a text is held to."""
    style = deps.style.for_category(deps.styles, product.facts.category)
    human = None
    if kind is PageKind.CATEGORY:
        human = await _page_by_a_person(product.facts.product_id, deps.versions)
    return Subject(kind, product.facts, style_for(kind, style), human)


async def _page_by_a_person(category: str, versions: VersionReader) -> Draft | None:
    """The newest that a person wrote and that was published once."""
    kept, decisions = await versions.history(category, PageKind.CATEGORY)
    shown = {each.version_id for each in decisions if each.action in PUBLISHING}
    written = (each.version for each in kept if not each.version.model)
    return next((each.text for each in written if each.version_id in shown), None)
