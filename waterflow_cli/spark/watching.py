"""Say how far a Spark job came, while the thread that runs it waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from waterflow_cli.common.progress import Report

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_SECONDS_BETWEEN_LOOKS = 1.0


@contextmanager
def watched(spark: SparkSession, report: Report, count_rows: Callable[[], int]) -> Iterator[None]:
    """Report the rows that finished tasks counted, and the share of the tasks that are finished.

    Parameters
    ----------
    report : callable
        Takes both.
    count_rows : callable
        Gives the rows that were counted so far.
    """
    is_over = threading.Event()

    def look() -> None:
        while not is_over.wait(_SECONDS_BETWEEN_LOOKS):
            with suppress(Exception):  # the job has ended, and Spark with it
                report(count_rows(), _share_done(spark))

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def _share_done(spark: SparkSession) -> float | None:
    """Give the share of the tasks of the running stages that are finished; None without any."""
    tracker = spark.sparkContext.statusTracker()
    stages = [tracker.getStageInfo(number) for number in tracker.getActiveStageIds()]
    n_tasks = sum(int(stage.numTasks) for stage in stages if stage)
    n_done = sum(int(stage.numCompletedTasks) for stage in stages if stage)
    return n_done / n_tasks if n_tasks else None
