"""Warmth: a few hundred calls before anything is measured."""

from pathlib import Path

import numpy as np

from loadtest.audience import audience_of
from loadtest.openloop import Call
from loadtest.traffic import SCENARIOS, make_calls
from serving.client import VitrineClient
from serving.proto import recommendations_pb2 as pb

CALLS = 300


def warm_up(state_dir: Path, door: str) -> None:
    """Sends browse traffic, one call after the other."""
    calls: list[Call] = make_calls(
        SCENARIOS["browse"], audience_of(state_dir), CALLS, np.random.default_rng(2)
    )
    with VitrineClient(door) as client:
        for call in calls:
            client.recommend(pb.RecommendRequest.FromString(call.body))
