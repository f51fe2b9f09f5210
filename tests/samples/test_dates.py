"""Every command reads the same dates."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from waterflow_cli.exploration.samples import find_periods
from waterflow_cli.samples.dates import DateReader, parse_iso

ZONES = st.one_of(st.none(), st.integers(-12, 12).map(lambda h: timezone(timedelta(hours=h))))


def read_all(texts):
    reader = DateReader()
    reader.learn(texts)
    return [reader.read(text) for text in texts]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-05-31", (2024, 5, 31)),
        ("2024/5/1", (2024, 5, 1)),
        ("2024.05.31 10:30", (2024, 5, 31)),
        ("20240531T1030", (2024, 5, 31)),
        ("2024-05", (2024, 5, None)),
        ("202405", (2024, 5, None)),
        ("2024", (2024, None, None)),
        ("9999-12-31", (9999, 12, 31)),
        ("31.05.2024 9:30", (2024, 5, 31)),
        ("5/31/2024", (2024, 5, 31)),
        ("04/04/2024", (2024, 4, 4)),
    ],
)
def test_a_date_is_read(text, expected):
    (found,) = read_all([text])
    assert found[:3] == expected
    assert found.is_sure


@pytest.mark.parametrize(
    "text",
    [
        *("", "soon", "now", "45123", "451212", "20240", "2024-02-30", "2024-13-01", "30/02/2024"),
        *("2024-05/31", "1/2/24", "20240531103000", "-1", "2024-05-311"),
    ],
)
def test_what_is_no_date_is_none(text):
    assert read_all([text]) == [None]


def test_the_whole_column_tells_the_day_from_the_month():
    two_ways = "03/04/2024"
    assert [d[1:3] for d in read_all([two_ways, "21/04/2024"])] == [(4, 3), (4, 21)]
    assert [d[1:3] for d in read_all(["04/21/2024", two_ways])] == [(4, 21), (3, 4)]
    for unsure in ([two_ways], [two_ways, "21/04/2024", "04/21/2024"]):
        assert not any(each.is_sure for each in read_all(unsure))
    assert find_periods([two_ways, "21/04/2024", "soon"]) == ["2024-04", "2024-04", None]


def test_a_reader_is_settled_once_a_date_told_the_order():
    reader = DateReader()
    for text, is_settled in [
        ("2024-05-31", True),
        ("04/04/2024", True),
        ("03/04/2024", False),
        ("21/04/2024", True),
    ]:
        reader.learn([text])
        assert reader.is_settled == is_settled


@given(st.datetimes(datetime(1900, 1, 1), datetime(2199, 1, 1), timezones=ZONES))
def test_times_of_day_and_zones_are_those_of_iso(moment):
    reader = DateReader()
    text = moment.isoformat(" ")
    assert reader.write_iso(text) == text
    expected = pd.Timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    (found,) = parse_iso(pd.Series([text]))
    assert found == expected.tz_convert(None)


@given(st.lists(st.dates(date(1900, 1, 1), date(2199, 1, 1)), min_size=1))
def test_a_date_is_the_same_in_each_order(dates):
    texts = [f"{day:%d/%m/%Y}" for day in [*dates, date(2024, 5, 31)]]
    assert [each[:3] for each in read_all(texts)][:-1] == [
        (day.year, day.month, day.day) for day in dates
    ]
