"""Window: the list that a shopper would see, why each product is there, and where the time went.

The list is made by the very door that storefronts call, as a preview: it is not logged as shown.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

from serving.client_calls import RequestFields
from serving.console.visits import Visit
from serving.proto import recommendations_pb2 as pb
from shop.errors import InvalidRequest

# Of `shop.features` and `serving.recommend.request`, which would load numpy; a test keeps them so.
PLACEMENTS = ("home", "product", "cart", "category", "search", "email")
STAGES = (
    "query",
    "history",
    "features",
    "cache",
    "tower",
    "candidates",
    "lookups",
    "ranking",
    "slate",
)
_DEVICES = ("", "desktop", "mobile", "tablet")
_COUNTS = (10, 20, 50)
_TINTS = 6
_WHY = {
    pb.PERSONALISED: "chosen for this shopper",
    pb.SIMILAR: "like what was looked at",
    pb.PROMOTED: "promoted by a rule",
    pb.EXPLORATION: "shown to learn",
    pb.POPULAR: "popular",
    pb.FALLBACK: "stands in: something was lost",
    pb.NEW: "newly arrived",
    pb.MATCHED: "what the query asks for",
}


@dataclass(frozen=True, slots=True)
class Chance:
    """A head of the ranker."""

    name: str
    share: float  # 0 to 1


@dataclass(frozen=True, slots=True)
class ShownProduct:
    """A place of the list."""

    position: int
    product: pb.RecommendedProduct
    why: str
    price: str
    list_price: str  # "" where it is not reduced
    chances: tuple[Chance, ...]
    sources: tuple[tuple[str, float | None], ...]  # with the score that each gave
    tint: int  # 0 to 5, of its tile


@dataclass(frozen=True, slots=True)
class StageTime:
    """A stage of the call, in the order of the call."""

    name: str
    ms: float
    share: float  # of the slowest stage, 0 to 1


async def show_window(visit: Visit) -> Response:
    """The form, and the list if a placement was chosen."""
    asked = {name: visit.asked(name) for name in _FIELDS}
    if not asked["placement"]:
        return visit.page("window.html", **_form(visit, asked), reply=None, problem="")
    began = time.perf_counter()
    try:
        reply = await visit.desk.stack.recommendations.recommend(**_request(asked))
    except InvalidRequest as error:
        return visit.page(
            "window.html",
            HTTPStatus.BAD_REQUEST,
            **_form(visit, asked),
            reply=None,
            problem=str(error),
        )
    took_ms = (time.perf_counter() - began) * 1_000.0
    return visit.page(
        "window.html",
        **_form(visit, asked),
        reply=reply,
        problem="",
        took_ms=took_ms,
        products=shown_products(reply),
        stages=stage_times(reply),
        total_ms=reply.stage_ms.get("total", took_ms),
    )


_FIELDS = ("shopper", "placement", "query", "about", "filter", "device", "country", "count")


def shown_products(reply: pb.RecommendResponse) -> tuple[ShownProduct, ...]:
    """The list, place by place."""
    return tuple(
        ShownProduct(
            position=at,
            product=item,
            why=_WHY.get(item.reason, "unknown"),
            price=money(item.price_minor, reply.currency),
            list_price=money(item.list_price_minor, reply.currency)
            if item.list_price_minor > item.price_minor
            else "",
            chances=_chances(item.explanation),
            sources=_sources(item),
            tint=sum(item.product_id.encode()) % _TINTS,
        )
        for at, item in enumerate(reply.items, start=1)
    )


def stage_times(reply: pb.RecommendResponse) -> tuple[StageTime, ...]:
    """Where the time went, in the order of the call; stages may overlap."""
    there = [name for name in STAGES if name in reply.stage_ms]
    there += sorted(name for name in reply.stage_ms if name not in (*STAGES, "total"))
    slowest = max((reply.stage_ms[name] for name in there), default=0.0)
    return tuple(
        StageTime(name, reply.stage_ms[name], reply.stage_ms[name] / slowest if slowest else 0.0)
        for name in there
    )


def money(minor: int, currency: str) -> str:
    """An amount as people read it."""
    return f"{minor / 100:,.2f} {currency}".rstrip()


def _request(asked: dict[str, str]) -> RequestFields:
    fields: RequestFields = {
        "user_id": asked["shopper"],
        "placement": asked["placement"],
        "query": asked["query"],
        "filter": asked["filter"],
        "device": asked["device"],
        "country": asked["country"],
        "context_product_ids": [each for each in asked["about"].replace(",", " ").split() if each],
        "page_size": _count(asked["count"]),
        "explain": True,
        "preview": True,
    }
    return fields


def _count(asked: str) -> int:
    return int(asked) if asked.isascii() and asked.isdigit() and len(asked) < 4 else _COUNTS[1]


def _form(visit: Visit, asked: dict[str, str]) -> dict[str, Any]:
    return {
        "asked": asked,
        "placements": PLACEMENTS,
        "devices": _DEVICES,
        "counts": _COUNTS,
        "example": visit.desk.example_shopper,
    }


def _chances(told: pb.Explanation) -> tuple[Chance, ...]:
    named = (
        ("click", "click"),
        ("cart", "into the cart"),
        ("purchase", "purchase"),
        ("return_risk", "return if bought"),
    )
    return tuple(Chance(words, getattr(told, name)) for name, words in named if told.HasField(name))


def _sources(item: pb.RecommendedProduct) -> tuple[tuple[str, float | None], ...]:
    scores = item.explanation.source_scores
    names: Sequence[str] = item.sources or sorted(scores)
    return tuple((name, scores.get(name)) for name in names)
