"""How `waterflow serve` holds up under load, and beside `mlflow models serve`.

    python benchmarks/bench_serve.py --seconds 60

Trains on simulated samples. Each server gets the same rows in its own form, on as many connections,
in turns; the one that is not asked is stopped. Then `waterflow serve` alone gets good and bad
requests, bodies that are too large and slow clients at the same time; each answer is compared with
what `waterflow score` writes. The load is made on the same cores.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
from load import Load, Request, run_load
from measure import PYTHON, WATERFLOW, describe_machine, print_check, run_once

from waterflow_cli.registry.location import load_model

STORE = "sqlite:///mlflow.db"
MODELS = {"hgb": (), "rf": ("--param", "n_estimators=100")}
MAX_BYTES = 1_000_000
NOT_MEASURED = ("sample_id", "site", "date", "Potability")


def prepare(folder: Path) -> None:
    """Make the samples, and a version for each model."""
    for name, rows, seed in (("train.csv", 3000, 1), ("rows.csv", 2000, 2)):
        options = ("--rows", str(rows), "--seed", str(seed), "-o", name)
        run_once((*WATERFLOW, "simulate", *options), folder=folder)
    for plugin, options in MODELS.items():
        train = (*WATERFLOW, "train", "train.csv", "--plugin", plugin, "--cv", "3x1", *options)
        run_once(train, folder=folder)


def free_port() -> int:
    """A port that nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def serving(folder: Path, command: Sequence[str], port: int) -> Iterator[int]:
    """Run a server until it is healthy, and stop it in the end; gives its process."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={**os.environ, "MLFLOW_TRACKING_URI": STORE},
        )
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError((folder / "server.log").read_text()[-2000:]) from None
                time.sleep(0.2)
        yield process.pid
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}")
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ours(version: int, port: int, *options: str) -> tuple[str, ...]:
    """Waterflow's server."""
    return (*WATERFLOW, "serve", "--model", str(version), "--port", str(port), *options)


def theirs(version: int, port: int) -> tuple[str, ...]:
    """MLflow's server."""
    return (
        PYTHON, "-m", "mlflow", "models", "serve", "-m", f"models:/waterflow/{version}",
        "--env-manager", "local", "--port", str(port),
    )  # fmt: skip


def compare(folder: Path, records: list[dict[str, float | None]], args: argparse.Namespace) -> None:
    """Print requests a second of both servers."""
    print("\n### Requests a second, beside `mlflow models serve`\n")
    print("| model | rows | connections | waterflow | MLflow | ratio | median ms | MLflow's |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    ratios = []
    for version, plugin in enumerate(MODELS, 1):
        for n_rows, n_connections in ((1, 1), (1, 8), (100, 1), (100, 8)):
            pairs = []
            rows = records[:n_rows]
            for _ in range(args.rounds):
                pair = []
                for command, path, body in (
                    (ours, "/score", {"samples": rows}),
                    (theirs, "/invocations", {"dataframe_records": rows}),
                ):
                    port = free_port()
                    request = Request(path, json.dumps(body).encode())
                    with serving(folder, command(version, port), port):
                        mixes = [[request]] * n_connections
                        run_load(port, mixes, seconds=1, slow=0)
                        pair.append(run_load(port, mixes, seconds=args.compare_seconds, slow=0))
                if pair[0].wrong or pair[1].wrong:
                    raise RuntimeError(f"{pair[0].wrong[:1]} {pair[1].wrong[:1]}")
                pairs.append(pair)
            ratio = statistics.median(own.rate / other.rate for own, other in pairs)
            ratios.append(ratio)
            own, other = pairs[-1]
            print(
                f"| {plugin} | {n_rows} | {n_connections} | {own.rate:.0f} | {other.rate:.0f} | "
                f"{ratio:.1f} | {own.quantile_ms(0.5):.1f} | {other.quantile_ms(0.5):.1f} |"
            )
    print()
    print_check("smallest ratio of requests a second", min(ratios), 1, at_least=True)


def mixed_requests(folder: Path, version: int, records: list[dict]) -> list[list[Request]]:
    """Good requests with their answers, and bad ones with their statuses."""
    header, *lines = (folder / "rows.csv").read_bytes().splitlines(keepends=True)
    output = folder / "scored.csv"
    score = ("score", "rows.csv", "--model", str(version), "-o", output.name, "--force", "-q")
    run_once((*WATERFLOW, *score), folder=folder)
    first, *scored = output.read_bytes().splitlines(keepends=True)
    table = pd.read_csv(output, dtype=str, keep_default_na=False)
    label = f"waterflow/{version}"
    good = []
    for start, stop in ((0, 1), (1, 2), (5, 105), (200, 210), (0, 2000)):
        body = json.dumps({"samples": records[start:stop]}).encode()
        good.append(Request("/score", body, answer=json_answer(table[start:stop], label)))
        rows = b"".join(lines[start:stop])
        answer = first + b"".join(scored[start:stop])
        good.append(Request("/score", header + rows, "text/csv", answer=answer))
    bad = [
        Request("/score", b'{"samples": [', statuses=(400,)),
        Request("/score", b'{"samples": [{"ph": NaN}]}', statuses=(400,)),
        Request("/score", b'{"samples": [{"ph": 7}]}', statuses=(422,)),
        Request("/score", b"a,b\n1,2\n", "text/csv", statuses=(422,)),
        Request("/score", os.urandom(2000), "text/csv", statuses=(422,)),
        Request("/score", b"x", "text/plain", statuses=(415,)),
        Request("/score", b"[" * (MAX_BYTES + 1), statuses=(413,)),
        Request("/nowhere", b"x", statuses=(404,)),
        Request("/health", b"x", statuses=(405,)),
    ]
    either = [good[number % len(good)] for number in range(len(bad))]
    mixed = [each for pair in zip(either, bad, strict=True) for each in pair]
    return [good, mixed, good[::-1], mixed[::-1], good[:4], mixed, good[:4], bad]


def json_answer(table: pd.DataFrame, label: str) -> bytes:
    """What the rows of an output of `waterflow score` are as an answer."""
    results = [
        {
            "status": row.status,
            "probability": float(row.probability) if row.probability else None,
            "prediction": int(row.prediction) if row.prediction else None,
            "verdict": row.verdict,
            "rule": row.rule,
            "reason": row.reason,
            "model_version": row.model_version,
        }
        for row in table.itertuples()
    ]
    return (json.dumps({"version": 1, "model": label, "results": results}) + "\n").encode()


def resident_mb(pid: int) -> float:
    """Resident memory of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def soak(folder: Path, records: list[dict], args: argparse.Namespace) -> None:
    """Print what became of mixed requests, and of the server's memory."""
    mixes, port = mixed_requests(folder, 1, records), free_port()
    options = ("--max-bytes", str(MAX_BYTES), "--timeout-s", "10")
    memory: list[float] = []
    with serving(folder, ours(1, port, *options), port) as pid:
        run_load(port, mixes, seconds=min(10, args.seconds / 3), slow=2)
        stopped = threading.Event()

        def sample() -> None:
            while not stopped.wait(1):
                memory.append(resident_mb(pid))

        sampling = threading.Thread(target=sample)
        sampling.start()
        load = run_load(port, mixes, seconds=args.seconds, slow=10)
        stopped.set()
        sampling.join()
    print_soak(load, memory)


def print_soak(load: Load, memory: list[float]) -> None:
    """Print the counts, what was wrong, and how memory went."""
    half = len(memory) // 2
    early, late = statistics.median(memory[:half]), statistics.median(memory[half:])
    print("\n### Good and bad requests, large bodies and slow clients at once\n")
    statuses = ", ".join(f"{count} of {status}" for status, count in sorted(load.statuses.items()))
    print(f"{load.seconds:.0f} s, {load.rate:.0f} answers a second: {statuses}.")
    print(f"Median {load.quantile_ms(0.5):.0f} ms, 99 of 100 in {load.quantile_ms(0.99):.0f} ms.")
    print(f"Resident memory: {early:.0f} MB in the first half, {late:.0f} MB in the second.\n")
    print_check("wrong answers", len(load.wrong), 0)
    print_check("memory of the second half / first half", late / early, 1.1)
    for wrong in load.wrong[:5]:
        print(f"  - {wrong}")


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60, help="of mixed load")
    parser.add_argument("--compare-seconds", type=float, default=5, help="of each comparison")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        prepare(folder)
        schema = load_model("1", name="waterflow", tracking_uri=f"sqlite:///{folder}/mlflow.db")
        table = pd.read_csv(folder / "rows.csv")[list(schema.decision.measurements)]
        records = json.loads(table.to_json(orient="records", double_precision=15))
        print(describe_machine())
        soak(folder, records, args)
        compare(folder, records, args)


if __name__ == "__main__":
    main()
