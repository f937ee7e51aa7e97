"""Audience: real shoppers, products, queries and sessions to put into calls."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadtest.current import current_folder
from loadtest.sessions import sessions_of
from loadtest.traffic import Audience
from shop.errors import NotFound
from shop.release import CATALOGUE_FILE, HISTORIES_FILE, SEARCH_VOCABULARY_FILE

_QUERIES = 2_000
_FINER = ("colour", "season", "material", "style")


def audience_of(state_dir: Path) -> Audience:
    """Shoppers and products of the current release; nobody if there is none in this folder."""
    try:
        folder = current_folder(state_dir)
    except NotFound:
        return Audience((), ())
    shoppers = pc.unique(pq.read_table(folder / HISTORIES_FILE, columns=["user_id"])["user_id"])
    products = pq.read_table(folder / CATALOGUE_FILE, columns=["product_id"])["product_id"]
    return Audience(shoppers.to_pylist(), products.to_pylist())


def lifelike_audience_of(state_dir: Path) -> Audience:
    """The same with what shoppers type, and with the sessions of the log behind the release."""
    audience = audience_of(state_dir)
    if not audience.shoppers:
        return audience
    folder = current_folder(state_dir)
    has_search = (folder / SEARCH_VOCABULARY_FILE).exists()
    logs = (state_dir / world / "events.parquet" for world in ("world", "world-quick"))
    sessions = sessions_of(next((log for log in logs if log.exists()), state_dir))
    known = set(audience.shoppers)
    return replace(
        audience,
        queries=_queries(folder / CATALOGUE_FILE, np.random.default_rng(11)) if has_search else (),
        sessions=[session for session in sessions if session.shopper in known],
    )


def _queries(catalogue_file: Path, rng: np.random.Generator) -> list[str]:
    """Texts such as "green winter lamps under 40": values of products and prices about theirs."""
    file = pq.ParquetFile(catalogue_file)
    finer = [name for name in _FINER if name in file.schema_arrow.names]
    if "category" not in file.schema_arrow.names:
        return []
    products = file.read(columns=[*finer, "category", "list_price_minor"]).to_pylist()
    queries = []
    for at in rng.integers(0, len(products), _QUERIES):
        product = products[at]
        words = [product[name] for name in finer if product[name] and rng.random() < 0.35]
        text = " ".join([*words, product["category"] or ""]).strip()
        near = max(1, round(product["list_price_minor"] * float(rng.uniform(0.8, 1.6)) / 100))
        queries.append(f"{text} under ${near}" if rng.random() < 0.5 else text)
    return [query for query in queries if query]
