"""Normal form: what near-identical texts of a search have in common."""

import re
import unicodedata

_WORD = re.compile(r"[^\W_]+(?:[.,'’-][^\W_]+)*|[^\s\w]", re.UNICODE)


def normal_query(text: str) -> str:
    """The same for queries that differ only in case, spacing, word order, or how letters are coded.

    Its words in alphabetical order. Numbers keep their points, and signs such as $ are words: "$50"
    is not "50". What a query demands (a price, a category) is told apart by what it lets through,
    not by this.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(sorted(_WORD.findall(unicodedata.normalize("NFKC", folded))))
