"""Filter masks: recent filters, already judged on the whole catalogue.

Judging a filter takes about 0.6 ms per comparison and million products, and category pages send the
same few filters all day. A mask is as old as the prices it was made from at most by the time to
live; the final offers are judged anew anyway.

Shapes: R catalogue rows.
"""

from serving.recommend.lookups import OfferCache
from shop.catalogue import Catalogue
from shop.filters import Filter
from shop.popularity import RowMask

_KEPT = 64  # of one byte per product each: 64 MB for a catalogue of a million


class FilterMasks:
    """The masks of the filters seen last. One per release."""

    def __init__(self, catalogue: Catalogue, offers: OfferCache, *, ttl_ms: int) -> None:
        self._catalogue = catalogue
        self._offers = offers
        self._ttl_ms = ttl_ms
        self._kept: dict[str, tuple[int, RowMask]] = {}  # text → when, mask; oldest first

    def of(self, wanted: Filter, now_ms: int) -> RowMask:
        """[R] rows that match and are not known to be gone. Read only: others share it."""
        kept = self._kept.get(wanted.text)
        if kept is not None and abs(now_ms - kept[0]) <= self._ttl_ms:
            return kept[1]
        in_stock = self._offers.maybe_in_stock
        mask = wanted.mask(self._catalogue, price_minor=self._offers.price_minor, in_stock=in_stock)
        mask &= in_stock
        self._kept.pop(wanted.text, None)
        if len(self._kept) >= _KEPT:
            del self._kept[next(iter(self._kept))]
        self._kept[wanted.text] = (now_ms, mask)
        return mask
