"""FastAPI and ONNX Runtime under uvicorn: what most teams begin with. One worker a core, uvloop and
httptools, and the blocking work in a plain `def`, which FastAPI runs in its thread pool, as its
documentation advises."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from loadtest.peers.arguments import peer_arguments
from loadtest.peers.core import Core

_FOLDER = "PEERS_FOLDER"  # workers are new processes: they read it from the environment


class Wanted(BaseModel):
    """One shopper's request."""

    user_id: str
    page_size: int = 20


class Listed(BaseModel):
    """The answer, best first."""

    product_ids: list[str]
    scores: list[float]
    scored: int


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.core = Core(Path(os.environ[_FOLDER]))
    yield


app = FastAPI(lifespan=_lifespan)


@app.post("/recommend")
def recommend(wanted: Wanted) -> Listed:
    """The best products."""
    found = app.state.core.recommend(wanted.user_id, wanted.page_size)
    return Listed(product_ids=found.product_ids, scores=found.scores, scored=found.scored)


if __name__ == "__main__":
    given = peer_arguments()
    os.environ[_FOLDER] = str(given.folder)
    uvicorn.run(
        "loadtest.peers.fastapi_onnx:app",
        host="127.0.0.1",
        port=given.port,
        workers=given.processes,
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
    )
