"""Version records: a version as the JSON body that both stores keep, and back."""

import json
from dataclasses import asdict

from serving.describe.versions import Impact, Scores, Version
from shop.descriptions.draft import Draft
from shop.descriptions.facts import Attribute, Facts
from shop.descriptions.faults import Fault, FaultKind
from shop.descriptions.pages import Measure, PageKind
from shop.errors import DependencyUnavailable


def to_body(version: Version) -> str:
    """Everything of a version, as JSON."""
    return json.dumps(asdict(version), ensure_ascii=False)


def from_body(body: str) -> Version:
    """Raises DependencyUnavailable if the record is damaged."""
    try:
        raw = json.loads(body)
        text, facts = raw.pop("text"), raw.pop("facts")
        attributes = tuple(Attribute(**each) for each in facts.pop("attributes"))
        left_out = tuple(facts.pop("left_out"))
        faults = tuple(
            Fault(FaultKind(each["kind"]), each["text"], each["reason"])
            for each in raw.pop("faults")
        )
        return Version(
            **{
                **raw,
                "text": Draft(**{**text, "bullets": tuple(text["bullets"])}),
                # Records of the time when there were only products have neither.
                "kind": PageKind(raw.get("kind", PageKind.PRODUCT)),
                "measures": tuple(Measure(**each) for each in raw.get("measures", ())),
                "facts": Facts(**facts, attributes=attributes, left_out=left_out),
                "faults": faults,
                "scores": Scores(**raw["scores"]),
                "impact": Impact(**raw["impact"]),
            }
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DependencyUnavailable("versions", f"a record is damaged: {error}") from error
