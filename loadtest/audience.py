"""Audience: real shoppers and products to put into calls, drawn from the current release."""

from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq

from loadtest.current import current_folder
from loadtest.traffic import Audience
from shop.errors import NotFound
from shop.release import CATALOGUE_FILE, HISTORIES_FILE


def audience_of(state_dir: Path) -> Audience:
    """Shoppers and products of the current release; nobody if there is none in this folder."""
    try:
        folder = current_folder(state_dir)
    except NotFound:
        return Audience((), ())
    shoppers = pc.unique(pq.read_table(folder / HISTORIES_FILE, columns=["user_id"])["user_id"])
    products = pq.read_table(folder / CATALOGUE_FILE, columns=["product_id"])["product_id"]
    return Audience(shoppers.to_pylist(), products.to_pylist())
