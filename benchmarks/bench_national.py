"""What a national year of the French control costs: some 12 million results, made into samples.

    python benchmarks/bench_national.py --samples 450000 --runs 3

Writes the two files with `waterflow simulate --layout sise-eaux`, and compares with DuckDB (the
extra `database`), which reads both, pivots the results and joins the samplings by hand-written SQL.
Then a model is trained on them, and they are scored and explored, and another year is monitored.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from measure import PYTHON, WATERFLOW, describe_machine, print_check, print_costs, run_all, run_once

MOST_MB, MOST_RATIO = 2000, 3.0
RESULTS, SAMPLINGS = "DIS_RESULT_2024.txt", "DIS_PLV_2024.txt"
OTHER = "other"
COMMANDS = {
    "train": ("train", RESULTS, SAMPLINGS, "--plugin", "hgb", "--report", "model.html"),
    "score": ("score", RESULTS, SAMPLINGS, "-o", "scored.csv"),
    "monitor": (
        *("monitor", f"{OTHER}/{RESULTS}", "--samplings", f"{OTHER}/{SAMPLINGS}"),
        *("--labels", "--window", "30d", "-o", "monitor.html"),
    ),
    "explore": ("explore", RESULTS, "--samplings", SAMPLINGS, "-o", "explore.html"),
}
CODES = {
    **{"ph": 1302, "Sulfate": 1338, "Conductivity": 1303, "Organic_carbon": 1841},
    **{"Trihalomethanes": 2036, "Turbidity": 1295, "Total": 1399, "Free": 1398, "Hardness": 1345},
}
PIVOTED = ", ".join(
    f"max(v) filter (cdparametre = '{code}') {name}" for name, code in CODES.items()
)
SQL = f"""
copy (
    with results as (
        select referenceprel, cdparametre,
            try_cast(replace(ltrim(rqana, '<'), ',', '.') as double)
                * if(starts_with(rqana, '<'), 0.5, 1) v
        from read_csv('{RESULTS}', all_varchar = true, header = true)
        where cdparametre in {tuple(map(str, CODES.values()))}
    ),
    samples as (
        select * exclude (Total, Free, Hardness), Total - Free Chloramines, 10 * Hardness Hardness
        from (select referenceprel, {PIVOTED} from results group by referenceprel)
    ),
    samplings as (
        select referenceprel, any_value(cdreseau) cdreseau, any_value(dateprel) dateprel,
            min(if('N' in (plvconformitebacterio, plvconformitechimique), 0, 1)) Potability
        from read_csv('{SAMPLINGS}', all_varchar = true, header = true) group by referenceprel
    )
    select * from samples left join samplings using (referenceprel)
) to 'duckdb.csv' (header)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=450_000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    ours, rival = "waterflow validate --good", "DuckDB, by SQL"
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder = Path(name)
        simulate = ("simulate", "--layout", "sise-eaux", "--samples", str(options.samples))
        run_once((*WATERFLOW, *simulate, "-o", "."), folder=folder)
        print(f"{describe_machine()}\n\n{options.samples} samples, medians of {options.runs} runs.")
        costs = run_all(
            {
                ours: (
                    *(*WATERFLOW, "validate", RESULTS, SAMPLINGS, "-q"),
                    *("--good", "good.csv", "--force"),
                ),
                rival: (PYTHON, "-c", f"import duckdb; duckdb.execute('''{SQL}''')"),
            },
            folder=folder,
            runs=options.runs,
        )
        (folder / OTHER).mkdir()
        run_once((*WATERFLOW, *simulate, "--seed", "1", "-o", OTHER), folder=folder)
        # A monitor that finds something ends with 1.
        found = {
            name: run_once((*WATERFLOW, *command, "-q"), folder=folder, ok=(0, 1))
            for name, command in COMMANDS.items()
        }
    print_costs("Making samples of a national year", costs, reference=rival)
    print()
    print_check(f"peak memory under {MOST_MB} MB", costs[ours].peak_mb, MOST_MB)
    ratio = costs[ours].cpu_s / costs[rival].cpu_s
    print_check(f"CPU at most {MOST_RATIO:g} x {rival}", ratio, MOST_RATIO)
    print()
    print_costs("Working with a national year, one run each", found, reference="score")
    print()
    for name, cost in found.items():
        print_check(f"{name}: peak memory under {MOST_MB} MB", cost.peak_mb, MOST_MB)


if __name__ == "__main__":
    main()
