"""What an exploration counts: values, gaps, repeats, outliers, odd pairs, limits, differences."""

from __future__ import annotations

import datetime as dt
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError, UsageError
from waterflow_cli.common.json import json_text
from waterflow_cli.exploration.headlines import find_headlines
from waterflow_cli.exploration.missing import describe_missing
from waterflow_cli.exploration.report import (
    compare_files,
    explore,
    find_contradictions,
    summarise_files,
)
from waterflow_cli.exploration.samples import find_periods, read_samples
from waterflow_cli.exploration.sections import (
    Absent,
    describe_values,
    find_duplicates,
    find_implausible_pairs,
    find_outliers,
    shown_ranges,
)
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.validation.limits import load_limits
from waterflow_cli.validation.pass_over import PassOptions

NAMES = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity"
)
PLAIN = "7,200,300,1,100,450,2,50,1"


@pytest.fixture
def write(tmp_path):
    def write(*rows, header=NAMES, name="in.csv"):
        path = tmp_path / name
        path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        return str(path)

    return write


def read(path, **options):
    asked = PassOptions(limits=load_limits(["epa", "who"]))
    return read_samples(path, load_schema(), asked, **options)


def look(*paths, profiles=("epa",)):
    return explore([read(path) for path in paths], profiles=profiles, seed=0)


def rows_with(name, values):
    """Write plain rows with one column replaced."""
    place = NAMES.split(",").index(name)
    for value in values:
        cells = PLAIN.split(",")
        cells[place] = str(value)
        yield ",".join(cells)


def plain_numbers(n_rows):
    """Give the plain row as columns of numbers."""
    cells = zip(NAMES.split(","), PLAIN.split(","), strict=True)
    return {name: [float(cell)] * n_rows for name, cell in cells}


def test_cells_that_break_the_schema_are_counted_and_left_out(write):
    samples = read(write(*rows_with("ph", ["7", "abc", "15", ""])))
    ph = next(describe_values(samples, shown_ranges([samples])))
    assert (ph.n_known, ph.n_missing, ph.n_left_out) == (1, 1, 2)
    assert ph.mean == 7
    assert samples.findings.n_invalid == 2
    assert samples.findings.n_left_out == 0
    assert [finding.line for finding in samples.findings.findings] == [3, 4]


def test_rows_that_break_a_rule_about_rows_are_left_out_whole(write):
    samples = read(write(PLAIN, "7,200", ",,,,,,,,"))
    assert samples.findings.n_rows == 3
    assert len(samples) == 1
    assert samples.findings.n_left_out == 2


def test_rows_that_are_left_out_leave_each_site_with_its_own_gaps(write):
    rows = ("7,200,300,1,100,450,2,50,1,A", "broken", ",200,300,1,100,450,2,50,1,B")
    missing = describe_missing(read(write(*rows, header=NAMES + ",Station")))
    assert missing.by_site.column == "Station"
    assert [(name, shares[0]) for name, _, shares in missing.by_site.groups] == [("A", 0), ("B", 1)]


def test_non_detects_are_counted_apart_from_missing_cells(write):
    samples = read(write(*rows_with("Sulfate", ["<5", "100", ""])))
    sulfate = list(describe_values(samples, shown_ranges([samples])))[4]
    assert (sulfate.n_below, sulfate.n_above, sulfate.n_missing) == (1, 0, 1)


def test_bars_hold_every_value(write):
    samples = read(write(*rows_with("ph", [1, 2, 3, 4, 5, 6, 7, 13.9])))
    histogram = next(describe_values(samples, shown_ranges([samples]))).histogram
    assert sum(histogram.counts) == 8


def test_patterns_tell_what_is_missing_together(write):
    both = ",200,300,1,,450,2,50,1"
    missing = describe_missing(read(write(PLAIN, PLAIN, both, both)))
    assert missing.n_complete == 2
    absent = next(pattern for pattern in missing.patterns if pattern.names)
    assert absent.names == ("ph", "Sulfate")
    assert absent.n_rows == 2
    assert absent.expected == pytest.approx(1)  # half of the rows lack each


@tried_on(25)
@given(
    st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=30),
    st.integers(min_value=1, max_value=5),
)
def test_patterns_are_the_same_whatever_the_order_of_the_rows(tmp_path_factory, gaps, step):
    def patterns(order):
        rows = [",".join(["" if gone else "5" for gone in gap] + ["1"] * 6) for gap in order]
        path = tmp_path_factory.mktemp("gaps") / "in.csv"
        path.write_text("\n".join((NAMES, *rows)) + "\n")
        found = describe_missing(read(str(path)))
        assert sum(pattern.n_rows for pattern in found.patterns) == len(gaps)
        return {pattern.names: pattern.n_rows for pattern in found.patterns}

    assert patterns(gaps) == patterns(gaps[step:] + gaps[:step])


def test_equal_rows_with_both_labels_contradict_each_other(write):
    path = write(f"{PLAIN},1", f"{PLAIN},0", "8" + PLAIN[1:] + ",1", header=NAMES + ",Potability")
    found = find_duplicates(read(path))
    assert (found.n_repeats, found.n_groups, found.n_contradictory) == (1, 1, 1)
    assert found.first_lines == ((2, 3),)


def test_a_row_with_a_gap_repeats_another_with_the_same_gap(write):
    gap = ",200,300,1,100,450,2,50,1"
    assert find_duplicates(read(write(gap, gap, PLAIN))).n_repeats == 1


def test_outliers_are_those_beyond_three_and_a_half_modified_deviations(write):
    # median 7, MAD 1: the bounds are 7 +- 3.5 / 0.6745
    found = find_outliers(read(write(*rows_with("ph", [6, 6, 7, 7, 8, 8, 13]))))[0]
    assert (found.low, found.high) == pytest.approx((7 - 5.18903, 7 + 5.18903), abs=1e-4)
    assert found.n_outliers == 1
    assert found.extremes[0][:2] == (8, 13.0)


def test_there_is_no_outlier_score_where_half_of_the_values_are_equal(write):
    found = find_outliers(read(write(*rows_with("ph", [7, 7, 7, 14]))))[0]
    assert np.isnan(found.low)
    assert found.n_outliers == 0


def test_solids_are_held_against_conductivity(write):
    solids, sulfate = find_implausible_pairs(read(write(*rows_with("Solids", [300, 30000, 90]))))
    assert (solids.n_outside, solids.n_rows) == (2, 3)  # 300 / 450 is 0.67
    assert (sulfate.n_outside, sulfate.n_rows) == (1, 3)  # 100 mg/L of sulfate in 90 mg/L


def test_potable_rows_above_a_health_value_are_counted_by_the_limits_chosen(write):
    rows = [f"{row},{label}" for row in rows_with("Chloramines", [3.5, 5]) for label in (1, 0)]
    samples = read(write(*rows, header=NAMES + ",Potability"))
    epa, who = (find_contradictions(samples, [name]) for name in ("epa", "who"))
    assert (epa.n_potable, epa.n_potable_outside, epa.share_potable) == (2, 1, 0.5)
    assert who.n_potable_outside == 2  # 3 mg/L there


def test_a_bound_above_the_health_value_is_no_contradiction(write):
    rows = (f"{row},1" for row in rows_with("Chloramines", ["<9"]))
    samples = read(write(*rows, header=NAMES + ",Potability"))
    assert find_contradictions(samples, ["epa"]).n_potable_outside == 0


def test_dates_that_can_be_read_both_ways_give_years_alone():
    assert find_periods(["03/04/2024", "05/06/2024"]) == ["2024", "2024"]
    assert find_periods(["03/04/2024", "25/06/2024"]) == ["2024-04", "2024-06"]
    assert find_periods(["03/04/2024", "06/25/2024"]) == ["2024-03", "2024-06"]
    assert find_periods(["20240305", "2024-03", "soon"]) == ["2024-03", "2024-03", None]


def test_many_months_become_years():
    texts = [f"{year}-{month:02d}-01" for year in (2020, 2021, 2022) for month in range(1, 13)]
    assert set(find_periods(texts)) == {"2020", "2021", "2022"}


def test_sites_and_dates_can_be_named(write):
    path = write(f"{PLAIN},X,2024-01-02", header=NAMES + ",Where,When")
    assert read(path).site is None
    named = read(path, site="where", date="When")
    assert named.site.values == ["X"]
    assert named.date.values == ["2024-01-02"]


def test_a_column_that_is_not_there_is_refused(write):
    with pytest.raises(UsageError, match=r"no such column\. Did you mean 'Hardness'"):
        read(write(PLAIN), site="Hardnes")


def test_a_file_without_a_measurement_is_refused_as_everywhere(write):
    with pytest.raises(InputError, match="not found in the header"):
        read(write("1,2", header="a,b"))


@pytest.mark.parametrize(
    "rows",
    [
        (PLAIN,),
        tuple(rows_with("Sulfate", ["", ""])),
        (PLAIN, PLAIN, PLAIN),
        ("x,y,z,x,y,z,x,y,z",),
        (",,,,,,,,",),
    ],
    ids=["one row", "an empty column", "all rows equal", "no number at all", "no row left"],
)
def test_poor_files_are_explored_and_absent_sections_say_why(write, rows):
    found = look(write(*rows))
    summary = json.loads(json_text(summarise_files(found, [])))
    assert summary["version"] == 1
    assert summary["files"][0]["signal"]["absent"] == "the file has no label column."
    assert find_headlines(found[0])


def test_a_file_whose_labels_are_all_alike_has_no_signal_section(write):
    path = write(
        *(f"{row},1" for row in rows_with("ph", range(5, 9))), header=NAMES + ",Potability"
    )
    assert look(path)[0].signal == Absent("the labels hold fewer than two classes.")


def test_a_file_with_few_labels_says_how_few(write):
    rows = (f"{row},{n % 2}" for n, row in enumerate(rows_with("ph", range(5, 9))))
    signal = look(write(*rows, header=NAMES + ",Potability"))[0].signal
    assert "rows of one class" in signal.reason


def test_two_files_differ_by_their_distributions_and_gaps(write):
    first = write(*rows_with("ph", [6, 7, 8, 9]))
    second = write(*rows_with("ph", [10, 11, 12, ""]), name="other.csv")
    ph, hardness, *_ = compare_files(read(first), read(second))
    assert (ph.statistic, ph.missing_change) == (1.0, 0.25)
    assert hardness.statistic == 0


def test_bars_of_two_files_cover_the_same_range(write):
    found = look(write(*rows_with("ph", [6, 7])), write(*rows_with("ph", [1, 2]), name="b.csv"))
    first, second = (each.distributions[0].histogram.edges for each in found)
    assert first == second


def test_sites_and_dates_of_a_parquet_file_are_found_whatever_their_type(tmp_path):
    table = pa.table(
        {
            **plain_numbers(3),
            "site": pa.array(["A", None, "A"]).dictionary_encode(),
            "date": pa.array([dt.date(2024, 1, 5), None, dt.date(2024, 2, 5)]),
        }
    )
    pq.write_table(table, tmp_path / "in.parquet")
    missing = describe_missing(read(str(tmp_path / "in.parquet")))
    assert [group[:2] for group in missing.by_site.groups] == [("A", 2)]
    assert [group[0] for group in missing.by_date.groups] == ["2024-01", "2024-02"]
    assert missing.by_date.n_unplaced == 1


def test_lists_in_a_parquet_column_name_no_site(tmp_path):
    pq.write_table(pa.table({**plain_numbers(1), "site": [["A"]]}), tmp_path / "in.parquet")
    missing = describe_missing(read(str(tmp_path / "in.parquet")))
    assert missing.by_site == Absent("the column site is empty.")
