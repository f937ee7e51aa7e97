"""Code caps: the most of a page for each category, or each brand, by the rules of a book.

Shapes: C codes (categories or brands), M of them asked about.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shop.rulebook import MAX_POSITION, MAX_PRIORITY, BookRule, Cap


@dataclass(frozen=True, slots=True, eq=False)
class CodeCaps:
    """The most of a page for every category, or every brand."""

    share: NDArray[np.float64]  # [C]
    most: NDArray[np.int64]  # [C]
    rule: NDArray[np.intp]  # [C] into marks; 0: no rule caps it, the settings do
    marks: tuple[tuple[str, ...], ...]

    def limits(
        self, codes: NDArray[np.int64], *, page_size: int, otherwise: int
    ) -> NDArray[np.int64]:
        """[M] places of a page for codes [M]; `otherwise` where no rule says it."""
        places = np.ceil(self.share[codes] * page_size).astype(np.int64)
        ruled = np.minimum(places, self.most[codes])
        return np.where(self.rule[codes] > 0, ruled, otherwise)


def code_caps(
    rules: Sequence[BookRule], per: Literal["category", "brand"], code_of: dict[str, int]
) -> CodeCaps | None:
    """The caps of these rules; None if there are none.

    The higher priority alone; of equals the lower share and the lower number.
    """
    capping = [(rule, rule.effect) for rule in rules if isinstance(rule.effect, Cap)]
    capping = [(rule, cap) for rule, cap in capping if cap.per == per]
    if not capping:
        return None
    share, most = np.ones(len(code_of)), np.full(len(code_of), MAX_POSITION, dtype=np.int64)
    marks: list[tuple[str, ...]] = [()]
    rule_at = np.zeros(len(code_of), dtype=np.intp)
    priority, first = -MAX_PRIORITY - 1, 1
    for rule, cap in sorted(capping, key=lambda each: each[0].priority):
        names = rule.selection.categories if per == "category" else rule.selection.brands
        named = [code_of[name] for name in names if name in code_of]
        codes = np.array(named, dtype=np.intp) if names else np.arange(len(code_of))
        if rule.priority > priority:
            priority, first = rule.priority, len(marks)  # marks of equals begin here
        among_equals = rule_at[codes] >= first
        for before in np.unique(rule_at[codes]).tolist():
            marks.append((*(marks[before] if before >= first else ()), rule.mark))
            rule_at[codes[rule_at[codes] == before]] = len(marks) - 1
        share[codes] = np.where(among_equals, np.minimum(share[codes], cap.share), cap.share)
        most[codes] = np.where(among_equals, np.minimum(most[codes], cap.most), cap.most)
    return CodeCaps(share, most, rule_at, tuple(marks))
