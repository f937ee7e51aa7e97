"""Random conditions on the small shop's catalogue, for properties of whatever judges them."""

from hypothesis import strategies as st

from shop.filter_grammar import (
    AllOf,
    AnyOf,
    Comparator,
    Expression,
    InStock,
    Not,
    OneOf,
    PriceIs,
    TextAttribute,
)
from tests.unit.small_shop import BRANDS, CATEGORIES

_COMPARATORS: tuple[Comparator, ...] = ("=", "!=", "<", "<=", ">", ">=")


def _names(attribute: TextAttribute, known: tuple[str, ...]) -> st.SearchStrategy[Expression]:
    chosen = st.lists(st.sampled_from([*known[1:], "unknown"]), min_size=1, max_size=3)
    return chosen.map(lambda values: OneOf(attribute, tuple(values)))


_atoms: st.SearchStrategy[Expression] = st.one_of(
    _names("category", CATEGORIES),
    _names("brand", BRANDS),
    st.builds(PriceIs, st.sampled_from(_COMPARATORS), st.sampled_from([1_200, 2_000, 2_000.5])),
    st.just(InStock()),
)
expressions: st.SearchStrategy[Expression] = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AllOf(tuple(parts))),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: AnyOf(tuple(parts))),
    ),
    max_leaves=8,
)
