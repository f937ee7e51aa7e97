"""Handing in: texts and photos from elsewhere, and people's edits, judged like our own texts."""

from dataclasses import replace

from serving.describe.call import Deps, Wish, product_of, subject_of
from serving.describe.deciding import decision_about, verdict, version_of
from serving.describe.judging import Shot, judge_draft
from serving.describe.ports import Photo, Product
from serving.describe.versions import Action, Kept, VersionReader
from shop.descriptions.draft import Draft
from shop.descriptions.pages import PageKind
from shop.descriptions.prompts import Prompt
from shop.errors import InvalidRequest


async def submit(wish: Wish, draft: Draft, model: str, deps: Deps) -> Kept:
    """Takes in a text that was written elsewhere: by `model`, or by a person if that is "".

    It is checked and decided about like one of ours. Raises NotFound.
    """
    product = await product_of(wish, deps)
    subject = await subject_of(wish.kind, product, deps)
    attempt = await judge_draft(draft, subject, deps.judges)
    handed_in = Prompt("submitted", "", "")
    made = version_of(wish, deps, product, handed_in, attempt, 0)
    version = replace(made, model=model)
    return await deps.versions.add(version, verdict(version, product, subject.style, attempt))


async def submit_photo(wish: Wish, alt: Draft, photo: Photo, deps: Deps) -> Kept:
    """Takes in a product's picture with the line that is read aloud in its place.

    The line is held to the product's facts, the picture to the shop's limits. Raises NotFound.
    """
    product = await product_of(wish, deps)
    subject = await subject_of(wish.kind, product, deps)
    shot = Shot(photo, await deps.seen.alike(photo, wish.product_id))
    attempt = await judge_draft(alt, replace(subject, shot=shot), deps.judges)
    handed_in = Prompt("submitted", "", "")
    made = version_of(wish, deps, product, handed_in, attempt, 0)
    version = replace(made, model="", photo=photo.digest)
    await deps.seen.keep(photo, wish.product_id)
    return await deps.versions.add(version, verdict(version, product, subject.style, attempt))


async def edit(version_id: str, draft: Draft, actor: str, deps: Deps) -> Kept:
    """Publishes a person's text in place of one that waits, held to the same facts.

    Raises InvalidRequest, naming what no fact grants, and NotFound through `waiting_version`.
    """
    old = (await waiting_version(version_id, deps.versions)).version
    if old.kind is PageKind.PHOTO:
        raise InvalidRequest("version_id", "is a photo's; hand it in again with another line")
    wish = Wish(old.product_id, actor, old.seed, None, old.kind)
    if old.kind is PageKind.CAMPAIGN:  # what it may rely on was told once, and is kept with it
        product = Product(old.facts, old.impact.traffic, 0.0, old.impact.margin)
    else:
        product = await product_of(wish, deps)
    subject = await subject_of(old.kind, product, deps)
    attempt = await judge_draft(draft, subject, deps.judges)
    blocking = [str(fault) for fault in attempt.faults if fault.is_blocking]
    if blocking:
        raise InvalidRequest("text", "; ".join(blocking[:5]))
    by_hand = Prompt(old.prompt_version, "", f"edited from {version_id}")
    version = replace(version_of(wish, deps, product, by_hand, attempt, 0), model="")
    why = f"edited from {version_id}"
    return await deps.versions.add(version, decision_about(version, Action.EDITED, why))


async def waiting_version(version_id: str, versions: VersionReader) -> Kept:
    """The version of this id. Raises InvalidRequest if there is none."""
    kept = await versions.version(version_id)
    if kept is None:
        raise InvalidRequest("version_id", f"{version_id[:40]!r} is no version; see ListReviews")
    return kept
