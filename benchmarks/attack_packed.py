"""What becomes of small files that unpack to very large ones.

    python benchmarks/attack_packed.py

Writes files of at most 10 MB that unpack to 10 to 50 GB, in each format and with each content;
runs `waterflow validate` and `waterflow score` on each, and prints the exit code, the CPU seconds
and the peak memory.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import lzma
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from bench_serve import prepare
from measure import WATERFLOW, describe_machine, print_check

NAMES = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity\n"
)
ROW = "7.1,180,20000,7,333,426,14,66,4\n"
# One piece is packed once, and comes so often that all unpack to 50 GB.
PIECE = 100_000_000
PIECES = 500
CONTENTS = {
    "rows": ROW,
    "one line": "1,",
    "an open quote": '"\n1',
    "blank lines": "\n",
    "zeros": "\0",
}
MOST_MB = 1500


def zstd(data: bytes) -> bytes:
    """Pack as zstd."""
    return bytes(pa.compress(data, "zstd", asbytes=True))


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, 9),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstd,
}


def write_packed(folder: Path, kind: str, text: str) -> Path:
    """Write a file of members that follow each other, of at most 10 MB."""
    path = folder / f"odd.csv.{kind}"
    pack = PACKERS[kind]
    piece = pack((text * (PIECE // len(text))).encode())
    with path.open("wb") as file:
        file.write(pack((NAMES + ROW).encode()))
        for _ in range(min(PIECES, 10_000_000 // len(piece))):
            file.write(piece)
    return path


def write_zip(folder: Path, method: int, text: str) -> Path:
    """Write a zip archive of one member."""
    path = folder / "odd.zip"
    piece = (text * (PIECE // 10 // len(text))).encode()
    with (
        zipfile.ZipFile(path, "w", method) as archive,
        archive.open("odd.csv", "w", force_zip64=True) as member,
    ):
        member.write((NAMES + ROW).encode())
        for _ in range(500):
            member.write(piece)
    return path


def write_nested(folder: Path) -> Path:
    """Write gzip in gzip."""
    path = folder / "odd.csv.gz"
    path.write_bytes(gzip.compress(gzip.compress(bytes(PIECE)) * 5000))
    return path


def write_parquet(folder: Path, kind: str) -> Path:
    """Write Parquet with a long text that each row refers to, many equal rows, or large pages."""
    path = folder / "odd.parquet"
    n_rows = 1 << 16 if kind == "long text" else 1 << 20
    columns = {name: pa.array([7.0] * n_rows) for name in NAMES.strip().split(",")}
    if kind == "long text":
        text = pa.array(["x" * 8_000_000])
        columns["site"] = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), text)
    table = pa.table(columns)
    options = {"use_dictionary": kind != "large pages", "compression": "zstd"}
    options["data_page_size"] = 1 << (20 if kind == "many rows" else 30)
    with pq.ParquetWriter(path, table.schema, **options) as writer:
        for _ in range({"long text": 1, "many rows": 300, "large pages": 100}[kind]):
            writer.write_table(table, row_group_size=n_rows)
    return path


def write_workbook(folder: Path) -> Path:
    """Write what is named as a sheet of Excel."""
    path = folder / "odd.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<workbook/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as member:
            for _ in range(100):
                member.write(bytes(PIECE))
    return path


def kinds() -> dict[str, Callable[[Path], Path]]:
    """Name each file, and say how it is written."""
    made: dict[str, Callable[[Path], Path]] = {}
    for kind in PACKERS:
        for name, text in CONTENTS.items():
            made[f"{kind} of {name}"] = lambda folder, k=kind, t=text: write_packed(folder, k, t)
    methods = {
        "deflate": zipfile.ZIP_DEFLATED,
        "bzip2": zipfile.ZIP_BZIP2,
        "lzma": zipfile.ZIP_LZMA,
    }
    for name, method in methods.items():
        made[f"zip by {name} of rows"] = lambda folder, m=method: write_zip(folder, m, ROW)
        made[f"zip by {name} of zeros"] = lambda folder, m=method: write_zip(folder, m, "\0")
    made["gzip in gzip"] = write_nested
    for kind in ("long text", "many rows", "large pages"):
        made[f"Parquet of {kind}"] = lambda folder, k=kind: write_parquet(folder, k)
    made["xlsx"] = write_workbook
    return made


def run(command: list[str], folder: Path) -> tuple[int, float, float, str]:
    """Run a command; give its exit code, CPU seconds, peak memory in MB and last words."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    said = (folder / "log").read_text().strip().splitlines()
    words = next((line for line in said if line.startswith("Error")), said[-1] if said else "")
    return (process.returncode, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, words)


def main() -> None:
    """Try what the options ask for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", default="", help="files whose name holds this")
    parser.add_argument("--commands", default="validate,score")
    options = parser.parse_args()
    print(f"{describe_machine()}\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "score" in options.commands:
            prepare(folder)
        for title, write in kinds().items():
            if options.only not in title:
                continue
            path = write(folder)
            for command in options.commands.split(","):
                more = ["-o", "out.csv"] if command == "score" else []
                code, cpu_s, peak_mb, words = run([*WATERFLOW, command, path.name, *more], folder)
                size = path.stat().st_size / 1e6
                claim = f"{command}, {title} ({size:.1f} MB): exit {code}, {cpu_s:.1f} s: {words}"
                print_check(f"{claim}: peak MB", peak_mb, MOST_MB)
                (folder / "out.csv").unlink(missing_ok=True)
            path.unlink()


if __name__ == "__main__":
    main()
