"""Kept rankings: records in this process's memory, bounded in bytes, the least used go first."""

from collections import OrderedDict

# Beside the record itself: the key, the entry of the dictionary, the headers of both objects.
_OVERHEAD_BYTES = 200


class KeptRankings:
    """Records by key. For one thread."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._records: OrderedDict[bytes, bytes] = OrderedDict()  # least recently used first
        self.kept_bytes = 0
        self.evicted_count = 0

    def __len__(self) -> int:
        return len(self._records)

    def clear(self) -> None:
        """Forgets all."""
        self._records.clear()
        self.kept_bytes = 0

    def get(self, key: bytes) -> bytes | None:
        """The record, which counts as used now."""
        record = self._records.get(key)
        if record is not None:
            self._records.move_to_end(key)
        return record

    def put(self, key: bytes, record: bytes) -> None:
        """Keeps it, if it is no larger than all there is room for."""
        self.drop(key)
        size = len(record) + _OVERHEAD_BYTES
        if size > self._max_bytes:
            return
        self._records[key] = record
        self.kept_bytes += size
        while self.kept_bytes > self._max_bytes:
            _, oldest = self._records.popitem(last=False)
            self.kept_bytes -= len(oldest) + _OVERHEAD_BYTES
            self.evicted_count += 1

    def drop(self, key: bytes) -> None:
        """Forgets it, if it is there."""
        record = self._records.pop(key, None)
        if record is not None:
            self.kept_bytes -= len(record) + _OVERHEAD_BYTES
