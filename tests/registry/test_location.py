"""A model is found without MLflow where that is safe, and the answer is MLflow's own."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from waterflow_cli.common.errors import ModelError
from waterflow_cli.registry import lookup as registry
from waterflow_cli.registry.location import load_model
from waterflow_cli.registry.references import parse_reference
from waterflow_cli.registry.sqlite_tables import locate_in_sqlite, sqlite_path


def look_up(reference: str, uri: str, name: str = "waterflow") -> object:
    return locate_in_sqlite(reference, name, uri)


@pytest.mark.parametrize(
    "reference", ["@champion", "1", "models:/waterflow/1", "models:/waterflow@champion"]
)
def test_the_direct_answer_is_the_one_that_mlflow_gives(reference: str, store_uri: str) -> None:
    direct = look_up(reference, store_uri)
    assert direct is not None
    assert direct == registry.locate(reference, name="waterflow", tracking_uri=store_uri)


@pytest.mark.parametrize("reference", ["@nobody", "7", "runs:/abc/model", "somewhere"])
def test_what_is_not_found_directly_is_left_to_mlflow(reference: str, store_uri: str) -> None:
    assert look_up(reference, store_uri) is None
    with pytest.raises(ModelError):
        load_model(reference, name="waterflow", tracking_uri=store_uri)


def test_another_name_finds_nothing(store_uri: str) -> None:
    assert look_up("@champion", store_uri, name="other") is None


@pytest.fixture
def copied_store(store_uri: str, tmp_path: Path) -> Path:
    source = sqlite_path(store_uri)
    assert source is not None
    return Path(shutil.copy(source, tmp_path / "copy.db"))


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alembic_version SET version_num = 'of_tomorrow'",
        "DROP TABLE logged_model_tags",
        "UPDATE logged_models SET lifecycle_stage = 'deleted'",
        "DELETE FROM logged_model_tags",
        "UPDATE model_versions SET current_stage = 'Deleted_Internal'",
    ],
)
def test_a_store_that_is_not_as_expected_is_left_to_mlflow(change: str, copied_store: Path) -> None:
    uri = f"sqlite:///{copied_store}"
    assert look_up("@champion", uri) is not None
    connection = sqlite3.connect(copied_store)
    with connection:
        connection.execute(change)
    connection.close()
    assert look_up("@champion", uri) is None


def test_a_damaged_or_missing_file_is_left_to_mlflow(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"no database" * 1000)
    assert look_up("1", f"sqlite:///{tmp_path / 'damaged.db'}") is None
    assert look_up("1", f"sqlite:///{tmp_path / 'missing.db'}") is None
    assert not (tmp_path / "missing.db").exists()


def test_other_stores_are_left_to_mlflow() -> None:
    assert look_up("1", "http://localhost:1") is None
    assert parse_reference("data/model", "waterflow") is None


@pytest.mark.slow
def test_scoring_a_few_rows_imports_neither_mlflow_nor_pandera_nor_numba(
    store_uri: str, samples: Path, tmp_path: Path
) -> None:
    script = (
        "import sys\n"
        "from waterflow_cli.main import main\n"
        "try:\n    main()\nexcept SystemExit as stopped:\n    assert not stopped.code\n"
        "print({'mlflow', 'pandera', 'numba', 'matplotlib', 'sqlalchemy'} & set(sys.modules))\n"
    )
    arguments = ["score", str(samples), "-o", "out.csv", "--tracking-uri", store_uri, "-q"]
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "set()\n", done.stderr
