"""Cells with more than a number: each means what its parts say, or is a finding."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.samples.cell_marks import CellMarks
from waterflow_cli.samples.cells import CellReader, make_readers
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.numbers import PLAIN_MARKS, NumberMarks
from waterflow_cli.tables.reading_options import ReadingOptions


def read(text: str, *, wanted="mg/L", marks=PLAIN_MARKS, nondetect="loq", **flags):
    """Give the value, whether it is below, above, missing or bad, and the rules it breaks."""
    beside = CellMarks(wanted=wanted, flags=flags)
    reader = CellReader(marks=marks, nondetect=nondetect, beside=beside)
    found = reader.read(pa.array([text]))
    kept = found.censored
    said = "below" if kept and kept.below[0] else "above" if kept and kept.above[0] else ""
    rules = [rule for rule, mask in found.unread.items() if mask[0]]
    said = "missing" if found.missing[0] else "bad" if found.bad[0] else said
    return (None if said in ("missing", "bad") else float(found.values[0])), said, rules


@pytest.mark.parametrize(
    ("text", "value", "said"),
    [
        ("245 mg/L", 245, ""),
        ("245mg/l", 245, ""),
        ("0.245 g/L", 245, ""),
        ("245 (µg/L)", 0.245, ""),
        ("2 450,5 µg/L".replace(",", "."), 2.4505, ""),
        ("< 0.5 µg/L", 0.0005, "below"),
        ("ND<0.5 mg/L", 0.5, "below"),
        (">5 g/L", 5000, "above"),
        ("0.5 U", 0.5, "below"),
        ("0.5U", 0.5, "below"),
        ("0.5 UJ", 0.5, "below"),
        ("0.5 mg/L U", 0.5, "below"),
        ("0.5 J", 0.5, ""),
        ("<0.5 J", 0.5, "below"),
        ("0.5 R", None, "missing"),
        ("<0.5 R", None, "missing"),
        ("ND(0.5)", 0.5, "below"),
        ("ND (0.5 mg/L)", 0.5, "bad"),
        ("n.d. (0.5)", 0.5, "below"),
        ("BDL 0.5", 0.5, "below"),
        ("0.5 (LQ)", 0.5, "below"),
        ("0.5 [LOD]", 0.5, "below"),
        ("<LQ (0.5)", 0.5, "below"),
        ("1e3 µg/L", 1, ""),
    ],
)
def test_units_and_known_marks_are_followed(text, value, said):
    assert read(text)[:2] == (None if said == "bad" else value, said)


@pytest.mark.parametrize(
    "text",
    [
        *("7.1*", "7.1 *", "7.1a", "7.1 (x)", "7.1 mg/L*", "7.1 u", "7.1 j", "7.1 ~", "~7.1"),
        *("5-7", "5 - 7", "5±1", "5 ± 1 mg/L", "7.1 / 7.2", "12:30", "2024-01-05", "12/05/2021"),
        *(
            "0.5 (LQ",
            "0.5 LQ)",
            "0.5 U >",
            ">0.5 U",
            "5 10 mg/L",
            "1 2 U",
            "−7.1",
            "７.1",
            "7.1 7.2",
        ),
        *("mg/L", "U", "(LQ)", "about 5", "5 times", "x" * 500, "5 " + "U " * 40, "5 mg", "5 %"),
        *(
            "1.234,5 mg/L",
            "7,1 mg/L",
            "5 mg/L mg/L",
            "5 U mg/L x",
            "NA 5",
            "- 5",
            "5 mg/L as CaCO3",
        ),
    ],
)
def test_all_else_stays_a_finding(text):
    value, said, rules = read(text)
    assert (value, said) == (None, "bad")
    assert not rules or rules == ["cell_unit"]


def test_a_unit_that_does_not_convert_is_a_finding_of_its_own():
    assert read("245 NTU")[2] == ["cell_unit"]
    assert read("5 mg/L", wanted="mg/L NO3")[2] == ["cell_unit"]
    assert read("7.1 pH", wanted="pH")[0] == 7.1
    assert read("7.1 U", wanted="pH")[1] == "bad"


def test_taught_marks_stand_beside_a_number_or_in_its_place():
    flags = {"*": "ignore", "E": "nondetect", "B": "reject", "TNTC": "above", "voir note": "ignore"}
    for text, value, said in (
        *(("7.1*", 7.1, ""), ("7.1 (*)", 7.1, ""), ("* 7.1", 7.1, ""), ("7.1 E", 7.1, "below")),
        *(("7.1 B", None, "missing"), ("B", None, "missing"), ("*", None, "missing")),
        *(("7.1 voir note", 7.1, ""), ("E", None, "bad"), ("TNTC", None, "bad")),
        *(("7.1 b", None, "bad"), ("300 TNTC", 300, "above"), ("<0.5 TNTC", None, "bad")),
    ):
        assert read(text, **flags)[:2] == (value, said), text
    assert read("U", U="ignore")[1] == "missing"


def test_a_word_above_the_range_is_no_number_and_may_count_as_missing():
    for flags in ({}, {"TNTC": "above"}):
        for way in ("half", "loq", "zero", "error"):
            assert read("TNTC", nondetect=way, **flags)[1:] == ("bad", ["no_bound"])
        assert read("tntc".upper(), nondetect="missing", **flags)[1] == "missing"


UNITS = {"": 1, "mg/L": 1, "g/L": 1000, "µg/L": Fraction(1, 1000), "ppb": Fraction(1, 1000)}
MARKS = {"": "", "U": "below", "J": "", "R": "missing", "*": "bad", "(LQ)": "below", "Q": "bad"}
SIGNS = {"": "", "<": "below", "ND ": "below", ">": "above"}


@tried_on(400)
@given(
    st.decimals(0, 9999, places=2).map(str),
    st.sampled_from(sorted(UNITS)),
    st.sampled_from(sorted(MARKS)),
    st.sampled_from(sorted(SIGNS)),
    st.sampled_from([("{n} {u} {m}"), "{n} {m} {u}", "{n}{u} {m}", " {n}  {u} {m} "]),
    st.sampled_from([".", ","]),
)
def test_a_cell_means_what_its_parts_say_or_is_a_finding(number, unit, mark, sign, form, decimal):
    text = sign + form.format(n=number.replace(".", decimal), u=unit, m=mark).strip()
    value, said, _ = read(text, marks=NumberMarks(decimal))
    meant = {MARKS[mark], SIGNS[sign]} - {""}
    if "bad" in meant or (meant >= {"below", "above"}):
        assert said == "bad"
    elif "missing" in meant:
        assert said == "missing"
    else:
        assert said == next(iter(meant), "")
        factor = Fraction(UNITS[unit])
        assert value == float(number) * float(factor.numerator) / float(factor.denominator)


def test_words_and_numbers_for_missing_are_those_of_the_user(tmp_path: Path):
    path = tmp_path / "in.csv"
    rows = ["7.1,-999", "7.2,-999.00", "ABSENT,250", "7.3, absent "]
    path.write_text("\n".join(["ph,Hardness", *rows, ""]), "utf-8")
    reading = ReadingOptions(na=("absent", "-999"))
    schema = load_schema()
    with open_samples(str(path), schema, reading) as table:
        (batch,) = table.batches()
        made = make_readers(schema, table, reading)
        ph, hardness = (made[name].read(batch.columns[name]) for name in ("ph", "Hardness"))
    assert ph.missing.tolist() == [False, False, True, False]
    assert hardness.missing.tolist() == [True, True, False, True]
    assert not ph.bad.any()
    assert not hardness.bad.any()
