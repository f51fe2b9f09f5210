"""The simulated files of the French control hold the simulated samples, and their labels."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pytest

from waterflow_cli.common.errors import UsageError
from waterflow_cli.samples.french_control import RESULTS, SAMPLINGS, write_french_control
from waterflow_cli.samples.simulation import simulate_batches

N_ROWS = 9000  # more than are written at a time
CODES = {
    **{"ph": "1302", "Sulfate": "1338", "Conductivity": "1303", "Organic_carbon": "1841"},
    **{"Trihalomethanes": "2036", "Turbidity": "1295", "Hardness": "1345"},
}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The two files as text, and the samples that they hold."""
    folder = tmp_path_factory.mktemp("french")
    write_french_control(str(folder), N_ROWS, seed=5, signal=0.9, force=False)
    as_text = pa_csv.ConvertOptions(
        column_types={
            name: pa.string()
            for name in ("referenceprel", "cdparametre", "rqana", "valtraduite", "cdreseau")
        }
    )
    tables = [
        pa_csv.read_csv(folder / name, convert_options=as_text) for name in (SAMPLINGS, RESULTS)
    ]
    return *tables, pa.Table.from_batches(simulate_batches(N_ROWS, seed=5, signal=0.9))


def results_of(results, code):
    found = results.filter(pc.equal(results["cdparametre"], code))
    values = pc.replace_substring(found["rqana"], ",", ".").cast(pa.float64()).to_pylist()
    return dict(zip(found["referenceprel"].to_pylist(), values, strict=True))


def keys(rows):
    return pc.binary_join_element_wise(
        "033", pc.utf8_slice_codeunits(rows["sample_id"], 1), ""
    ).to_pylist()


@pytest.mark.parametrize("name", sorted(CODES))
def test_each_result_is_the_sample_s_measurement(written, name):
    _, results, rows = written
    found = results_of(results, CODES[name])
    scale = 10 if name == "Hardness" else 1
    expected = dict(zip(keys(rows), rows[name].to_pylist(), strict=True))
    assert found.keys() == {key for key, value in expected.items() if value is not None}
    assert all(scale * value == pytest.approx(expected[key]) for key, value in found.items())


def test_chloramines_are_total_chlorine_less_the_free_one(written):
    _, results, rows = written
    total, free = results_of(results, "1399"), results_of(results, "1398")
    for key, value in zip(keys(rows), rows["Chloramines"].to_pylist(), strict=True):
        assert total[key] - free[key] == pytest.approx(value)


def test_a_sample_is_potable_where_no_limit_is_exceeded(written):
    samplings, _, rows = written
    exceeds = pc.or_(
        pc.equal(samplings["plvconformitebacterio"], "N"),
        pc.equal(samplings["plvconformitechimique"], "N"),
    )
    labels = dict(zip(samplings["referenceprel"].to_pylist(), exceeds.to_pylist(), strict=True))
    expected = dict(zip(keys(rows), rows["Potability"].to_pylist(), strict=True))
    assert labels == {key: label == 0 for key, label in expected.items()}


def test_some_samplings_stand_there_once_for_each_network(written):
    samplings, _, _ = written
    assert N_ROWS < len(samplings) < 1.1 * N_ROWS
    pairs = zip(
        *(samplings[name].to_pylist() for name in ("referenceprel", "cdreseau")), strict=True
    )
    assert len(set(pairs)) == len(samplings)


def test_a_file_that_is_there_is_not_replaced(tmp_path):
    Path(tmp_path, RESULTS).write_text("mine", "utf-8")
    with pytest.raises(UsageError, match="exists already"):
        write_french_control(str(tmp_path), 10, seed=0, signal=0.75, force=False)
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]
