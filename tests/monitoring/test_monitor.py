"""A file held against a model's training rows: what alarms, and what does not."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from learnable import write_learnable

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.json import json_text
from waterflow_cli.models.reference import hash_rows, load_reference
from waterflow_cli.monitoring.drift import compare_repeats
from waterflow_cli.monitoring.groups import Grouping, parse_window
from waterflow_cli.monitoring.monitor import monitor_file
from waterflow_cli.monitoring.page import render_monitoring
from waterflow_cli.monitoring.report import group_rows, headline, notes, sentences, summarise
from waterflow_cli.monitoring.samples import (
    GROUP_ROWS,
    SAMPLE_ROWS,
    MonitoringOptions,
    sample_file,
)
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions

AS_ASKED = MonitoringOptions()


@pytest.fixture(scope="module")
def trained(store_uri):
    fetched = fetch_model("@champion", name="waterflow", tracking_uri=store_uri)
    reference = load_reference(fetched.files.payload, label=fetched.label)
    return fetched.load(), reference


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """500 samples as those that the model was trained on, and none of them."""
    path = tmp_path_factory.mktemp("fresh") / "fresh.csv"
    write_learnable(path, 500, seed=77)
    return pd.read_csv(path)


@pytest.fixture
def monitor(trained, tmp_path):
    def run(frame, **options):
        path = tmp_path / "new.csv"
        frame.to_csv(path, index=False)
        return monitor_file(*trained, str(path), replace(AS_ASKED, **options))

    return run


def write_table(path, n_rows, **columns):
    """Write a table with all measurements, ones where nothing else is said."""
    names = load_schema().measurements
    frame = pd.DataFrame({**dict.fromkeys(names, [1] * n_rows), **columns})
    frame.to_csv(path, index=False)
    return str(path)


def take_sample(path, **options):
    return sample_file(path, load_schema(), ["ph"], MonitoringOptions(**options))


def keys(found, group=""):
    return {check.key for check in found.alarms if check.group == group}


def test_samples_from_the_same_source_are_quiet(monitor, fresh):
    found = monitor(fresh)
    assert found.alarms == []
    kinds = {check.kind for check in found.checks}
    of_values = {"level", "spread", "shape", "unit", "joint", "correlation"}
    assert {"missing", "score", "verdicts"} | of_values <= kinds
    repeated = next(check for check in found.checks if check.kind == "repeated")
    assert (repeated.old, repeated.new) == (0, 0)


def test_the_training_rows_themselves_are_quiet_and_their_scores_are_no_evidence(monitor, samples):
    table = pd.read_csv(samples)
    found = monitor(table.sample(300, replace=True, random_state=1), with_labels=True)
    assert found.alarms == []
    assert found.whole.rows.n_copies > 50
    assert found.whole.n_known == len(found.whole.rows)
    assert {each.kind for each in found.unchecked} == {"score", "precision"}


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (lambda t: t.assign(ph=t.ph + 1.0), "ph.level"),
        (lambda t: t.assign(ph=7 + 3 * (t.ph - 7)), "ph.shape"),
        (lambda t: t.assign(Hardness=200 + 1.5 * (t.Hardness - 200)), "Hardness.spread"),
        (lambda t: t.assign(Turbidity=t.Turbidity + 0.4 * (t.Chloramines - 7)), "correlation"),
        (lambda t: t.assign(Trihalomethanes=t.Trihalomethanes / 1000), "Trihalomethanes.unit"),
        (lambda t: t.assign(Sulfate=t.Sulfate.where(t.index % 3 > 0)), "Sulfate.missing"),
        (lambda t: t.assign(Turbidity="<5"), "Turbidity.censored"),
        (lambda t: t.assign(ph=t.ph * 10), "invalid"),
    ],
)
def test_each_change_alarms_by_its_name(monitor, fresh, change, key):
    assert key in keys(monitor(change(fresh.copy())))


def test_what_changed_is_said_in_words(monitor, fresh):
    table = fresh.assign(Hardness=200 + 2 * (fresh.Hardness - 200))
    ranks = table.Chloramines.rank(method="first").astype(int) - 1
    table["Turbidity"] = np.sort(table.Turbidity)[ranks]
    said = "\n".join(sentences(monitor(table)))
    assert "Hardness varies more than in training: half of the values lie within " in said
    assert "Chloramines and Turbidity go together otherwise than in training" in said
    assert "is distributed otherwise" not in said
    copied = sentences(monitor(fresh.iloc[np.arange(500) % 100]))
    assert copied[0].startswith("80.0% of the rows repeat the measurements of another; in training")


def test_labels_show_a_model_that_fails(monitor, fresh):
    good = monitor(fresh, with_labels=True)
    assert not {"auc", "precision", "brier"} & keys(good)
    wrong = monitor(fresh.assign(Potability=1 - fresh.Potability), with_labels=True)
    assert {"auc", "brier"} <= keys(wrong)
    record = wrong.whole.record
    assert record.n_rows == len(fresh)
    assert record.estimate("auc").high < 0.5
    assert sum(each.n_rows for each in record.bins) == len(fresh)


def test_without_labels_the_labels_are_not_looked_at(monitor, fresh):
    found = monitor(fresh.assign(Potability="soon"))
    assert found.file.counts.n_invalid == 0
    assert found.whole.record is None


def test_groups_are_checked_one_by_one(monitor, fresh):
    table = fresh.assign(site=np.where(fresh.index < 250, "well", "spring"))
    table.loc[table.site == "spring", "ph"] += 2
    found = monitor(table, grouping=Grouping(by="Site"))
    assert [part.name for part in found.parts] == ["", "well", "spring"]
    assert "ph.level" in keys(found, "spring")
    assert not keys(found, "well")


def test_windows_of_two_files_meet(monitor, fresh):
    table = fresh.assign(date=pd.date_range("2024-01-01", periods=500, freq="3h").astype(str))
    found = monitor(table.drop(columns=["site"], errors="ignore"), grouping=Grouping(None, 30))
    assert [part.name for part in found.parts[1:]] == [
        "2023-12-19 to 2024-01-17",
        "2024-01-18 to 2024-02-16",
        "2024-02-17 to 2024-03-17",
    ]
    assert sum(part.rows.n_in_all for part in found.parts[1:]) == 500


def put_into_half(table, value):
    changed = table.astype(object)
    changed[::2] = value
    return changed


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda t: put_into_half(t, None), {"ph.missing", "Solids.missing", "stuck"}),
        (lambda t: put_into_half(t, "ERR"), {"invalid", "stuck"}),
        (lambda t: t.iloc[np.where(t.index % 5, 0, t.index)], {"stuck", "repeated"}),
        (lambda t: t.iloc[np.arange(500) % 100], {"repeated"}),
        (lambda t: t.iloc[[0] * 500], {"stuck", "repeated"}),
    ],
)
def test_sensors_that_are_dead_or_stuck_alarm(monitor, fresh, change, expected):
    assert expected <= keys(monitor(change(fresh)))


def test_resamples_of_the_training_rows_have_no_copies_too_many(trained, samples):
    _, reference = trained
    table = pd.read_csv(samples)[list(reference.X)]
    random = np.random.default_rng(3)
    for n_rows in (25, 200, len(table)):
        for _ in range(20):
            drawn = hash_rows(table.iloc[random.integers(len(table), size=n_rows)])
            counts = np.unique(drawn, return_counts=True)[1]
            found = compare_repeats(counts, reference.usual_repeats(n_rows))
            assert all(each.effect < 0.1 or each.p_value > 0.001 for each in found)


def test_fewer_bad_rows_than_in_training_are_no_news(trained, monitor, fresh):
    model, reference = trained
    worse = replace(reference, n_invalid=reference.n_read // 3)
    path = monitor(fresh).file.path
    assert monitor_file(model, worse, path, AS_ASKED).alarms == []


def test_beyond_the_remembered_rows_one_note_says_how_many_could_be_scored(trained, monitor, fresh):
    model, reference = trained
    path = monitor(fresh).file.path
    cut = int(reference.hashes[len(reference.hashes) // 2])
    part = replace(reference, hashes=reference.hashes[reference.hashes < cut], hash_cut=cut)
    found = monitor_file(model, part, path, AS_ASKED)
    said = [text for text in notes(found) if "scored" in text or "trained on" in text]
    assert len(said) == 1
    assert said[0].startswith(f"{len(found.whole.probability)} of the 500 rows compared could be")
    none = monitor_file(model, replace(part, hashes=part.hashes[:1], hash_cut=1), path, AS_ASKED)
    assert "Not checked: probability; fewer than 20 rows could be scored." in notes(none)


def test_few_rows_say_nothing(monitor, fresh):
    found = monitor(fresh.assign(ph=13.0)[:10])
    assert (found.checks, found.alarms) == ([], [])
    assert headline(found).startswith("Not checked: ")
    assert "different rows" in found.unchecked[0].reason


def test_the_same_seed_gives_the_same_report_whatever_the_jobs(monitor, fresh):
    once, again = monitor(fresh, jobs=1), monitor(fresh, jobs=2)
    assert once.checks == again.checks


# --- the one pass --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def long_file(tmp_path_factory):
    n = 60_000
    site = np.where(np.arange(n) < 500, "a", "b")
    path = tmp_path_factory.mktemp("long") / "long.csv"
    return write_table(path, n, ph=np.arange(n) / n * 14, site=site)


def test_the_sample_is_bounded_and_uniform(long_file):
    file = take_sample(long_file, grouping=Grouping(by="site"), jobs=2)
    assert (file.counts.n_rows, len(file.rows)) == (60_000, SAMPLE_ROWS)
    ph = file.rows.X["ph"]
    assert np.histogram(ph, 10, (0, 14))[0] == pytest.approx(SAMPLE_ROWS / 10, rel=0.1)
    assert ph.is_monotonic_increasing
    assert {name: len(rows) for name, rows in file.groups.items()} == {"a": 500, "b": GROUP_ROWS}
    assert file.groups["b"].n_in_all == 59_500


def test_nondetects_are_marked_and_counted(tmp_path):
    columns = {"ph": [7, 7, "x"], "Sulfate": ["<5", "", 3], "Turbidity": [1, ">9", 1]}
    path = write_table(tmp_path / "a.csv", 3, **columns)
    file = sample_file(path, load_schema(), [*columns, "no such"], AS_ASKED)
    assert file.rows.cell_codes.tolist() == [[0, 2, 0, 1], [0, 1, 3, 1], [0, 0, 0, 1]]
    assert file.rows.invalid.tolist() == [False, False, True]
    assert file.counts.cells.nondetects["Sulfate"] == 1


def grouped(tmp_path, dates, **options):
    path = write_table(tmp_path / "dated.csv", len(dates), **{"Date sampled": dates})
    return take_sample(path, grouping=Grouping(window_days=1, **options))


@pytest.mark.parametrize(
    ("dates", "names"),
    [
        (["2024-05-03", "2024-05-04 10:00", ""], ["2024-05-03", "2024-05-04"]),
        (["20240503", "2024/05/04"], ["2024-05-03", "2024-05-04"]),
        (["03/05/2024", "21/05/2024"], ["2024-05-03", "2024-05-21"]),
        (["05/03/2024", "05/21/2024"], ["2024-05-03", "2024-05-21"]),
        (["05/05/2024"], ["2024-05-05"]),
    ],
)
def test_dates_are_found_and_read(tmp_path, dates, names):
    file = grouped(tmp_path, dates)
    assert list(file.groups) == names
    assert file.n_without_group == dates.count("")


@pytest.mark.parametrize(
    ("dates", "line"),
    [
        (["03/05/2024"], 2),
        (["2024-05-03", "soon"], 3),
        (["2024-02-30"], 2),
        (["21/05/2024", "05/21/2024", "03/05/2024"], 2),
    ],
)
def test_a_date_in_doubt_is_refused_with_its_line(tmp_path, dates, line):
    with pytest.raises(InputError, match=f"line {line}: column Date sampled: .* is no date"):
        grouped(tmp_path, dates)


def test_a_date_far_down_tells_which_number_is_the_day(tmp_path, monkeypatch):
    dates = [*["03/05/2024"] * 60_000, "", "21/05/2024"]
    file = grouped(tmp_path, dates)
    assert {name: rows.n_in_all for name, rows in file.groups.items()} == {
        "2024-05-03": 60_000,
        "2024-05-21": 1,
    }
    monkeypatch.setattr("waterflow_cli.monitoring.groups._MOST_WAITING", 10)
    with pytest.raises(InputError, match=r"line 2: column Date sampled: .* is no date"):
        grouped(tmp_path, dates)


@pytest.mark.parametrize("sites", [[""] * 3, ["", "", "a"]])
def test_rows_may_be_in_no_group(tmp_path, sites):
    path = write_table(tmp_path / "a.csv", 3, site=sites, **{"Date sampled": ""})
    file = take_sample(path, grouping=Grouping(by="site"))
    assert list(file.groups) == [site for site in sites if site]
    assert file.n_without_group == sites.count("")
    dated = take_sample(path, grouping=Grouping(window_days=7))
    assert (dated.groups, dated.n_without_group) == ({}, 3)


def test_too_many_groups_are_refused(tmp_path):
    path = write_table(tmp_path / "many.csv", 401, site=range(401))
    with pytest.raises(UsageError, match="more than 400 groups"):
        take_sample(path, grouping=Grouping(by="site"))


def test_windows_need_a_column_of_dates(tmp_path):
    path = write_table(tmp_path / "a.csv", 1)
    with pytest.raises(UsageError, match="no column of dates"):
        take_sample(path, grouping=Grouping(window_days=7))
    with pytest.raises(UsageError, match=r"--by river: .* has no such column"):
        take_sample(path, grouping=Grouping(by="river"))


@pytest.mark.parametrize("text", ["30", "d", "0d", "1m", "-3d"])
def test_a_window_is_a_number_of_days_or_weeks(text):
    with pytest.raises(UsageError, match="a number of days or weeks"):
        parse_window(text)


def test_what_rests_on_less_is_noted(monitor, fresh, samples):
    known = pd.read_csv(samples)[:100]
    table = pd.concat([fresh, fresh[:30], known], ignore_index=True).assign(site="a")
    table["Turbidity"] = ["<1", *table.Turbidity[1:]]
    table.loc[:4, "site"] = ""
    table.loc[5:9, "site"] = "b"
    reading = ReadingOptions(nondetect="loq")
    found = monitor(table, reading=reading, grouping=Grouping(by="site"), with_labels=True)
    text = "\n".join(notes(found))
    assert "29 rows repeat another one's measurements" in text
    assert "trained on 100 of the rows compared" in text
    assert "5 rows are in no group" in text
    assert "trained with --nondetect half; this file was read with loq" in text
    assert ("b", "5", "too few rows") in group_rows(found)[1]
    assert ("a", "620", "none") in group_rows(found)[1]


def test_a_large_file_is_sampled_and_does_not_alarm_over_little(monitor, tmp_path):
    path = tmp_path / "large.csv"
    write_learnable(path, 25_000, seed=78)
    large = pd.read_csv(path)
    found = monitor(large.assign(ph=large.ph + 0.05))
    check = next(check for check in found.checks if check.key == "ph.level")
    assert not check.alarm
    assert check.n_new > 5_000
    assert found.alarms == []
    assert "10,000 of 25,000 rows, drawn at random (seed 0), were compared." in notes(found)


def test_a_measurement_without_values_is_not_compared_and_not_drawn(monitor, fresh):
    found = monitor(fresh.assign(Sulfate=np.nan, Turbidity=1.0))
    assert keys(found) >= {"Sulfate.missing", "Turbidity.level"}
    assert "Not checked: Sulfate level; fewer than 20 values." in notes(found)
    assert "no values to compare." in render_monitoring(found)
    assert "Sulfate is missing in 100.0% of the rows; in training it was" in sentences(found)[0]


def test_rows_that_all_break_the_schema_alarm_and_have_no_score(monitor, fresh):
    found = monitor(fresh.assign(Solids=-1.0), with_labels=True)
    assert {"invalid", "Solids.level"} <= keys(found)
    assert ("score", "fewer than 20 valid rows.") in {(e.kind, e.reason) for e in found.unchecked}
    assert json.loads(json_text({"version": 1, **summarise(found)}))["groups"][0]["labels"]


def test_labels_must_be_there_where_they_are_asked_for(monitor, fresh):
    with pytest.raises(InputError, match=r"line 1: column Potability .*not found"):
        monitor(fresh.drop(columns="Potability"), with_labels=True)
