"""What scoring on Spark costs its executors, and how it grows with them.

    python benchmarks/bench_spark.py --rows 1000000 --growth-rows 5000000 --runs 3

Starts a standalone master and workers of this machine, each worker bound to one core as if it were
a machine of its own. Prints Markdown tables of the CPU seconds that all processes of the workers
spend on a job, beside those of a bare `mlflow.pyfunc.spark_udf` of the same model, and of the rows
per second with one worker and with two.
"""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
from measure import WATERFLOW, describe_machine, print_check, run_once
from rivals import fetch_estimator

from waterflow_cli.registry.location import fetch_model
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.spark.engine import SparkEngine
from waterflow_cli.spark.session import open_session
from waterflow_cli.spark.settings import OutputLayout, SparkOptions

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from clusters import SparkCluster, start_cluster

STORE = "sqlite:///mlflow.db"
PROBABILITIES = "array<double>"
TICKS = os.sysconf("SC_CLK_TCK")
Job = Callable[[Any, str], None]


@contextmanager
def cluster(folder: Path, n_workers: int) -> Iterator[SparkCluster]:
    """Start workers, the first on the first core, and so on."""
    work = folder / f"cluster{n_workers}"
    work.mkdir(exist_ok=True)
    started = start_cluster(work, n_workers)
    try:
        for number, worker in enumerate(started.workers):
            core = sorted(os.sched_getaffinity(0))[number]
            for thread in Path(f"/proc/{worker.pid}/task").iterdir():
                os.sched_setaffinity(int(thread.name), {core})
        yield started
    finally:
        started.stop()


def cpu_of(started: SparkCluster) -> float:
    """CPU seconds of all processes under the workers so far, ended ones included."""
    parents, ticks = {}, {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = path.read_text()
        except OSError:
            continue
        values = text[text.rindex(")") + 2 :].split()
        pid = int(path.parent.name)
        parents[pid], ticks[pid] = int(values[1]), sum(map(int, values[11:15]))
    family = {worker.pid for worker in started.workers}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return sum(ticks.get(pid, 0) for pid in family) / TICKS


def waterflow_job(folder: Path) -> Job:
    """Score a file as `waterflow score --engine spark` does."""

    def job(spark: Any, rows: str) -> None:
        fetched = fetch_model("@champion", name="waterflow", tracking_uri=STORE)
        SparkEngine(spark).score(
            fetched,
            fetched.load(),
            [str(folder / rows)],
            str(folder / "scored.csv"),
            ScoringOptions(force=True),
            OutputLayout(),
        )

    return job


def bare_job(folder: Path, uri: str, result_type: str) -> Job:
    """Read with Spark's own reader, predict with a bare UDF, write with Spark's own writer."""
    names = "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,"
    measured = (names + "Turbidity").split(",")

    def job(spark: Any, rows: str) -> None:
        from pyspark.sql.functions import col, struct

        kinds = "sample_id string, site string, date string, "
        kinds += ", ".join(f"{name} double" for name in measured) + ", Potability int"
        frame = spark.read.schema(kinds).csv(str(folder / rows), header=True)
        udf = mlflow.pyfunc.spark_udf(spark, uri, result_type=result_type, env_manager="local")
        result = udf(struct(*map(col, measured)))
        if result_type == PROBABILITIES:
            scored = frame.withColumn("probability", result[1])
        else:
            scored = frame.withColumn("result", result).select("*", "result.*").drop("result")
        scored.write.mode("overwrite").csv(str(folder / "bare.csv"), header=True)

    return job


def save_bare_model(folder: Path) -> str:
    """Save the champion's pipeline as scikit-learn's flavour does, with predict_proba."""
    uri = str(folder / "bare-model")
    mlflow.sklearn.save_model(
        fetch_estimator(STORE, "@champion"),
        uri,
        serialization_format="cloudpickle",
        pyfunc_predict_fn="predict_proba",
        pip_requirements=[],
    )
    return uri


def measure(jobs: dict[str, Job], folder: Path, runs: int) -> dict[str, list[float]]:
    """Run each job some times, taking turns, on two workers; CPU seconds of the workers."""
    found: dict[str, list[float]] = {name: [] for name in jobs}
    with cluster(folder, 2) as started, open_session(SparkOptions(started.url)) as spark:
        for number in range(-1, runs):  # the first round warms up, and is not counted
            for name, job in jobs.items():
                before, start = cpu_of(started), time.perf_counter()
                job(spark, "rows.csv")
                cpu, wall = cpu_of(started) - before, time.perf_counter() - start
                print(f"run {number + 1}: {name}: {cpu:.1f} CPU s, {wall:.1f} s", file=sys.stderr)
                if number >= 0:
                    found[name].append(cpu)
    return found


def print_costs(rows: int, jobs: dict[str, Job], folder: Path, runs: int) -> None:
    """Print what a row costs the executors."""
    costs = {name: statistics.median(each) for name, each in measure(jobs, folder, runs).items()}
    own, *bare = costs
    print(f"\n### CPU on the executors, {rows:,} rows\n")
    print("| job | CPU s | microseconds a row |\n| --- | ---: | ---: |")
    for name, cost in costs.items():
        print(f"| {name} | {cost:.1f} | {1e6 * cost / rows:.1f} |")
    print()
    for name in bare:
        print_check(f"CPU of {own} to that of {name}", costs[own] / costs[name], 1.2)


def print_growth(rows: int, job: Job, folder: Path, runs: int) -> None:
    """Print the rows per second with one worker and with two."""
    walls: dict[int, list[float]] = {1: [], 2: []}
    for number in range(runs):
        for n_workers in walls:
            with (
                cluster(folder, n_workers) as started,
                open_session(SparkOptions(started.url)) as spark,
            ):
                job(spark, "warm.csv")
                start = time.perf_counter()
                job(spark, "many.csv")
                wall = time.perf_counter() - start
            print(f"run {number + 1}: {n_workers} workers: {wall:.1f} s", file=sys.stderr)
            walls[n_workers].append(wall)
    medians = {n_workers: statistics.median(each) for n_workers, each in walls.items()}
    print(f"\n### Rows per second, {rows:,} rows\n")
    print("| workers of one core | wall s | rows per second |\n| ---: | ---: | ---: |")
    for n_workers, wall in medians.items():
        print(f"| {n_workers} | {wall:.1f} | {rows / wall:,.0f} |")
    print()
    print_check("throughput of 2 workers to that of 1", medians[1] / medians[2], 1.7, at_least=True)


def main() -> None:
    """Generate, train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--growth-rows", type=int, default=5_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--plugin", default="rf")
    options = parser.parse_args()
    print(describe_machine(), f"pyspark {version('pyspark')}.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chdir(folder)
        files = {"train": 3000, "warm": 200_000, "rows": options.rows, "many": options.growth_rows}
        for seed, (stem, rows) in enumerate(files.items(), 1):
            made = ("--rows", str(rows), "--seed", str(seed), "-o", f"{stem}.csv", "-q")
            run_once((*WATERFLOW, "simulate", *made), folder=folder)
        run_once((*WATERFLOW, "train", "train.csv", "--plugin", options.plugin), folder=folder)
        mlflow.set_tracking_uri(STORE)
        logging.getLogger("mlflow").setLevel(logging.ERROR)
        verdict = "probability double, prediction long, verdict string"
        own = waterflow_job(folder)
        jobs = {
            "waterflow score --engine spark": own,
            "spark_udf of scikit-learn's predict_proba": bare_job(
                folder, save_bare_model(folder), PROBABILITIES
            ),
            "spark_udf of waterflow's pyfunc": bare_job(
                folder, "models:/waterflow@champion", verdict
            ),
        }
        print_costs(options.rows, jobs, folder, options.runs)
        print_growth(options.growth_rows, own, folder, options.runs)


if __name__ == "__main__":
    main()
