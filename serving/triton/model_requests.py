"""Model requests: how the requests of one execution are put into few runs of a model.

Shared by our python-based backends; copied beside each by `serving.triton.runtime`.
"""

from typing import Any

Feed = dict[str, Any]


def equal_shapes(feeds: list[Feed]) -> list[list[int]]:
    """Positions of the feeds, those of equal shapes (the batch aside) together."""
    groups: dict[tuple[Any, ...], list[int]] = {}
    for at, feed in enumerate(feeds):
        shapes = tuple(feed[name].shape[1:] for name in feeds[0])
        groups.setdefault(shapes, []).append(at)
    return list(groups.values())


def within_batch(members: list[int], feeds: list[Feed], max_batch_size: int) -> list[list[int]]:
    """`members` in parts whose rows together are at most `max_batch_size`, in order."""
    parts: list[list[int]] = []
    rows = max_batch_size
    for at in members:
        more = len(next(iter(feeds[at].values())))
        if rows + more > max_batch_size:
            parts.append([])
            rows = 0
        parts[-1].append(at)
        rows += more
    return parts
