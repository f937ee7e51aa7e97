"""Cache key: everything that decides which products are found and how probable each is.

By content, not by epoch numbers: of a filter the products that it lets through now, of the rule
book what it lets a search find and pins, of a shopper what is known of them at this moment. So two
calls share a key only if they would find the same, whoever asks and however the filter is written;
and there is no message about a change that could be lost or come late.

Left out is what is put to every list anew: prices, stock, rules, boosts, diversity, exploration.

Shapes: R catalogue rows.
"""

import hashlib
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from serving.recommend.request import Ask
from shop.active_rules import ActiveRules
from shop.events import History
from shop.features import ShopperFeatures
from shop.normal_form import normal_query

if TYPE_CHECKING:  # a call holds its release's keys
    from serving.recommend.call import Call
    from serving.recommend.history import Past
    from serving.recommend.search import Search

KEY_BYTES = 20
_FORMAT = b"rankings 1"
_BUCKETS_PER_UNIT = 10.0  # of context values, which are logarithms, shares and sines
_MEMOS = 64  # as many as `filter_masks` keeps, so hardly any mask lives longer for being here

_Thing = TypeVar("_Thing")

# How every field of a request is dealt with. A test holds this to be complete: a field that is
# forgotten here would let a call have another's list.
KEYED = frozenset(
    {
        "context",  # as the models see it, and its rules
        "shopper",  # by what is known of them
        "session_id",  # by which events are this session's
        "recent_events",
        "context_product_ids",
        "cart_product_ids",
        "exclude_product_ids",
        "filter",
        "strict_filtering",
        "promotions",
        "query",  # by its words
        "page_size",  # where it decides how many are looked for
    }
)
LIVE = frozenset({"request_id", "diversity", "boosts", "return_fields", "preview"})
UNCACHED = frozenset({"page", "explain"})  # with either, a call is answered without the cache


def may_be_cached(ask: Ask) -> bool:
    """Whether this kind of call may be answered from rankings that were kept."""
    return ask.page is None and not ask.explain


class Keys:
    """Makes the keys of one release."""

    def __init__(self, release: str, version: int, settings: object) -> None:
        """`settings` are those of the quotas: during a rolling update two kinds are about."""
        self._start = hashlib.blake2b(digest_size=KEY_BYTES)
        _put(self._start, _FORMAT, f"{release} {version} {settings!r}".encode())
        self._masks = _Memo[NDArray[np.bool_]](_mask_digest)
        self._rules = _Memo[ActiveRules](_rules_digest)

    def of(
        self,
        call: "Call",
        past: "Past",
        features: ShopperFeatures,
        masks: Sequence[NDArray[np.bool_]],
    ) -> bytes:
        """KEY_BYTES bytes; masks, each [R]: what the filter, then every promotion lets through.

        About 20 µs.
        """
        ask, rules = call.ask, call.rules
        digest = self._start.copy()
        _put(
            digest,
            *_history(past.history, ask.context.now_ms),
            features.context_codes.tobytes(),
            _buckets(features.context_values),
            call.deps.release.tables.catalogue.rows_of(
                [*ask.context_product_ids, "", *ask.cart_product_ids]
            ).tobytes(),
            call.excluded_rows.tobytes(),
            b"" if rules is None else self._rules.of(id(rules), rules),
            # Shoppers alike are listed by name.
            ask.shopper.encode() if call.deps.settings.quotas.user_user else b"",
        )
        if ask.filter is not None or ask.promotions:
            _put(digest, *self._wishes(call, masks))
        if call.search is not None:
            _put(digest, *_query(ask.query, call.search))
        found: bytes = digest.digest()
        return found

    def _wishes(self, call: "Call", masks: Sequence[NDArray[np.bool_]]) -> list[bytes]:
        """What is looked for besides: depends on prices and stock, and on the page's size."""
        ask = call.ask
        filters = [] if ask.filter is None else [ask.filter]
        filters += [each.filter for each in ask.promotions]
        said = [f"{ask.page_size} {ask.strict_filtering} {ask.filter is None}".encode()]
        said += [repr(each.percent).encode() for each in ask.promotions]
        return said + [
            self._masks.of(wanted.text, mask) for wanted, mask in zip(filters, masks, strict=True)
        ]


class _Memo(Generic[_Thing]):
    """Digests of the things seen last, each worked out once."""

    def __init__(self, digest_of: Callable[[_Thing], bytes]) -> None:
        self._digest_of = digest_of
        self._kept: dict[Hashable, tuple[_Thing, bytes]] = {}  # oldest first

    def of(self, name: Hashable, thing: _Thing) -> bytes:
        """Its digest; by the name an earlier one is found, if it is the very same thing."""
        kept = self._kept.get(name)
        if kept is not None and kept[0] is thing:
            return kept[1]
        found = self._digest_of(thing)
        self._kept.pop(name, None)
        if len(self._kept) >= _MEMOS:
            del self._kept[next(iter(self._kept))]
        self._kept[name] = (thing, found)
        return found


def _put(digest: "hashlib.blake2b", *parts: bytes) -> None:
    """Lengths keep "a" + "bc" from "ab" + "c"."""
    digest.update(b"".join([b"%d:%b" % (len(part), part) for part in parts]))


def _query(text: str, search: "Search") -> tuple[bytes, ...]:
    """What its constraints let through is in the key already."""
    words = " ".join(sorted(search.words))
    return (
        b"query",
        normal_query(text).encode(errors="replace"),
        words.encode(errors="replace"),
        b"by relevance" if search.orders_by_relevance else b"",
    )


def _history(history: History, now_ms: int) -> tuple[bytes, ...]:
    # What the page and the cart show counts as done now, whenever now is.
    times_ms = np.where(history.times_ms == now_ms, 0, history.times_ms)
    return (
        history.product_rows.tobytes(),
        history.event_codes.tobytes(),
        times_ms.tobytes(),
        history.session_mask.tobytes(),
        history.promotions.tobytes(),
        history.signals.event_codes.tobytes(),
        history.signals.times_ms.tobytes(),
        history.signals.amounts.tobytes(),
        history.signals.session_mask.tobytes(),
    )


def _buckets(context_values: NDArray[np.float32]) -> bytes:
    """Roughly: they change with the time of day alone, or with the history, which is exact."""
    buckets: NDArray[np.int16] = np.rint(context_values * _BUCKETS_PER_UNIT).astype(np.int16)
    return buckets.tobytes()


def _mask_digest(mask: NDArray[np.bool_]) -> bytes:
    """By content; a tenth of what it takes to work the mask out."""
    return hashlib.blake2b(np.packbits(mask).tobytes(), digest_size=KEY_BYTES).digest()


def _rules_digest(rules: ActiveRules) -> bytes:
    """Of what a search knows of rules: pins, and what it may find at all. Empty: nothing."""
    if not rules.pins and rules.allowed is None:
        return b""
    pins = ",".join(str(pin.row) for pin in rules.pins).encode()
    return pins + b";" + (b"" if rules.allowed is None else _mask_digest(rules.allowed))
