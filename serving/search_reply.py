"""Search reply: how a query was understood, as the reply tells it."""

from serving.proto import recommendations_pb2 as pb
from serving.recommend.search import Search
from shop.filter_text import as_text
from shop.search_query import all_of


def encode_search(search: Search) -> pb.SearchUnderstanding:
    """For every answer to a query, asked to explain or not."""
    parsed = search.parsed
    asked, kept = all_of(parsed.constraints), all_of(search.kept)
    return pb.SearchUnderstanding(
        constraints="" if asked is None else as_text(asked),
        filter="" if kept is None else as_text(kept),
        relaxed=search.is_dead_end,
        text=" ".join(search.words),
        corrections=[
            pb.Correction(written=written, read_as=read_as)
            for written, read_as in parsed.corrections
        ],
        unknown_words=parsed.unknown_words,
        currency=parsed.currency,
    )
