"""Call a function with many items in some threads, in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from threadpoolctl import threadpool_limits

from waterflow_cli.common.interrupts import interrupts_held_back

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_order(
    call: Callable[[Item], Result], items: Iterable[Item], jobs: int
) -> Iterator[Result]:
    """Call with each item in some threads, and yield the results in the items' order.

    At most twice as many items as threads are under way, so memory stays bounded.
    """
    if jobs == 1:
        yield from map(call, items)
        return
    # OpenMP keeps its number of threads for each thread that starts some.
    pool = ThreadPoolExecutor(jobs, initializer=threadpool_limits, initargs=(1,))
    waiting: deque[Future[Result]] = deque()

    def take_first() -> Result:
        with interrupts_held_back():
            return waiting.popleft().result()

    try:
        for item in items:
            with interrupts_held_back():
                waiting.append(pool.submit(call, item))
            if len(waiting) >= 2 * jobs:
                yield take_first()
        while waiting:
            yield take_first()
    finally:
        with interrupts_held_back():
            pool.shutdown(wait=True, cancel_futures=True)
