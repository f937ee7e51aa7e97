"""A gateway spread over the nodes of a Ray cluster loses one of them under open-loop load."""

from collections import Counter
from pathlib import Path

import numpy as np

from loadtest.call_log import OK
from loadtest.doors import Call, RetryingDoor
from loadtest.openloop import LoadPlan, run_apart
from loadtest.rehearsal.application import Place
from loadtest.rehearsal.nodes import REPLICAS, WORKERS, nodes_running
from serving.proto import recommendations_pb2 as pb
from serving.stack.ports import free_port

RATE_PER_S = 20.0
SECONDS = 20.0
PATIENT_S = 30.0  # a machine that is busy elsewhere is not what is tried


def test_a_lost_node_is_not_missed_by_clients_that_ask_again_and_is_replaced(
    tmp_path: Path,
) -> None:
    port = free_port()
    places = [Place(tmp_path / f"node-{at}", port, 0) for at in range(WORKERS)]
    variables = [{"VITRINE_STATE_DIR": str(place.state_dir)} for place in places]
    for place in places:
        place.state_dir.mkdir()
    application = ("tests.contract.twin_nodes:build", {"port": str(port)})
    with nodes_running(tmp_path / "cluster", application, places, variables) as nodes:
        before = nodes.serving()
        assert len(before) == REPLICAS  # each on a node of its own
        at_s = np.arange(0.0, SECONDS, 1.0 / RATE_PER_S)
        body = pb.RecommendRequest(placement="home", deadline_ms=20_000).SerializeToString()
        calls = [Call(body)] * at_s.size
        load = run_apart(
            LoadPlan(places[0].address, at_s, calls, PATIENT_S, channels=16, door=RetryingDoor)
        )
        nodes.wait_for_calls(20, within_s=60.0)
        nodes.kill(before[0])
        nodes.wait_until(REPLICAS, within_s=120.0)
        after = nodes.serving()
        assert set(after) == set(range(WORKERS)) - {before[0]}
        log = load.result()
    codes = Counter(log.codes.tolist())
    # A connection may break twice in a row: an answer that had begun is not asked for again.
    assert codes[OK] >= 0.99 * at_s.size, codes
    assert set(codes) <= {OK, "UNAVAILABLE"}
