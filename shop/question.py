"""Question: what binds an answer about many products to the products it is about."""

import zlib
from collections.abc import Sequence


def ids_crc32(product_ids: Sequence[str]) -> int:
    """CRC-32 of the ids in this order, as `serving/proto/business.proto` describes it.

    8 µs for 500 ids. It finds accidents (another order, another question), not forgers.
    """
    return zlib.crc32("\n".join(product_ids).encode())
