"""A process that adds events of one shopper to the histories in Redis, as one of several replicas.

python -m tests.contract.redis_writer URL NAME COUNT
"""

import sys

from serving.adapters.redis import RedisHistories
from serving.adapters.redis_settings import RedisSettings
from tests.contract.history_stores import DAY_MS
from tests.unit.feedback_writer import an_event


def write(url: str, name: str, count: int) -> None:
    store = RedisHistories(
        RedisSettings(url=url, write_timeout_ms=10_000.0),
        log=name,
        max_shoppers=1_000,
        now_ms=lambda: DAY_MS,
    )
    for number in range(count):
        own = an_event(f"{name}-{number}", product_id=f"{name}-{number}", time_ms=number)
        shared = an_event(
            f"shared-{number}", shopper="bob", product_id=f"s{number}", time_ms=number
        )
        with store.writing() as changes:
            changes.apply([own, shared])


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2], int(sys.argv[3]))
