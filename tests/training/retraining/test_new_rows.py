from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from waterflow_cli.common.errors import DataRefusedError
from waterflow_cli.samples.columns import IdColumn
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import DataOptions, TrainingData, load_training_data
from waterflow_cli.training.retraining.new_rows import set_apart, sort_new_rows
from waterflow_cli.training.retraining.options import RetrainingOptions
from waterflow_cli.training.runs.combined_data import COMBINED, combine, read_combined


def table(n_rows, *, seed=0, groups=None, share=0.4):
    random = np.random.default_rng(seed)
    return TrainingData(
        path="new.csv",
        X=pd.DataFrame(
            {"ph": random.normal(7, 1, n_rows), "Sulfate": random.normal(300, 9, n_rows)}
        ),
        y=(np.arange(n_rows) < share * n_rows).astype(np.int64),
        sha256="",
        n_dropped=0,
        groups=groups,
    )


def test_each_class_is_split_by_the_share():
    new = table(200)
    judging = set_apart(new, 0.25, 0)
    assert (len(set(judging)), int(new.y[judging].sum())) == (50, 20)
    assert set_apart(new, 0.25, 0).tolist() == judging.tolist()
    assert set_apart(new, 0.25, 1).tolist() != judging.tolist()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_group_is_never_split(share):
    groups = np.random.default_rng(1).integers(0, 40, 400).astype(str)
    new = table(400, groups=groups)
    judging = set_apart(new, share, 0)
    assert not set(groups[judging]) & set(np.delete(groups, judging))
    assert len(judging) / 400 == pytest.approx(share, abs=0.12)


@pytest.mark.parametrize(
    ("new", "message"),
    [
        (table(30), "18 not potable and 12 potable"),
        (table(80, share=0.3), "28 not potable and 12 potable"),
        (table(200, share=0), "200 not potable and 0 potable"),
        (table(200, groups=np.tile(["a", "b", "c", "d"], 50)), "samples of 4 groups"),
    ],
)
def test_too_few_to_judge_by_are_refused(new, message):
    with pytest.raises(DataRefusedError, match=message) as refused:
        set_apart(new, 0.5, 0)
    assert "--holdout" in refused.value.hint


def test_every_undisputed_row_serves_one_purpose():
    found = sort_new_rows(table(300, seed=1), table(200, seed=2))
    assert (len(found.learned), len(found.judging.y), len(found.unseen.y)) == (100, 100, 200)
    assert found.summary()["rows_learned"] == 100


def test_a_copy_under_another_id_does_not_judge():
    """Neither one of a recorded row, nor one of a row that the challenger learns from."""
    recorded, new = table(300, seed=1), table(200, seed=2)
    new.X.iloc[:30] = recorded.X.iloc[:30].to_numpy()
    new.X.iloc[150:] = new.X.iloc[100:150].to_numpy()
    ids = np.arange(500).astype(str).astype(object)
    object.__setattr__(recorded, "ids", ids[:300])
    object.__setattr__(new, "ids", ids[300:])
    found = sort_new_rows(recorded, new)
    judging, unseen = (set(each.X["ph"]) for each in (found.judging, found.unseen))
    assert not judging & (set(recorded.X["ph"]) | set(new.X["ph"].iloc[found.learned]))
    assert judging < unseen
    assert not unseen & set(recorded.X["ph"])
    assert found.n_copies > 20


def test_a_copy_of_a_corrected_row_does_not_judge():
    recorded, new = table(300, seed=1), table(200, seed=2)
    ids = np.arange(500).astype(str).astype(object)
    object.__setattr__(recorded, "ids", ids[:300])
    object.__setattr__(new, "ids", np.append(ids[:40], ids[300:460]))  # 40 contradict
    new.X.iloc[80:120] = new.X.iloc[:40].to_numpy()
    found = sort_new_rows(recorded, new, RetrainingOptions(on_conflict="new"))
    assert set(range(40)) <= set(found.learned)
    assert not set(found.judging.X["ph"]) & set(new.X["ph"].iloc[found.learned])


def test_rows_of_a_group_that_was_learned_from_do_not_judge():
    groups = np.arange(400) % 40
    recorded = table(300, seed=1, groups=np.array(["0", "1", "2"] * 100))
    found = sort_new_rows(recorded, table(400, seed=2, groups=groups.astype(str)))
    for each in (found.judging, found.unseen):
        assert not {"0", "1", "2"} & set(each.groups)
    assert len(found.learned) + len(found.judging.y) == 400
    with pytest.raises(DataRefusedError, match="0 not potable and 0 potable") as refused:
        sort_new_rows(recorded, table(300, seed=2, groups=recorded.groups))
    assert refused.value.hint.startswith("300 new samples cannot judge, for their groups were")


def test_the_latest_rows_judge_where_rows_have_times():
    recorded, new = table(300, seed=1), table(200, seed=2)
    when = np.random.default_rng(0).integers(0, 30, 200).astype(float)
    found = sort_new_rows(recorded, replace(new, when=when), RetrainingOptions(holdout=0.4))
    assert when[found.learned].max() < found.judging.when.min()
    assert len(found.judging.y) == pytest.approx(80, abs=8)
    with pytest.raises(DataRefusedError, match="all new samples are of one time"):
        sort_new_rows(recorded, replace(new, when=np.zeros(200)))


def test_nothing_new_is_refused():
    recorded = table(100)
    with pytest.raises(DataRefusedError, match="no row is of a new and undisputed sample"):
        sort_new_rows(recorded, table(100))


@pytest.mark.parametrize(
    ("on_conflict", "outcome", "n_learned"),
    [("drop", "neither row is used", 100), ("new", "the new row is learned from", 110)],
)
def test_conflicts_are_told(on_conflict, outcome, n_learned):
    recorded, new = table(300, seed=1), table(210, seed=2)
    new.X.iloc[:10] = recorded.X.iloc[:10].to_numpy()
    new.y[:10] = 1 - recorded.y[:10]
    said = []
    found = sort_new_rows(
        recorded, new, RetrainingOptions(on_conflict=on_conflict), warn=said.append
    )
    assert said[0].startswith("10 new rows contradict an earlier row")
    assert outcome in said[0]
    assert "and 10 rows of the training data are not learned from any more" in said[0]
    assert len(found.learned) == n_learned


# --- the file that lies with a run ---------------------------------------------------------------


@pytest.fixture
def labelled(tmp_path):
    path = tmp_path / "site.csv"
    rows = [
        f"S-{n},{n % 7},2024-0{1 + n % 9}-01,{'<' if n < 10 else ''}{4 + n / 10},{n},{n % 2}"
        for n in range(60)
    ]
    path.write_text("sample id,site,day,ph,Sulfate,Potability\n" + "\n".join(rows))
    schema = tmp_path / "two.yaml"
    schema.write_text(
        "schema_type: dataframe\nversion: 0.35.0\nmetadata: {label: Potability}\ncolumns:\n"
        "  ph: {dtype: float64, nullable: true}\n  Sulfate: {dtype: float64, nullable: true}\n"
        "  Potability: {dtype: float64, nullable: true}\n"
    )
    schema = load_schema(str(schema))
    data = load_training_data(
        str(path), schema, DataOptions(group="site", time="day"), ids=IdColumn()
    )
    return data, schema


def test_combined_rows_come_back_as_they_were(labelled, tmp_path):
    data, schema = labelled
    assert (data.id_column, data.ids[0], data.lines[0]) == ("sample id", "S-0", 2)
    made, content = combine([(data, np.arange(30)), (data, np.arange(40, 60))], schema)
    (tmp_path / "rows.parquet").write_bytes(content)
    back = read_combined(str(tmp_path / "rows.parquet"), schema, data.options)
    assert (made.path, back.sha256, len(back.y)) == (COMBINED, made.sha256, 50)
    pd.testing.assert_frame_equal(back.X, made.X)
    for name in ("y", "groups", "when", "ids"):
        assert getattr(back, name).tolist() == getattr(made, name).tolist()
        assert getattr(back, name)[-1] == getattr(data, name)[-1]
    assert back.options == DataOptions(group="site", time="day")


def test_counts_of_cells_stand_for_the_rows_that_were_taken(labelled):
    data, schema = labelled
    assert data.cells.nondetects["ph"] == 10
    made, _ = combine([(data, np.arange(30)), (data, np.arange(60))], schema)
    assert made.cells.nondetects["ph"] == 5 + 10


def test_rows_without_ids_have_none(labelled):
    data, schema = labelled
    object.__setattr__(data, "ids", None)
    assert combine([(data, np.arange(60))], schema)[0].ids is None
