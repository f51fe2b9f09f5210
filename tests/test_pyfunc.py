from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import mlflow
import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import ModelError, WaterflowError
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    # MLflow looks at types in ways that pandas will do otherwise.
    pytest.mark.filterwarnings("ignore::FutureWarning:mlflow"),
]
COLUMNS = list(load_schema().measurements)
RESULTS = ["probability", "prediction", "verdict"]
URI = "models:/waterflow@champion"


@pytest.fixture(scope="module")
def frame(samples):
    """The samples, with two invalid rows among them: pH 15, and nothing measured."""
    frame = pd.read_csv(samples)[COLUMNS].astype(float)
    frame.loc[3, "ph"] = 15.0
    frame.loc[7] = np.nan
    return frame


@pytest.fixture
def model(store_uri):
    connect(store_uri)
    return mlflow.pyfunc.load_model(URI)


@pytest.fixture
def folder(store_uri, tmp_path):
    """A copy of the model's files, as MLflow fetches them."""
    connect(store_uri)
    return Path(mlflow.artifacts.download_artifacts(URI, dst_path=str(tmp_path)))


def test_the_model_gives_what_score_writes(model, frame, cli, store_uri):
    frame.to_csv("samples.csv", index=False)
    command = ["score", "samples.csv", "--tracking-uri", store_uri, "-o"]
    assert cli(*command, "scored.parquet").code == 0
    assert cli(*command, "scored.csv").code == 0
    found = model.predict(frame)
    assert list(found.columns) == RESULTS
    for scored in (
        pd.read_parquet("scored.parquet"),
        pd.read_csv("scored.csv", float_precision="round_trip"),
    ):
        assert scored["status"].value_counts().to_dict() == {"scored": 398, "invalid": 2}
        expected = scored["probability"].to_numpy(dtype=float)
        probability = found["probability"].to_numpy(dtype=float, na_value=np.nan)
        assert np.array_equal(probability, expected, equal_nan=True)
        assert found["prediction"].tolist() == scored["prediction"].astype("Int64").tolist()
        assert found["verdict"].tolist() == scored["verdict"].tolist()


def test_an_invalid_row_has_no_probability_and_goes_to_the_laboratory(model, frame):
    found = model.predict(frame)
    for row in (3, 7):
        assert found.loc[row, "probability"] is pd.NA
        assert found.loc[row, "prediction"] is pd.NA
        assert found.loc[row, "verdict"] == "send_to_lab"
    others = found.drop(index=[3, 7])
    assert others["probability"].between(0, 1).all()
    assert set(others["prediction"]) == {0, 1}


def test_no_rows_give_no_rows(model, frame):
    found = model.predict(frame.iloc[:0])
    assert list(found.columns) == RESULTS
    assert len(found) == 0


def test_rows_are_judged_one_by_one(model, frame):
    whole = model.predict(frame)
    for row in (0, 3, 7, 11):
        (alone,) = model.predict(frame.iloc[[row]]).to_dict("records")
        assert alone == whole.iloc[row].to_dict()


def test_the_index_of_the_frame_is_kept(model, frame):
    turned = frame.iloc[::-1].set_axis([f"r{row}" for row in reversed(range(len(frame)))])
    found = model.predict(turned)
    assert list(found.index) == list(turned.index)
    assert found["probability"].tolist() == model.predict(frame)["probability"].tolist()[::-1]


def test_the_callers_frame_is_not_changed(model, frame):
    before = frame.copy()
    model.predict(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_order_of_the_columns_and_other_columns_do_not_matter(model, frame):
    other = frame[COLUMNS[::-1]].assign(sample_id="S1")
    assert model.predict(other).equals(model.predict(frame))


@pytest.mark.parametrize("dtype", ["int32", "float32"])
def test_short_numbers_are_taken_as_doubles(model, frame, dtype):
    doubles = frame.assign(Solids=np.arange(len(frame)) + 20000.0)
    others = doubles.astype({"Solids": dtype})
    assert model.predict(others).equals(model.predict(doubles))


@pytest.mark.parametrize("dtype", ["int64", "Int64", "object"])
def test_whole_numbers_are_taken_as_doubles_whatever_holds_them(model, frame, dtype):
    doubles = frame.assign(Solids=np.arange(len(frame)) + 20000.0)
    assert model.predict(doubles.astype({"Solids": dtype})).equals(model.predict(doubles))


def test_columns_that_spark_names_by_their_places_are_the_measurements(model, frame):
    places = frame.set_axis([str(place) for place in range(len(COLUMNS))], axis="columns")
    assert model.predict(places).equals(model.predict(frame))
    for unnamed in (frame.to_numpy(), places.iloc[:, :-1], places[["1", "0", *places.columns[2:]]]):
        with pytest.raises(WaterflowError, match="ph"):
            model.predict(unnamed)


def test_a_frame_without_a_measurement_is_judged_as_with_an_empty_one(model, frame):
    empty = model.predict(frame.assign(Conductivity=float("nan")))
    assert model.predict(frame.drop(columns="Conductivity")).equals(empty)


@pytest.mark.parametrize("odd", ["acid", "7,2", {"ph": 7.0}, -7.0, float("inf")])
def test_a_row_with_a_cell_that_is_no_measurement_goes_to_the_laboratory(model, frame, odd):
    mixed = frame.astype({"ph": object})
    mixed.iat[3, mixed.columns.get_loc("ph")] = odd
    judged = model.predict(mixed)
    assert judged.loc[3].isna().tolist() == [True, True, False]
    assert judged.loc[3, "verdict"] == "send_to_lab"
    assert judged.drop(index=3).equals(model.predict(frame).drop(index=3))


@pytest.mark.slow
def test_whole_numbers_in_a_file_are_predicted_by_mlflow(folder, frame, model, tmp_path):
    whole = frame.iloc[:5].round().fillna(7).clip(lower=1).astype(np.int64)
    whole.to_csv(tmp_path / "whole.csv", index=False)
    command = [sys.executable, "-m", "mlflow", "models", "predict", "--env-manager", "local"]
    command += ["-m", str(folder), "-i", str(tmp_path / "whole.csv"), "-t", "csv"]
    done = subprocess.run([*command, "-o", tmp_path / "out.json"], check=False)
    assert done.returncode == 0
    said = json.loads((tmp_path / "out.json").read_text())["predictions"]
    check_answer(said, model.predict(whole))


def test_a_model_folder_is_loaded_without_a_store(folder, frame, model, workdir):
    found = mlflow.pyfunc.load_model(str(folder)).predict(frame)
    assert found.equals(model.predict(frame))
    # MLflow's own note about the version is in the folder, and does no harm.
    assert (folder / "registered_model_meta").is_file()


@pytest.mark.parametrize("name", ["data/waterflow/estimator.skops", "data/waterflow/decision.json"])
def test_changed_files_are_refused_by_mlflows_loading_too(folder, name):
    (folder / name).write_bytes((folder / name).read_bytes() + b" ")
    with pytest.raises(ModelError, match=f"{name} is not what was saved"):
        mlflow.pyfunc.load_model(str(folder))


def test_a_folder_without_its_manifest_is_refused(folder):
    (folder / "waterflow-manifest.json").unlink()
    with pytest.raises(ModelError, match="is missing, so its files cannot be verified"):
        mlflow.pyfunc.load_model(str(folder))


def test_mlflow_itself_was_told_to_load_no_pickle(folder):
    text = (folder / "MLmodel").read_text("utf-8")
    assert "loader_module: waterflow_cli.pyfunc" in text
    assert "cloudpickle" not in text
    assert "python_model" not in text


# --- a real server -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def served(store_uri, tmp_path_factory):
    """The address of `mlflow models serve` with the champion, on this machine alone."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("served") / "log"
    command = [sys.executable, "-m", "mlflow", "models", "serve", "--env-manager", "local"]
    command += ["-m", URI, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    settings = {
        "MLFLOW_TRACKING_URI": store_uri,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env={**os.environ, **settings},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        wait_until_ready(f"http://127.0.0.1:{port}/ping", process, log)
        yield f"http://127.0.0.1:{port}/invocations"
    finally:
        os.killpg(process.pid, 15)  # the group that it leads: its worker too
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def wait_until_ready(url, process, log):
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, log.read_text("utf-8", errors="replace")
        try:
            with urlopen(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(f"{url} does not answer: {log.read_text('utf-8', errors='replace')}")


def ask(url, body, content_type):
    request = Request(url, body.encode(), {"Content-Type": content_type})
    with urlopen(request, timeout=60) as response:
        text = response.read().decode()
    content = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return content["predictions"]


def check_answer(rows, expected):
    assert len(rows) == len(expected)
    for row, (_, known) in zip(rows, expected.iterrows(), strict=True):
        assert list(row) == RESULTS
        if pd.isna(known["probability"]):
            assert row == {"probability": None, "prediction": None, "verdict": "send_to_lab"}
        else:
            assert row["probability"] == pytest.approx(known["probability"], rel=0, abs=1e-12)
            assert row["prediction"] == known["prediction"]
            assert row["verdict"] == known["verdict"]


@pytest.mark.slow
@pytest.mark.parametrize("orient", ["split", "records"])
def test_a_server_answers_json_with_the_same_verdicts_in_strict_json(served, frame, model, orient):
    part = frame.iloc[:50]
    body = json.dumps({f"dataframe_{orient}": json.loads(part.to_json(orient=orient))})
    check_answer(ask(served, body, "application/json"), model.predict(part))


@pytest.mark.slow
def test_a_server_answers_csv_with_the_same_verdicts(served, frame, model):
    part = frame.iloc[:50]
    check_answer(ask(served, part.to_csv(index=False), "text/csv"), model.predict(part))


@pytest.mark.slow
def test_a_server_takes_whole_numbers(served, frame, model):
    doubles = frame.iloc[:20].assign(Solids=np.arange(20) + 20000.0)
    whole = doubles.assign(Solids=np.arange(20) + 20000)
    body = json.dumps({"dataframe_split": json.loads(whole.to_json(orient="split"))})
    assert ",20019," in whole.to_csv(index=False)
    check_answer(ask(served, body, "application/json"), model.predict(doubles))
    check_answer(ask(served, whole.to_csv(index=False), "text/csv"), model.predict(doubles))


@pytest.mark.slow
def test_a_server_answers_a_single_invalid_row(served, frame, model):
    for row in (3, 7):
        part = frame.iloc[[row]]
        body = json.dumps({"dataframe_split": json.loads(part.to_json(orient="split"))})
        check_answer(ask(served, body, "application/json"), model.predict(part))


@pytest.mark.slow
def test_a_server_refuses_what_is_no_table_of_measurements(served):
    with pytest.raises(HTTPError, match="400") as refused:
        ask(served, json.dumps({"dataframe_records": [{"pressure": 1.0}]}), "application/json")
    assert "ph" in refused.value.read().decode()
    refused.value.close()


@pytest.mark.slow
def test_serving_needs_the_folder_alone(folder, frame, tmp_path):
    """What a worker elsewhere is sent: the folder, with no store in reach."""
    elsewhere = shutil.copytree(folder, tmp_path / "elsewhere")
    frame.to_parquet(tmp_path / "frame.parquet")
    code = (
        "import sys, warnings; warnings.simplefilter('ignore')\n"
        "import mlflow, pandas\n"
        "model = mlflow.pyfunc.load_model(sys.argv[1])\n"
        "print(model.predict(pandas.read_parquet(sys.argv[2]))['probability'].sum())\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code, str(elsewhere), str(tmp_path / "frame.parquet")],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": "http://127.0.0.1:9/"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    expected = mlflow.pyfunc.load_model(str(folder)).predict(frame)["probability"].sum()
    assert float(finished.stdout) == pytest.approx(expected, rel=1e-14)
