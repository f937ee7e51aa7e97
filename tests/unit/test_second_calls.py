"""Second calls: a hedge past the usual, a retry after a refusal, and never more than the budget."""

import asyncio
from contextlib import suppress
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.recommend.second_calls import SecondCallBudget, SecondCalls
from shop.errors import DependencyTimeout, DependencyUnavailable
from tests.unit.time_travel import Time

REFUSED = DependencyUnavailable("price", "refused")
USUAL_S = 0.002
TAIL_S = 0.003  # 95 % are below


@dataclass(slots=True)
class Twin:
    """Answers the number of the question; what it does to each one is told beforehand."""

    delays_s: list[float] = field(default_factory=list)  # of the next questions; then USUAL_S
    refuses: list[bool] = field(default_factory=list)  # of the next questions; then False
    asked: int = 0
    given_up: int = 0

    async def answer(self) -> int:
        number = self.asked
        self.asked += 1
        delay_s = self.delays_s.pop(0) if self.delays_s else USUAL_S
        refused = self.refuses.pop(0) if self.refuses else False
        try:
            await asyncio.sleep(delay_s)
        except asyncio.CancelledError:
            self.given_up += 1
            raise
        if refused:
            raise REFUSED
        return number


def practised(time: Time, twin: Twin, *, share: float = 0.1, questions: int = 200) -> SecondCalls:
    """Second calls to a system that answered so many questions, one in twelve of them at TAIL_S."""
    calls = SecondCalls(time, share=share)

    async def practise() -> None:
        for at in range(questions):
            twin.delays_s = [TAIL_S] if at % 12 == 0 else [USUAL_S]
            await calls.answer(twin.answer, is_waited_for=True)

    time.run(practise())
    twin.asked = twin.given_up = 0
    twin.delays_s = []
    return calls


def test_an_answer_in_the_usual_time_is_asked_for_once() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 0
    assert (twin.asked, twin.given_up) == (1, 0)


def test_a_hedge_goes_out_past_the_usual_time_and_its_answer_counts() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.delays_s = [0.05]
    before_s = time()
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 1
    assert time() - before_s == pytest.approx(TAIL_S + USUAL_S)
    assert (twin.asked, twin.given_up) == (2, 1)


def test_a_hedge_that_is_slower_than_the_first_answer_is_given_up() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.delays_s = [TAIL_S + 0.001, 1.0]
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 0
    assert (twin.asked, twin.given_up) == (2, 1)


def test_a_late_loop_is_not_taken_for_a_slow_system() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)

    async def ask_while_something_blocks() -> int:
        asyncio.get_running_loop().call_later(TAIL_S - 0.001, time.pass_ms, 5.0)
        return await calls.answer(twin.answer, is_waited_for=True)

    twin.delays_s = [TAIL_S + 0.006]
    assert time.run(ask_while_something_blocks()) == 0
    assert twin.asked == 1
    twin.delays_s = [TAIL_S * 9]  # it is really slow
    assert time.run(ask_while_something_blocks()) == 2
    assert twin.asked == 3


def test_before_there_is_a_usual_time_nothing_is_hedged() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin, questions=9, share=1.0)
    twin.delays_s = [0.5]
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 0
    assert twin.asked == 1


def test_a_question_that_nobody_waits_for_is_not_hedged() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.delays_s = [0.5]
    assert time.run(calls.answer(twin.answer, is_waited_for=False)) == 0
    assert twin.asked == 1


def test_a_slow_system_becomes_the_usual() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)

    async def slow_for_long() -> None:
        for _ in range(100):
            twin.delays_s = [0.03, 0.03]
            await calls.answer(twin.answer, is_waited_for=True)

    time.run(slow_for_long())
    before = twin.asked
    twin.delays_s = [0.029]
    time.run(calls.answer(twin.answer, is_waited_for=True))
    assert twin.asked == before + 1


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_a_refusal_is_retried_at_once(is_waited_for: bool) -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.refuses = [True]
    assert time.run(calls.answer(twin.answer, is_waited_for=is_waited_for)) == 1


def test_two_refusals_are_a_failure() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.refuses = [True, True]
    with pytest.raises(DependencyUnavailable):
        time.run(calls.answer(twin.answer, is_waited_for=True))
    assert twin.asked == 2


def test_a_first_answer_that_fails_leaves_its_hedge_to_answer() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.delays_s, twin.refuses = [TAIL_S + 0.001, 0.01], [True, False]
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 1


def test_without_budget_there_is_no_second_call() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin, share=0.0)
    twin.delays_s = [0.05]
    assert time.run(calls.answer(twin.answer, is_waited_for=True)) == 0
    twin.refuses = [True]
    with pytest.raises(DependencyUnavailable):
        time.run(calls.answer(twin.answer, is_waited_for=True))
    assert twin.asked == 2


def test_a_timeout_is_not_retried() -> None:
    calls, asked = SecondCalls(Time(), share=1.0), []

    async def never() -> None:
        asked.append(1)
        raise DependencyTimeout("price", "no answer within 50 ms")

    for _ in range(5):
        with pytest.raises(DependencyTimeout):
            Time().run(calls.answer(never, is_waited_for=True))
    assert len(asked) == 5


def test_a_bug_is_neither_hidden_by_a_hedge_nor_retried() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)

    async def broken() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        time.run(calls.answer(broken, is_waited_for=True))


def test_who_gives_up_leaves_no_call_behind() -> None:
    time, twin = Time(), Twin()
    calls = practised(time, twin)
    twin.delays_s = [1.0, 1.0]

    async def give_up() -> int:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await calls.answer(twin.answer, is_waited_for=True)
        await asyncio.sleep(0)  # in which they end
        return len(asyncio.all_tasks())

    assert time.run(give_up()) == 1  # this one
    assert twin.given_up == 2


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, USUAL_S, 0.004, 0.03]), st.booleans(), st.booleans()),
        max_size=120,
    )
)
def test_second_calls_are_never_more_than_a_tenth_of_the_first(
    questions: list[tuple[float, bool, bool]],
) -> None:
    time, twin = Time(), Twin()
    calls = SecondCalls(time, share=0.1)

    async def ask_all() -> None:
        for at, (delay_s, refused, is_waited_for) in enumerate(questions, start=1):
            twin.delays_s, twin.refuses = [delay_s], [refused]
            with suppress(DependencyUnavailable):
                await calls.answer(twin.answer, is_waited_for=is_waited_for)
            assert twin.asked - at <= at / 10

    time.run(ask_all())


@given(st.lists(st.booleans(), max_size=400), st.floats(0.0, 0.1))
def test_the_budget_holds_in_every_order_of_earning_and_spending(
    spends: list[bool], share: float
) -> None:
    budget, earned, spent = SecondCallBudget(share), 0, 0
    for is_spending in spends:
        if is_spending:
            spent += budget.spend()
        else:
            budget.earn()
            earned += 1
        assert spent <= share * earned + 1e-6


def test_what_a_calm_saves_for_a_storm_is_limited() -> None:
    budget = SecondCallBudget(0.1)
    for _ in range(100_000):
        budget.earn()
    assert sum(budget.spend() for _ in range(1_000)) == 10
