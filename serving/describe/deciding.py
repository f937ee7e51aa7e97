"""Deciding: a judged text becomes a version with the first decision about it."""

from serving.describe.call import Deps, Wish
from serving.describe.judging import Attempt
from serving.describe.ports import Product
from serving.describe.versions import Action, Decision, Impact, Version
from shop.descriptions.pages import PageKind
from shop.descriptions.prompts import Prompt
from shop.descriptions.style import StyleGuide


def version_of(
    wish: Wish, deps: Deps, product: Product, prompt: Prompt, attempt: Attempt, attempts: int
) -> Version:
    """With everything that made it; `attempts` is 0 where no model of ours wrote it."""
    # What was left out of the facts may have been put there on purpose: a person should look.
    risk = 1.0 if product.facts.left_out else 1.0 - attempt.scores.confidence
    return Version(
        version_id=deps.new_id(),
        product_id=wish.product_id,
        text=attempt.draft,
        facts=product.facts,
        prompt=prompt.text,
        prompt_version=prompt.version,
        model=deps.writer.model_version if attempts else "",
        adapter=wish.adapter or "",
        seed=wish.seed,
        attempts=attempts,
        scores=attempt.scores,
        faults=attempt.faults,
        impact=Impact(product.traffic, product.margin, risk),
        actor=wish.actor,
        created_ms=deps.now_ms(),
        kind=wish.kind,
        measures=attempt.measures,
    )


def verdict(version: Version, product: Product, style: StyleGuide, attempt: Attempt) -> Decision:
    """Published, for review, or rejected."""
    if attempt.is_blocked:
        first = next(str(fault) for fault in attempt.faults if fault.is_blocking)
        return decision_about(version, Action.REJECTED, first)
    confidence = attempt.scores.confidence
    if version.kind is PageKind.CAMPAIGN:
        return decision_about(version, Action.QUEUED, "what was sent cannot be taken back")
    if product.facts.left_out:
        names = ", ".join(product.facts.left_out[:5])
        return decision_about(version, Action.QUEUED, f"attributes that were left out: {names}")
    if product.traffic_share > style.publish_traffic_below:
        return decision_about(version, Action.QUEUED, "a busy product")
    if confidence < style.publish_above:
        why = f"confidence {confidence:.2f} below {style.publish_above:.2f}"
        return decision_about(version, Action.QUEUED, why)
    return decision_about(version, Action.PUBLISHED, f"confidence {confidence:.2f}")


def decision_about(version: Version, action: Action, reason: str) -> Decision:
    """By whoever asked for the version, in the moment that it was made."""
    return Decision(
        version.version_id,
        version.product_id,
        action,
        version.actor,
        reason,
        version.created_ms,
        version.kind,
    )
