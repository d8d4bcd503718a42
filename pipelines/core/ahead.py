"""Work that is done ahead, in threads, of many images that are asked for one by one."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier
from typing import TypeVar

Item = TypeVar("Item")
Given = TypeVar("Given")
Made = TypeVar("Made")
Attempts = Iterator[tuple[Item, Callable[[], Made]]]
"""Items, each with what gives its result, or raises what went wrong."""


def one_by_one(function: Callable[[Item], Made], items: Iterable[Item]) -> Attempts[Item, Made]:
    """Nothing is done before it is asked for."""
    return ((item, partial(function, item)) for item in items)


def ahead(
    function: Callable[[Given], Made], attempts: Attempts[Item, Given], pool: ThreadPoolExecutor, number: int
) -> Attempts[Item, Made]:
    """Call a function with the results of attempts, in their order, in threads.

    Args:
        function: what is called; an attempt that fails fails the one that is made of it.
        attempts: of them `number` more than were asked for are begun.
        pool: the threads, which end with the iterator; where it is closed, after what each is at.
        number: how far ahead.
    """
    waiting: deque[tuple[Item, Callable[[], Made]]] = deque()
    try:
        for item, attempt in attempts:
            waiting.append((item, pool.submit(_after, function, attempt).result))
            if len(waiting) > number:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    except BaseException:  # closed, too
        pool.shutdown(cancel_futures=True)
        raise
    pool.shutdown(wait=False)


def _after(function: Callable[[Given], Made], attempt: Callable[[], Given]) -> Made:
    return function(attempt())


def lone_threads(number: int) -> ThreadPoolExecutor:
    """Threads in each of which torch, if it is in use, computes alone: together they are as many as there is to do."""
    pool, torch = ThreadPoolExecutor(number, "delineate"), sys.modules.get("torch")
    usual = torch.get_num_threads() if torch else 1
    if torch and usual > 1:  # what a thread sets holds for itself, and for all threads that begin later
        all_there = Barrier(number + 1)

        def begin() -> None:
            torch.get_num_threads()  # the first time it sets what is usual
            torch.set_num_threads(1)
            all_there.wait()

        for _ in range(number):
            pool.submit(begin)
        all_there.wait()
        torch.set_num_threads(usual)
    return pool
