"""Equal work leaves equal content, whatever language the user reads."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from learnable import write_learnable
from mlflow import MlflowClient

from waterflow_cli.common.messages import LANGUAGES
from waterflow_cli.registry.experiment_layout import lay_out

# What differs between any two runs: ids, times, and digests of files that hold these.
VARYING = re.compile(
    r"m-[0-9a-f]{32}|\b[0-9a-f]{32}\b|(?<=waterflow\.history\.\d{6}-)[0-9a-f]{8}|(?<![.\d])\d{13}\b"
    r"|\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d)?(\.\d+)?"
)
VARYING_DIGEST = re.compile(r"(manifest_sha256|model_sha256)(\W+)[0-9a-f]{64}")
# The page and the pictures are for people; a saved pipeline holds times and addresses in memory.
LEFT_OUT = {".html", ".png", ".skops"}
# These hold ids, or digests of files that do.
WITH_IDS = {"MLmodel", "registered_model_meta", "waterflow-manifest.json"}


def constant(text: str) -> str:
    return VARYING_DIGEST.sub(r"\1\2DIGEST", VARYING.sub("VARIES", text))


def stored_rows(database: Path) -> list[str]:
    """Give all rows of a store's tables, but what tells one run of a test from another."""
    found = []
    with sqlite3.connect(database) as connection:
        tables = ("params", "tags", "experiment_tags", "registered_model_tags")
        for table in (*tables, "model_version_tags", "logged_model_params", "logged_model_tags"):
            for row in connection.execute(f"select * from {table}"):
                found.append(constant(f"{table}: {row}"))
        for row in connection.execute("select key, value, step from metrics"):
            found.append(f"metrics: {row}")
    connection.close()
    return sorted(line for line in found if "manifest" not in line)


def stored_files(folder: Path) -> list[tuple[str, str]]:
    return sorted(
        (constant(path.relative_to(folder).as_posix()), constant(path.read_bytes().hex()))
        if path.suffix not in (".json", ".yaml", ".txt")
        else (constant(path.relative_to(folder).as_posix()), constant(path.read_text("utf-8")))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in LEFT_OUT and path.name not in WITH_IDS
    )


def work_in_each_language(
    cli: Cli, workdir: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, dict[str, Any]]:
    """Give what the same commands leave in each language: the store, its files and the JSON."""
    write_learnable("new.csv", 300, seed=5)
    Path("new.csv").write_text(Path("new.csv").read_text("utf-8").replace("\nS", "\nN"), "utf-8")
    new = workdir / "new.csv"
    found: dict[str, dict[str, Any]] = {}
    for language in LANGUAGES:
        folder = workdir / language
        folder.mkdir()
        monkeypatch.chdir(folder)
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)

        def run(*args: object, language: str = language, codes: tuple[int, ...] = (0,)) -> str:
            done = cli("--lang", language, *args)
            assert done.code in codes, done.err
            return done.out

        split = ("--cv", "3x1", "--json")
        said = [
            run("train", samples, "--plugin", "hgb", "--guarantee", "npv=0.7@90%", *split),
            run("compare", samples, "--plugin", "logreg,hgb", *split),
            run("retrain", "--with", new, "--margin", 0, "--json", codes=(0, 1)),
        ]
        client = MlflowClient(uri)
        client.set_registered_model_alias("waterflow", "champion", "2")  # without an entry
        said.append(run("models", "promote", 1, "--force", "--why", "tried", "--json"))
        run("monitor", new, "--labels", "--by", "site", codes=(0, 1))
        run("score", new, "-o", "scored.csv")
        said.append(run("replay", "scored.csv", "--model", 2, "--json"))
        said.append(run("models", "history", "--json"))
        lay_out(client)
        found[language] = {
            "json": [constant(text) for text in said],
            "rows": stored_rows(folder / "mlflow.db"),
            "files": stored_files(folder / "mlartifacts"),
            "scored": (folder / "scored.csv").read_text("utf-8"),
        }
    return found


@pytest.mark.slow
def test_equal_work_leaves_equal_content_in_each_language(
    cli: Cli, workdir: Path, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = work_in_each_language(cli, workdir, samples, monkeypatch)
    english, french = left["en"], left["fr"]
    assert french["json"] == english["json"]
    assert french["rows"] == english["rows"]
    assert [name for name, _ in french["files"]] == [name for name, _ in english["files"]]
    for (name, here), (_, there) in zip(french["files"], english["files"], strict=True):
        assert here == there, name
    # The reasons in a scored file are for people.
    assert "probability" in english["scored"]
    assert "probabilité" in french["scored"]
    assert "params: ('evaluation', 'cv-3x1', 'VARIES')" in english["rows"]
    assert any("no entry told of it" in row for row in french["rows"])
