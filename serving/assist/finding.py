"""Finding: the products that a question can be answered about, as the lists would show them.

The context's products go the way of a list brought along, the others that of a search: the same
rules, prices and stock. Both are within the budget of a list.
"""

from dataclasses import replace

from serving.assist.steps import Found, Question
from serving.deadline import Deadline
from serving.recommend.call import Deps
from serving.recommend.pipeline import recommend
from serving.recommend.request import Answer
from serving.recommend.rerank import RerankAsk, rerank
from shop.asking.facts import facts_now
from shop.descriptions.facts import Facts


async def find_products(question: Question, deps: Deps, products: int, deadline: Deadline) -> Found:
    """At most `products` of them, and the facts of those that can be bought now.

    A search that is a dead end is shown, as everywhere, but nothing is said of what it found.
    """
    about = await _of_the_page(question, deps, deadline)
    room = products - (0 if about is None else len(about.slate))
    ask = replace(question.ask, page_size=max(1, room))
    search = await recommend(ask, deps, _as_a_list(deps, deadline))
    is_dead_end = search.search is not None and search.search.is_dead_end
    told = [each for each in (about, None if is_dead_end else search) if each is not None]
    facts = tuple(one for answer in told for one in _facts(answer, deps))
    return Found(about, search, facts)


async def _of_the_page(question: Question, deps: Deps, deadline: Deadline) -> Answer | None:
    ids = tuple(dict.fromkeys(question.ask.context_product_ids))
    if not ids:
        return None
    # They stand on the page already: not shown by us, and nothing of the request is against them.
    ask = replace(question.ask, query="", page_size=len(ids), preview=True, filter=None, boosts=())
    brought = RerankAsk(ask, ids, None, 0.0, sold_out_last=False)
    return (await rerank(brought, deps, _as_a_list(deps, deadline))).answer


def _as_a_list(deps: Deps, deadline: Deadline) -> Deadline:
    """A list's own budget, out of what is left."""
    budgets = deps.settings.budgets
    total_s = max(deadline.within(budgets.total_ms / 1000.0), 1e-3)
    return Deadline(
        deps.clock,
        start_s=deps.clock(),
        total_s=total_s,
        reserve_s=budgets.reserve_ms / 1000.0,
    )


def _facts(answer: Answer, deps: Deps) -> list[Facts]:
    """Of the slate's products, but for those that are known to be gone."""
    offers, catalogue = answer.offers, deps.release.tables.catalogue
    found = []
    for row, at in zip(answer.slate.rows.tolist(), answer.slate.at.tolist(), strict=True):
        is_counted = bool(offers.stock_tracked[at] and offers.stock_known[at])
        if is_counted and offers.stock[at] <= 0:
            continue
        price = int(offers.price_minor[at])
        found.append(facts_now(catalogue, row, price, is_in_stock=is_counted))
    return found
