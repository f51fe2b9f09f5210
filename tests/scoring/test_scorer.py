"""A batch in, a batch out: each row judged for itself, with the reason why."""

from __future__ import annotations

import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import ModelError
from waterflow_cli.main import main
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.registry.location import load_model
from waterflow_cli.scoring.frames import frame_table, score_frame
from waterflow_cli.scoring.scorer import (
    RESULT_COLUMNS,
    Scorer,
    pass_options,
)
from waterflow_cli.validation.pass_over import pass_over

NAN = float("nan")


@pytest.fixture(scope="module")
def model(store_uri):
    return load_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture(scope="module")
def frame(samples, model):
    return pd.read_csv(samples)[list(model.decision.measurements)]


def score(model, frame):
    """Score a frame as one batch, and return the results row by row."""
    table = frame_table(frame, model.schema.header)
    (batch,) = table.batches()
    scorer = Scorer.of_table(model, table)
    scored = scorer.judge(scorer.file.check(batch))
    return scored, pa.table(scored.results).to_pylist()


def test_each_row_has_every_result(model, frame):
    scored, rows = score(model, frame)
    assert list(scored.results) == list(RESULT_COLUMNS)
    assert len(rows) == len(frame) == 400
    assert {row["model_version"] for row in rows} == {"waterflow/1"}
    assert {row["status"] for row in rows} == {"scored"}
    assert not scored.checked.invalid.any()


def test_prediction_and_verdict_follow_from_the_probability(model, frame):
    decision = model.decision
    _, rows = score(model, frame)
    for row in rows:
        probability = row["probability"]
        assert 0 <= probability <= 1
        assert row["prediction"] == int(probability >= decision.threshold)
        if probability >= decision.policy.potable_from:
            assert (row["verdict"], row["prediction"]) == ("likely_potable", 1)
            assert row["reason"].startswith(
                f"probability at least {decision.policy.potable_from:.3g}"
            )
        elif probability <= decision.policy.not_potable_to:
            assert (row["verdict"], row["prediction"]) == ("likely_not_potable", 0)
            assert row["reason"].startswith("probability at most 0.2")
        else:
            assert row["verdict"] == "send_to_lab"
            assert re.match(r"probability between 0\.2 and 0\.8: not decided", row["reason"])
    assert {row["verdict"] for row in rows} == set(VERDICTS)


def test_verdicts_are_counted(model, frame):
    scored, rows = score(model, frame.assign(ph=np.where(frame.index % 9, frame["ph"], 99)))
    judged = [row["verdict"] for row in rows if row["status"] == "scored"]
    assert scored.verdict_counts == {name: judged.count(name) for name in VERDICTS}
    assert sum(scored.verdict_counts.values()) == len(frame) - scored.checked.invalid.sum()


def test_probability_is_that_of_the_model(model, frame):
    _, rows = score(model, frame)
    expected = model.decision.probability(frame)
    assert [row["probability"] for row in rows] == expected.tolist()


def test_imputed_measurements_are_listed_in_their_order(model, frame):
    changed = frame.fillna(1.0).head(4).copy()
    changed.loc[1, "Sulfate"] = NAN
    changed.loc[2, ["Turbidity", "ph", "Sulfate"]] = NAN
    _, rows = score(model, changed)
    imputed = [row["reason"].partition("; imputed: ")[2] for row in rows]
    assert imputed == ["", "Sulfate", "ph Sulfate Turbidity", ""]


def test_invalid_row_says_why_and_goes_to_the_laboratory(model, frame):
    changed = frame.fillna(1.0).head(4).copy()
    changed.loc[1, ["ph", "Turbidity"]] = (15.2, -1)
    changed.loc[2] = NAN
    scored, rows = score(model, changed)
    assert scored.checked.invalid.tolist() == [False, True, True, False]
    assert [row["status"] for row in rows] == ["scored", "invalid", "invalid", "scored"]
    assert rows[1]["reason"] == "ph: 15.2 is above 14; Turbidity: -1.0 is below 0"
    assert rows[2]["reason"] == "0 measurements; at least 1 needed"
    for row in rows[1:3]:
        assert (row["probability"], row["prediction"]) == (None, None)
        assert (row["verdict"], row["model_version"]) == ("send_to_lab", "waterflow/1")


def test_batch_of_invalid_rows_only_is_scored_to_nothing(model, frame):
    scored, rows = score(model, frame.assign(ph=-1.0))
    assert scored.checked.invalid.all()
    assert {(row["status"], row["probability"], row["prediction"]) for row in rows} == {
        ("invalid", None, None)
    }
    assert sum(scored.verdict_counts.values()) == 0


def test_neighbours_change_no_row(model, frame):
    """Whether a row is scored alone or among others, valid or not, its result is the same."""
    changed = frame.copy()
    changed.loc[::7, "ph"] = 99
    _, together = score(model, changed)
    for position in (0, 1, 7, 8, 399):
        _, alone = score(model, changed.iloc[[position]])
        assert alone == [together[position]]


@tried_on(10)
@given(st.randoms(use_true_random=False))
def test_order_of_the_rows_changes_no_row(model, frame, random):
    order = list(range(60))
    random.shuffle(order)
    part = frame.head(60)
    _, rows = score(model, part)
    _, shuffled = score(model, part.iloc[order])
    assert shuffled == [rows[position] for position in order]


def test_label_is_neither_needed_nor_read(model, frame):
    _, without = score(model, frame)
    _, wrong = score(model, frame.assign(Potability="who knows"))
    assert wrong == without


def test_judged_columns_are_the_measurements_and_the_label_as_written(model, workdir):
    header = "id,pH value,HARDNESS,TDS,Chloramines,SO4,EC,TOC,TTHM,turbidity,potable,note"
    (workdir / "in.csv").write_text(header + "\n" + ",".join("1" * 12) + "\n")
    with pass_over("in.csv", model.schema, pass_options(model)) as file:
        scorer = Scorer(model, file)
        assert scorer.judged_columns == set(header.split(",")) - {"id", "note"}
        assert file.reading.startswith("utf-8, separator ','; 'pH value' as ph, 'TDS' as Solids")


def test_renamed_column_is_read_as_what_it_stands_for(model, frame):
    _, expected = score(model, frame)
    renamed = frame.rename(columns={"ph": "acidity"})
    table = frame_table(renamed, model.schema.header.renamed({"acidity": "ph"}))
    scorer, (batch,) = Scorer.of_table(model, table), table.batches()
    assert pa.table(scorer.judge(scorer.file.check(batch)).results).to_pylist() == expected
    assert "acidity" in scorer.judged_columns


def by_importance(model):
    """Give the measurements, those first that the model learned least from."""
    decision = model.decision
    assert len(decision.importance) == len(decision.measurements)
    return sorted(decision.measurements, key=lambda name: decision.share_without([name]))


def test_lack_of_little_information_is_as_empty_columns_are(model, frame):
    lacking = by_importance(model)[:3]
    _, absent = score(model, frame.drop(columns=lacking))
    _, empty = score(model, frame.assign(**dict.fromkeys(lacking, NAN)))
    assert absent == empty
    assert {row["status"] for row in absent} == {"scored"}


def test_lack_of_most_information_is_refused_and_not_of_most_columns(model, frame):
    names, share = by_importance(model), model.decision.share_without
    few = next(n for n in range(1, 10) if share(names[-n:]) > 0.5)
    many = next(n for n in range(9, 0, -1) if share(names[:n]) <= 0.5)
    assert few < many
    score(model, frame.drop(columns=names[:many]))
    words = r"not made for frame: it lacks .*; at most 50% may lack"
    with pytest.raises(ModelError, match=words):
        score(model, frame.drop(columns=names[-few:]))
    with pytest.raises(ModelError, match="it lacks"):
        score(model, frame.drop(columns=names).assign(site="x"))


def test_without_known_importances_each_measurement_counts_alike(model):
    plain = replace(model.decision, importance=())
    assert plain.share_without(["ph", "Turbidity"]) == pytest.approx(2 / 9)
    worthless = replace(model.decision, importance=[-0.1] * 9)
    assert worthless.share_without(["ph"]) == pytest.approx(1 / 9)


def test_frame_gives_probability_prediction_and_verdict(model, frame):
    changed = frame.head(5).set_axis(list("vwxyz"))
    changed.loc["x", "ph"] = 15.0
    result = score_frame(model, changed)
    assert list(result.columns) == ["probability", "prediction", "verdict"]
    assert list(result.index) == list("vwxyz")
    assert [str(kind) for kind in result.dtypes] == ["Float64", "Int64", "object"]
    assert result.loc["x"].isna().tolist() == [True, True, False]
    assert result.loc["x", "verdict"] == "send_to_lab"
    _, rows = score(model, changed)
    assert result["verdict"].tolist() == [row["verdict"] for row in rows]
    assert result["probability"].drop("x").tolist() == [
        row["probability"] for row in rows if row["status"] == "scored"
    ]
    assert changed.equals(frame.head(5).set_axis(list("vwxyz")).assign(ph=changed["ph"]))


def test_frame_without_rows_gives_no_rows(model, frame):
    result = score_frame(model, frame.head(0))
    assert len(result) == 0
    assert list(result.columns) == ["probability", "prediction", "verdict"]


def test_frame_is_judged_as_pyfunc_judges_it(model, frame, store_uri):
    import mlflow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mlflow.set_tracking_uri(store_uri)
        loaded = mlflow.pyfunc.load_model("models:/waterflow@champion")
        predicted = loaded.predict(frame)
    pd.testing.assert_frame_equal(predicted, score_frame(model, frame))


OPTIONAL = """\
name: optional
metadata: {label: y, min_measurements: 1}
columns:
  a: {dtype: float64, nullable: true, required: false}
  b: {dtype: float64, nullable: true}
  c: {dtype: float64, nullable: true, required: false}
  y: {dtype: float64, required: false, isin: [0, 1]}
"""


@pytest.fixture(scope="module")
def model_of_optional_columns(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optional")
    (folder / "optional.yaml").write_text(OPTIONAL)
    random = np.random.default_rng(1)
    table = pd.DataFrame(random.normal(size=(200, 3)), columns=list("abc"))
    table.assign(y=(table["a"] + table["b"] > 0).astype(int)).to_csv(folder / "t.csv", index=False)
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    with pytest.raises(SystemExit, match="0"):
        main(
            [
                *("train", str(folder / "t.csv"), "--schema", str(folder / "optional.yaml")),
                *("--plugin", "logreg", "--balance", "none", "--test-size", "0.3"),
                *("--quiet", "--tracking-uri", uri),
            ]
        )
    return load_model("1", name="waterflow", tracking_uri=uri)


@pytest.mark.slow
def test_column_that_the_schema_does_not_require_is_imputed_throughout(model_of_optional_columns):
    model = model_of_optional_columns
    whole = pd.DataFrame({"a": [-5.0, 0.5], "b": [1.0, NAN], "c": [NAN, NAN]})
    _, expected = score(model, whole)
    _, rows = score(model, whole.drop(columns="c"))
    assert rows == expected
    assert rows[0]["reason"].endswith("; imputed: c")
    assert rows[1]["reason"].endswith("; imputed: b c")


@pytest.mark.slow
def test_absent_column_is_no_measurement(model_of_optional_columns):
    _, rows = score(model_of_optional_columns, pd.DataFrame({"a": [NAN, 1.0], "b": [NAN, NAN]}))
    assert [row["status"] for row in rows] == ["invalid", "scored"]
    assert rows[0]["reason"] == "0 measurements; at least 1 needed"


OWN = """
name: own
metadata: {label: safe, measurements: [Nitrate, Lead, E_coli, Turbidity], min_measurements: 1}
columns:
  Nitrate: {dtype: float64, nullable: true, required: false}
  Lead: {dtype: float64, nullable: true, required: false}
  E_coli: {dtype: float64, nullable: true, required: false}
  Turbidity: {dtype: float64, nullable: true, required: false}
  safe: {dtype: float64, nullable: true, required: false, isin: [0, 1]}
"""


def test_absent_and_empty_columns_are_judged_alike_and_told(cli, workdir):
    rng = np.random.default_rng(0)
    rows = [f"{n:.1f},{n / 9:.2f},0,0.5,{int(n < 30)}" for n in rng.uniform(1, 60, 80)]
    names = "Nitrate,Lead,E_coli,Turbidity"
    Path("own.yaml").write_text(OWN)
    Path("train.csv").write_text("\n".join([f"{names},safe", *rows, ""]))
    trained = cli("train", "train.csv", "--schema", "own.yaml", "--plugin", "logreg")
    assert trained.code == 0, trained.err
    Path("absent.csv").write_text("Nitrate\n21\n50\n")
    Path("empty.csv").write_text(f"{names}\n21,,,\n50,,,\n")
    Path("other.csv").write_text("Chlorine\n21\n50\n")
    scored = []
    for path in ("absent.csv", "empty.csv"):
        outcome = cli("score", path, "-o", "-")
        assert outcome.code == 0, outcome.err
        assert "No value in any row, so imputed in all: Lead, E_coli, Turbidity." in outcome.err
        assert "so not judged: arsenic, fluoride and whatever else" in outcome.err
        scored.append([line.partition("scored")[2] for line in outcome.out.splitlines()])
    assert scored[0] == scored[1]
    assert cli("score", "other.csv", "-o", "-").code == 4
