from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
import torch

from delineate.pipelines.core.ahead import ahead, lone_threads, one_by_one


def double(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return 2 * number


def results(threads: int, number: int) -> list[object]:
    """Of two functions after each other."""
    first = ahead(double, one_by_one(lambda item: item, range(8)), ThreadPoolExecutor(threads), number)
    found: list[object] = []
    for item, attempt in ahead(lambda made: made + 1, first, ThreadPoolExecutor(1), 1):
        try:
            found.append((item, attempt()))
        except ValueError as error:
            found.append(str(error))
    return found


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("number", [0, 1, 20])
def test_results_come_in_order_and_a_failure_in_its_place(threads: int, number: int) -> None:
    assert results(threads, number) == [(n, 2 * n + 1) if n != 3 else "three" for n in range(8)]


def test_no_more_is_begun_than_that_far_ahead() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(9):
            begun.append(number)
            yield number

    made = ahead(double, one_by_one(lambda item: item, items()), ThreadPoolExecutor(1), 2)
    assert begun == []
    next(made)
    assert begun == [0, 1, 2]
    next(made)
    assert begun == [0, 1, 2, 3]
    made.close()  # type: ignore[attr-defined]


def test_what_is_ahead_is_computed_at_once() -> None:
    both = Barrier(2, timeout=20)  # nobody passes it alone
    made = ahead(lambda _: both.wait(), one_by_one(lambda item: item, range(2)), ThreadPoolExecutor(2), 2)
    assert {attempt() for _, attempt in made} == {0, 1}


def test_threads_of_a_closed_iterator_end_and_the_rest_is_never_begun() -> None:
    before, go, begun = threading.active_count(), Event(), list[int]()

    def work(number: int) -> None:
        begun.append(number)
        go.wait(20)

    made = ahead(work, one_by_one(lambda item: item, range(9)), ThreadPoolExecutor(1), 5)
    next(made)
    threading.Timer(0.05, go.set).start()
    made.close()  # type: ignore[attr-defined]
    assert begun == [0]
    assert threading.active_count() <= before + 1  # the timer


def test_threads_for_small_work_leave_the_others_their_threads() -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(4)
        with lone_threads(2) as pool, ThreadPoolExecutor(1) as later:
            assert [pool.submit(torch.get_num_threads).result() for _ in range(4)] == [1] * 4
            assert later.submit(torch.get_num_threads).result() == 4
            assert torch.get_num_threads() == 4
    finally:
        torch.set_num_threads(before)
