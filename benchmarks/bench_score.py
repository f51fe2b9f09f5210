"""How `waterflow score` compares with what a user would otherwise run.

    python benchmarks/bench_score.py --rows 1000000 --runs 3

Generates its data with `waterflow simulate`, trains on 3000 simulated samples, and prints Markdown
tables of CPU seconds, wall time, peak memory and ratios.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import (
    PYTHON,
    WATERFLOW,
    Cost,
    describe_machine,
    print_check,
    print_costs,
    run_all,
    run_once,
)

RIVALS = (PYTHON, str(Path(__file__).with_name("rivals.py")))
STORE = "sqlite:///mlflow.db"
# The CPU of 24 rows to that of the imports without which MLflow scores nothing.
FEW = {"rf": 0.20, "extra-trees": 0.25, "hgb": 0.25, "xgboost": 0.25, "lightgbm": 0.25}
FEW |= {"logreg": 0.25, "svm": 0.25, "mlp": 0.25, "gp": 0.25, "blend": 0.25}


def prepare(folder: Path, rows: int) -> None:
    """Make the files, and a model of each plugin: version 1 is a forest, version 3 hgb."""
    for name, count, seed in (("train.csv", 3000, 1), ("rows.csv", rows, 2), ("few.csv", 24, 3)):
        simulate(folder, name, count, seed)
    for plugin in FEW:
        quick = ("--cv", "3x1", "-q")
        run_once((*WATERFLOW, "train", "train.csv", "--plugin", plugin, *quick), folder=folder)


def simulate(folder: Path, name: str, rows: int, seed: int) -> None:
    """Make a file of simulated samples."""
    options = ("--rows", str(rows), "--seed", str(seed), "-o", name, "--force")
    run_once((*WATERFLOW, "simulate", *options), folder=folder)


def score(version: int, source: str, *, jobs: int = 1) -> tuple[str, ...]:
    """The command that is measured."""
    options = ("--model", str(version), "--jobs", str(jobs), "--force", "-q")
    return (*WATERFLOW, "score", source, "-o", f"out-{version}.csv", *options)


def mlflow_predict(version: int) -> tuple[str, ...]:
    """MLflow's own batch prediction."""
    return (
        PYTHON, "-m", "mlflow", "models", "predict", "-m", f"models:/waterflow/{version}",
        "-i", "measurements.csv", "-t", "csv", "-o", "mlflow.json", "--env-manager", "local",
    )  # fmt: skip


def measure_floor(folder: Path, version: int, costs: dict[str, Cost]) -> float:
    """CPU seconds of the parts without which nothing can be scored."""
    run_once((*RIVALS, "predict-proba", STORE, str(version), "rows.csv"), folder=folder)
    arithmetic = float((folder / "command.log").read_text().split()[-1])
    write = (
        costs["arrow read + write of the output"].cpu_s - costs["arrow read of the output"].cpu_s
    )
    read = costs["arrow read of the input"].cpu_s - costs["python, import pyarrow.csv"].cpu_s
    floor = arithmetic + read + write + costs["imports"].cpu_s
    print(
        f"\nFloor, version {version}: predict_proba {arithmetic:.2f} + read {read:.2f} + "
        f"write {write:.2f} + imports {costs['imports'].cpu_s:.2f} = {floor:.2f} CPU s."
    )
    return floor


def compare(folder: Path, runs: int) -> None:
    """Measure one forest and one boosted model on the same rows."""
    columns = "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,"
    columns += "Trihalomethanes,Turbidity"
    strip_ids(folder / "rows.csv", folder / "measurements.csv", columns.split(","))
    parts = run_all(
        {
            "python, import pyarrow.csv": (PYTHON, "-c", "import pyarrow.csv"),
            "imports": (*RIVALS, "imports"),
            "arrow read of the input": (*RIVALS, "read-text", "rows.csv"),
        },
        folder=folder,
        runs=runs,
    )
    for version, name in ((1, "rf"), (3, "hgb")):
        costs = run_all(
            {
                f"waterflow score, {name}, 1 job": score(version, "rows.csv"),
                f"waterflow score, {name}, 2 jobs": score(version, "rows.csv", jobs=2),
                "mlflow models predict": mlflow_predict(version),
                "pandas + pyfunc script": (
                    *RIVALS, "pandas-pyfunc", STORE, f"models:/waterflow/{version}", "rows.csv",
                    "pandas.csv",
                ),
            },
            folder=folder,
            runs=runs,
            outputs=(output := f"out-{version}.csv", "mlflow.json", "pandas.csv"),
        )  # fmt: skip
        run_once(score(version, "rows.csv"), folder=folder)
        parts |= run_all(
            {
                "arrow read of the output": (*RIVALS, "read-text", output),
                "arrow read + write of the output": (*RIVALS, "write-text", output, "copy.csv"),
            },
            folder=folder,
            runs=runs,
        )
        print_costs(f"{name}", costs, reference="mlflow models predict")
        one, two, mlflow, script = costs.values()
        floor = measure_floor(folder, version, parts)
        print()
        print(f"- CPU / floor: {one.cpu_s / floor:.2f}")
        print_check("CPU / mlflow models predict", one.cpu_s / mlflow.cpu_s, 0.25)
        print_check("CPU / pandas + pyfunc script", one.cpu_s / script.cpu_s, 0.25)
        print_check("wall of 2 jobs / wall of 1", two.wall_s / one.wall_s, 0.6)


def strip_ids(source: Path, target: Path, columns: list[str]) -> None:
    """Keep the measurements alone: `mlflow models predict` fails on columns of text."""
    import pyarrow.csv as pa_csv

    table = pa_csv.read_csv(source)
    pa_csv.write_csv(table.select(columns).cast(float_schema(columns)), target)


def float_schema(columns: list[str]):
    """All doubles, as the model's signature asks for."""
    import pyarrow as pa

    return pa.schema([(name, pa.float64()) for name in columns])


def compare_large(folder: Path, rows: int, runs: int) -> None:
    """A file that no longer fits a careless script."""
    simulate(folder, "large.csv", rows, 4)
    script = (*RIVALS, "pandas-pyfunc", STORE, "models:/waterflow/1", "large.csv", "pandas.csv")
    costs = run_all(
        {
            "waterflow score, 1 job": score(1, "large.csv"),
            "waterflow score, 2 jobs": score(1, "large.csv", jobs=2),
            "pandas + pyfunc script": script,
        },
        folder=folder,
        runs=runs,
        outputs=("out-1.csv", "pandas.csv"),
    )
    print_costs(f"rf, {rows} rows", costs, reference="pandas + pyfunc script")
    one, two, theirs = costs.values()
    print()
    print_check("CPU / pandas + pyfunc script", one.cpu_s / theirs.cpu_s, 0.45)
    print_check("wall of 2 jobs / wall of 1", two.wall_s / one.wall_s, 0.62)


def compare_memory(folder: Path, rows: int, large: int) -> None:
    """Memory does not grow with the file."""
    simulate(folder, "large.csv", large, 4)
    costs = run_all(
        {
            f"{rows} rows": score(1, "rows.csv", jobs=2),
            f"{large} rows": score(1, "large.csv", jobs=2),
        },
        folder=folder,
        runs=1,
    )
    print_costs("Memory, rf, 2 jobs", costs, reference=f"{rows} rows")
    small, big = costs.values()
    print()
    print_check("peak memory, large / small", big.peak_mb / small.peak_mb, 1.1)
    print_check("peak memory, MB", big.peak_mb, 600)


def compare_start_up(folder: Path, runs: int) -> None:
    """What a cron job that scores 24 rows pays."""
    imports = (PYTHON, "-c", "import mlflow.pyfunc, sklearn.ensemble, pyarrow.csv")
    commands = {f"24 rows, {name}": score(n, "few.csv") for n, name in enumerate(FEW, 1)}
    costs = run_all({"imports": imports, **commands}, folder=folder, runs=max(5, runs))
    print_costs("Start-up", costs, reference="imports")
    print()
    for name, limit in FEW.items():
        ratio = costs[f"24 rows, {name}"].cpu_s / costs["imports"].cpu_s
        print_check(f"CPU / imports, 24 rows, {name}", ratio, limit)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--large", type=int, default=5_000_000, help="rows of the large file")
    parser.add_argument("--largest", type=int, default=10_000_000, help="rows for the memory")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        prepare(folder, options.rows)
        print(f"{describe_machine()}\n\n{options.rows} rows, medians of {options.runs} runs.")
        compare_start_up(folder, options.runs)
        compare(folder, options.runs)
        compare_large(folder, options.large, options.runs)
        compare_memory(folder, options.rows, options.largest)


if __name__ == "__main__":
    main()
