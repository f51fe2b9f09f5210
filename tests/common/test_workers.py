"""Work is shared by threads, and comes back in order."""

from __future__ import annotations

import subprocess
import sys

import pytest

from waterflow_cli.common.errors import InputError
from waterflow_cli.common.workers import map_in_order


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_items(jobs):
    assert list(map_in_order(lambda item: item * 2, range(50), jobs)) == list(range(0, 100, 2))
    assert list(map_in_order(lambda item: item, [], jobs)) == []


def test_items_are_drawn_only_as_results_are_taken():
    drawn = []

    def items():
        for item in range(100):
            drawn.append(item)
            yield item

    results = map_in_order(lambda item: item, items(), 2)
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    assert len(drawn) <= 3 + 4
    results.close()
    assert len(drawn) <= 3 + 4


def test_error_of_a_job_is_the_error_of_the_whole():
    def fail(item):
        if item == 7:
            raise InputError("in.csv", "is damaged")
        return item

    with pytest.raises(InputError, match=r"^in\.csv: is damaged$"):
        list(map_in_order(fail, range(50), 3))


# A condition that is left locked lets the workers, and so the whole process, wait for ever.
INTERRUPTED = """
import random, signal
from waterflow_cli.common.interrupts import install_interrupts
from waterflow_cli.common.workers import map_in_order
install_interrupts()
signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
chance = random.Random(1)
for _ in range(1500):
    install_interrupts()  # each is a command of its own: a second signal is not heard at once
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0005, 0.003))
        for _ in map_in_order(abs, range(10**6), 2):
            pass
    except KeyboardInterrupt:
        print("interrupted")
"""


@pytest.mark.slow
def test_interrupt_at_any_moment_ends_the_work_and_locks_nothing():
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120
    )
    assert ended.stderr == ""
    assert ended.stdout.split() == ["interrupted"] * 1500
