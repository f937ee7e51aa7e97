"""Search: queries drawn from the specifications, answered by the whole pipeline in this process.

Every product of every list must be what its query asked for; the retrievals are compared without
constraints, where it shows which of them knows what words mean. Prices are list prices with
promotions on a quarter of the products, and one in ten is sold out.

Shapes: R catalogue rows, Q queries.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from loadtest.benchmarks.in_process import ExactIndex, InProcessModels, InProcessText
from loadtest.benchmarks.queries import Query, by_specification, by_title
from loadtest.benchmarks.result import Check, Grid, Result, at_least, at_most
from loadtest.benchmarks.stack import BenchmarkFailed
from loadtest.benchmarks.twin_shop import twin_shop
from loadtest.current import current_folder, current_manifest
from loadtest.histogram import percentile
from serving.adapters.release_files import load_tables
from serving.adapters.release_search import ReleaseSearch, load_search, searchable_texts
from serving.deadline import Deadline
from serving.recommend.call import Deps
from serving.recommend.pipeline import recommend
from serving.recommend.ports import LoadedRelease, ReleaseTables
from serving.recommend.request import Answer, Ask, Losses
from serving.recommend.search_ports import SearchParts
from shop.features import Context
from shop.fusion import fused
from shop.release import VECTORS_FILE
from shop.text_tokens import text_tokens
from shop.words import words_of

SPECIFICATION_QUERIES, TITLE_QUERIES = 600, 300
PLACES = 20
_REACH = 300  # of each retrieval, as in serving
_PATIENT_S = 30.0
_NOW_MS = 1_795_000_000_000
_ASK = Ask(
    request_id="",
    shopper="",
    session_id="bench",
    context=Context(now_ms=_NOW_MS, utc_offset_minutes=0, placement="search"),
    page_size=PLACES,
    page=None,
    recent_events=(),
    context_product_ids=(),
    cart_product_ids=(),
    exclude_product_ids=frozenset(),
    filter=None,
    strict_filtering=False,
    diversity=0.0,
    explain=False,
)


@dataclass(frozen=True, slots=True, eq=False)
class _Answered:
    """What came of the queries by specification."""

    queries: Sequence[Query]
    answers: Sequence[Answer]
    took_ms: NDArray[np.float64]  # [Q]
    unasked_ms: NDArray[np.float64]  # of as many calls without a query
    possible: NDArray[np.int64]  # [Q] products that are what was asked for, and can be had


@dataclass(frozen=True, slots=True)
class _Found:
    """Means over queries of one kind for one retrieval."""

    precision: float
    recall: float


def measure(state_dir: Path, images: Path) -> Result:
    """Share inside the constraints, precision and recall of each retrieval, latency."""
    folder, manifest = current_folder(state_dir), current_manifest(state_dir)
    tables = load_tables(folder, manifest)
    searching = load_search(folder, manifest, tables.catalogue)
    if searching is None:
        raise BenchmarkFailed(f"{manifest.release} cannot be searched: it has no titles")
    with closing(searching):
        return asyncio.run(_measured(folder, tables, searching))


async def _measured(folder: Path, tables: ReleaseTables, searching: ReleaseSearch) -> Result:
    parts = searching.parts(InProcessText(folder))
    models = InProcessModels(folder)
    index = ExactIndex.load(folder / VECTORS_FILE)
    deps = twin_shop(LoadedRelease(tables, models, models, index, parts))
    rng = np.random.default_rng(7)
    queries = by_specification(tables.catalogue, SPECIFICATION_QUERIES, rng)
    answered = await _answered(deps, queries)
    return _result(tables, answered, await _compared(deps, parts, rng))


async def _answered(deps: Deps, queries: Sequence[Query]) -> _Answered:
    rows = np.arange(1, deps.release.tables.catalogue.product_count + 1)
    offers = await deps.offers.look_up(rows, now_ms=_NOW_MS, within_s=_PATIENT_S, losses=Losses())
    to_be_had = offers.stock > 0
    catalogue = deps.release.tables.catalogue
    possible = [
        np.count_nonzero(query.fits(catalogue)[1:] & query.affords(offers.price_minor) & to_be_had)
        for query in queries
    ]
    answers, took_ms, unasked_ms = [], [], []
    for at, query in enumerate(queries):
        asked = replace(_ASK, request_id=f"search-{at}", query=query.text)
        began_s = time.perf_counter()
        answers.append(await _answer(asked, deps))
        took_ms.append((time.perf_counter() - began_s) * 1e3)
        began_s = time.perf_counter()
        await _answer(replace(asked, query=""), deps)
        unasked_ms.append((time.perf_counter() - began_s) * 1e3)
    times = np.array(took_ms), np.array(unasked_ms)
    return _Answered(queries, answers, *times, np.array(possible))


async def _answer(ask: Ask, deps: Deps) -> Answer:
    began_s = time.monotonic()
    deadline = Deadline(time.monotonic, start_s=began_s, total_s=_PATIENT_S, reserve_s=0.0)
    return await recommend(ask, deps, deadline)


async def _compared(
    deps: Deps, parts: SearchParts, rng: np.random.Generator
) -> dict[str, dict[str, _Found]]:
    """Kind of query → retrieval → how well it finds, without any constraint."""
    catalogue = deps.release.tables.catalogue
    texts = searchable_texts(catalogue)
    plain = by_specification(catalogue, TITLE_QUERIES, rng, priced=0.0)
    kinds = {
        "by specification": [(query.text, query.fits(catalogue)) for query in plain],
        "by title": by_title(catalogue, texts, TITLE_QUERIES, rng, mistyped=False),
        "by title, mistyped": by_title(catalogue, texts, TITLE_QUERIES, rng, mistyped=True),
    }
    return {kind: await _judged(deps, parts, asked) for kind, asked in kinds.items()}


async def _judged(
    deps: Deps, parts: SearchParts, asked: Sequence[tuple[str, NDArray[np.bool_]]]
) -> dict[str, _Found]:
    sums: dict[str, list[tuple[float, float]]] = {}
    for text, described in asked:
        if not np.any(described & deps.offers.maybe_in_stock):
            continue
        words = words_of(text)
        vector = await parts.encoder.text_vector(text_tokens(text), timeout_s=_PATIENT_S)
        near, _ = await parts.index.search(vector, _REACH, allowed=None, timeout_s=_PATIENT_S)
        by_words, _ = await parts.lexical.search(words, _REACH, allowed=None, timeout_s=_PATIENT_S)
        served = await _answer(replace(_ASK, request_id=text, query=text), deps)
        true = described & deps.offers.maybe_in_stock
        lists = {
            "lexical": by_words,
            "embedding": near,
            "fused": fused([near, by_words])[0],
            "served: understood, fused, ranked": served.slate.rows,
        }
        for name, rows in lists.items():
            there = rows[deps.offers.maybe_in_stock[rows]]
            hits = int(np.count_nonzero(true[there[:PLACES]]))
            # Of queries that few products answer, not even a perfect list has twenty hits.
            possible = min(PLACES, int(np.count_nonzero(true)))
            sums.setdefault(name, []).append((hits / possible, hits / np.count_nonzero(true)))
    means = {name: np.mean(np.array(each), axis=0) for name, each in sums.items()}
    return {name: _Found(float(mean[0]), float(mean[1])) for name, mean in means.items()}


def _result(
    tables: ReleaseTables, answered: _Answered, compared: dict[str, dict[str, _Found]]
) -> Result:
    shown, inside, relaxed, wrongly, missing = 0, 0, 0, 0, 0
    columns = zip(answered.queries, answered.answers, answered.possible.tolist(), strict=True)
    for query, answer, possible in columns:
        if answer.search is not None and answer.search.is_dead_end:
            relaxed, wrongly = relaxed + 1, wrongly + (possible > 0)
            continue
        at = answer.slate.at
        fits = query.fits(tables.catalogue)[answer.slate.rows]
        fits &= query.affords(answer.offers.price_minor[at])
        shown, inside = shown + at.size, inside + int(fits.sum())
        missing += min(PLACES, possible) - at.size
    p50, p99 = (percentile(answered.took_ms, each) for each in (50.0, 99.0))
    return Result(
        name="search",
        figures={
            "queries": len(answered.queries),
            "products_shown": shown,
            "inside_share": inside / max(1, shown),
            "relaxed": relaxed,
            "relaxed_wrongly": wrongly,
            "missing": missing,
            "p50_ms": round(p50, 3),
            "p99_ms": round(p99, 3),
            "without_query_p50_ms": round(percentile(answered.unasked_ms, 50.0), 3),
            **{
                f"{kind} {name} precision@{PLACES}": round(found.precision, 4)
                for kind, each in compared.items()
                for name, found in each.items()
            },
            **{
                f"{kind} {name} recall@{PLACES}": round(found.recall, 4)
                for kind, each in compared.items()
                for name, found in each.items()
            },
        },
        checks=(
            at_least("queries", len(answered.queries), 500, ""),
            at_least("products shown", shown, 1, ""),
            Check(
                "products inside the query's constraints",
                "all",
                f"{inside:,} of {shown:,}",
                inside == shown,
            ),
            at_most("searches relaxed although something fits", wrongly, 0, ""),
            at_most("products that fit and were left out of a short list", missing, 0, ""),
        ),
        grids=_grids(answered, relaxed, compared),
        notes=(
            "Truth is judged on the catalogue's columns and the prices shown, not by the parser."
            " Precision counts hits against what a perfect list could hold.",
        ),
    )


def _grids(
    answered: _Answered,
    relaxed: int,
    compared: dict[str, dict[str, _Found]],
) -> tuple[Grid, ...]:
    query_ms = np.array([answer.stage_ms["query"] for answer in answered.answers])
    found_ms = np.array([answer.stage_ms["candidates"] for answer in answered.answers])
    return (
        Grid(
            f"{len(answered.queries)} queries by specification, whole pipeline in process",
            ("relaxed", "p50", "p99", "understanding p50", "candidates p50", "p50 without query"),
            (
                (
                    str(relaxed),
                    f"{percentile(answered.took_ms, 50.0):.2f} ms",
                    f"{percentile(answered.took_ms, 99.0):.2f} ms",
                    f"{percentile(query_ms, 50.0):.2f} ms",
                    f"{percentile(found_ms, 50.0):.2f} ms",
                    f"{percentile(answered.unasked_ms, 50.0):.2f} ms",
                ),
            ),
        ),
        Grid(
            f"Finding, without prices, {TITLE_QUERIES} queries of each kind",
            ("queries", "retrieval", f"precision@{PLACES}", f"recall@{PLACES}"),
            tuple(
                (kind, name, f"{found.precision:.3f}", f"{found.recall:.3f}")
                for kind, each in compared.items()
                for name, found in each.items()
            ),
        ),
    )
