"""Celling: the steps of the GPU benchmark that are about approximate search.

Random vectors have no neighbourhoods: these are drawn around centres, as products are.
"""

import functools

import torch
from torch import Tensor, nn

from export.gpu.cells import CellSearch
from export.gpu.checks import Checked, check_search
from export.gpu.graphs import GraphedCall
from export.gpu.plan import Plan
from export.gpu.report import Report
from export.gpu.search import ExactSearch
from export.gpu.timing import on_device

_SIZE = 64
_ROWS_OF_A_CENTRE = 2_000
_SPREAD = 0.6  # length of what is added to a centre of unit length
_INPUT_SETS, _JUDGED = 16, 32
_RIGHT_ROWS = 6_000
MIN_RECALL = 0.95
_MAX_COSINE_ERROR = 5e-4  # vectors are kept in fp16


def right_cells(plan: Plan, report: Report) -> None:
    """Looking at every list must find what exact search finds, with filters and without."""
    rows = min(plan.large_rows, _RIGHT_ROWS)
    items, users = drawn_around_centres(rows, 8, plan)
    count = min(plan.candidates, rows // 8)
    exact = ExactSearch(items, storage="fp16", count=count)
    cells = CellSearch(items, count=count, probes=1, places=64, seed=plan.seed)
    cells.probes = cells.list_count
    draw = torch.Generator(plan.device).manual_seed(plan.seed)
    half = torch.rand(rows, device=plan.device, generator=draw) < 0.5
    few = torch.arange(rows, device=plan.device) < count // 2
    for name, allowed in (("no filter", None), ("half", half), ("few", few)):

        def run(
            users_BD: Tensor, _: Tensor, allowed: Tensor | None = allowed
        ) -> tuple[Tensor, Tensor]:
            return cells(users_BD, cells.closed_for(allowed))  # type: ignore[no-any-return]

        check = check_search(f"cells, every list, {name}", exact, items, users, allowed, run=run)
        report.checked(check, f"cells_{name.replace(' ', '_')}")


def timed_cells(plan: Plan, report: Report) -> None:
    """Beyond what exact search is for: as few lists as find enough, batch 1."""
    rows = plan.cell_rows
    items, users = drawn_around_centres(rows, _INPUT_SETS + _JUDGED, plan)
    search = CellSearch(items, count=plan.candidates, probes=1, seed=plan.seed)
    closed = search.closed_for(None)
    judged = users[_INPUT_SETS:]
    check = enough_probes(search, items, judged)
    what = f"cells of our own in torch, {rows:,} × {_SIZE}"
    if not report.checked(check, "cells"):
        return
    del items
    report.add(
        "cells_probes", f"{what}, lists looked at, of {search.list_count:,}", search.probes, ""
    )
    report.add("cells_gb", f"{what}, memory", search.table_bytes / 1e9, "GB")
    sets = [(user[None], closed) for user in users[:_INPUT_SETS]]
    run = GraphedCall(search, sets[0], shared=[1]) if plan.on_gpu else _in_inference(search)
    timed = on_device(run, sets, plan.device, count=plan.count)
    report.add(
        "cells_us", f"{what}, recall {check.figures['recall']:.3f}, batch 1", timed.p50_us, "µs"
    )
    floor_us = search.read_bytes / (float(report.figures["read_gb_per_s"]) * 1e9) * 1e6
    report.add("cells_floor_us", f"{what}, bandwidth floor of what it reads", floor_us, "µs")


def enough_probes(search: CellSearch, items: Tensor, users: Tensor) -> Checked:
    """Sets the fewest lists, by doubling, that find `MIN_RECALL` of the true nearest."""
    truth = torch.stack([_true_nearest(items, user, search.count) for user in users])
    search.probes, recall = 1, 0.0
    while True:
        with torch.inference_mode():
            found = [search(user[None], search.closed_for(None)) for user in users]
        recall = _recall(truth, torch.cat([rows for rows, _ in found]))
        if recall >= MIN_RECALL or search.probes >= search.list_count:
            break
        search.probes = 2 * search.probes
    told_wrong = max(_told_wrong(items, users[at], *found[at]) for at in range(len(users)))
    return Checked(
        f"cells, {search.probes} lists",
        f"recall {recall:.4f}, cosines {told_wrong:.1e}",
        {"recall": recall},
        recall >= MIN_RECALL and told_wrong <= _MAX_COSINE_ERROR,
    )


def drawn_around_centres(rows: int, users: int, plan: Plan) -> tuple[Tensor, Tensor]:
    """Unit items [rows, D] with zeros in row 0, and unit users around the same centres."""
    draw = torch.Generator(plan.device).manual_seed(plan.seed + 11)
    normal = functools.partial(torch.randn, device=plan.device, generator=draw)
    centres = nn.functional.normalize(normal(max(8, rows // _ROWS_OF_A_CENTRE), _SIZE), dim=-1)

    def around(count: int) -> Tensor:
        own = torch.randint(len(centres), (count,), device=plan.device, generator=draw)
        spread = normal(count, _SIZE).mul_(_SPREAD * _SIZE**-0.5)
        return nn.functional.normalize(spread.add_(centres[own]), dim=-1)

    items = around(rows)
    items[0] = 0.0
    return items, around(users)


def _true_nearest(items: Tensor, user: Tensor, count: int) -> Tensor:
    cosines = torch.cat([part.double() @ user.double() for part in items.split(1 << 20)])
    cosines[0] = -torch.inf
    return cosines.topk(count).indices


def _recall(truth: Tensor, found: Tensor) -> float:
    shares = [torch.isin(own, true).double().mean() for own, true in zip(found, truth, strict=True)]
    return float(torch.stack(shares).mean())


def _told_wrong(items: Tensor, user: Tensor, rows_1K: Tensor, cosines_1K: Tensor) -> float:
    is_found = torch.isfinite(cosines_1K[0])
    rows, told = rows_1K[0][is_found], cosines_1K[0][is_found]
    return float((items[rows].double() @ user.double() - told.double()).abs().max())


def _in_inference(search: CellSearch) -> functools.partial[tuple[Tensor, Tensor]]:
    def run(search: CellSearch, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            return search(*inputs)  # type: ignore[no-any-return]

    return functools.partial(run, search)
