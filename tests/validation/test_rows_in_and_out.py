"""The law of reading: each sample that a file holds is a row, a finding, or refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from laws import tried_on

from waterflow_cli.common.errors import InputError
from waterflow_cli.samples.schemas import parse_schema
from waterflow_cli.validation.pass_over import pass_over

NUMBERS = "{dtype: float64, nullable: true}"
SCHEMA = parse_schema(
    f"columns:\n  ph: {NUMBERS}\n  Sulfate: {NUMBERS}\n  Hardness: {NUMBERS}\n", "law.yaml"
)
HEAD = ["id", "ph", "Sulfate", "Hardness", "remark"]
TITLES = ["", "", "Report of May\n", "# by hand\n\n"]
NOTES = ["", "", "\nSource : here\n", "# end\n", "Source : here\n", "\nby hand\n"]
REMARKS = ["", "ok", '"ok', 'ok"', '"ok"', '"ok"ay', '"two\nlines"', '5"', "a b", '"', '""']
ODD_ROWS = [",,mg/L,,", ",,µg/L,mg/L,", "Unit,,mg/L", ",,,,", "id,ph,Sulfate,Hardness,remark"]


@st.composite
def files(draw: st.DrawFn) -> tuple[str, dict[str, tuple[float, float, float]]]:
    """Draw a file, and the numbers of its samples by their names."""
    sep, mark = draw(st.sampled_from([(",", "."), (";", "."), (";", ","), ("\t", ",")]))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    tail = draw(st.sampled_from(["", "", "", sep, sep * 2]))
    lines, samples = [], {}
    for number in range(draw(st.integers(1, 7))):
        name = f"{draw(st.sampled_from(['#', 'W-']))}{number}"
        values = tuple(draw(st.integers(11, 139)) / 10 for _ in range(3))
        samples[name] = values
        cells = [name, *(f"{value:.1f}".replace(".", mark) for value in values)]
        if not draw(st.integers(0, 4)):  # its last empty cell left out
            lines.append(sep.join(cells))
        else:
            lines.append(sep.join([*cells, draw(st.sampled_from(REMARKS))]) + tail)
        if not draw(st.integers(0, 9)):
            lines.append(draw(st.sampled_from(ODD_ROWS)).replace(",", sep))
    text = draw(st.sampled_from(TITLES)) + "\n".join([sep.join(HEAD), *lines, ""])
    return (text + draw(st.sampled_from(NOTES))).replace("\n", end), samples


@tried_on(2000)
@given(drawn=files())
def test_each_sample_is_a_row_a_finding_or_refused(
    drawn: tuple[str, dict[str, tuple[float, float, float]]],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    text, samples = drawn
    path = tmp_path_factory.getbasetemp() / "law.csv"
    path.write_bytes(text.encode())
    rows: dict[str, tuple[float, ...]] = {}
    named = set()
    try:
        with pass_over(str(path), SCHEMA) as file:
            for checked in file.batches():
                names = checked.batch.columns["id"].to_pylist()
                for row, name in enumerate(names):
                    if checked.invalid[row]:
                        named.add(name)
                    else:
                        rows[name] = tuple(checked.numbers[each][row] for each in HEAD[1:4])
    except InputError as exc:
        refused_in = exc.line
    else:
        refused_in = 0
    if refused_in != 0:
        assert refused_in is not None
        return
    assert set(samples) <= set(rows) | named
    for name, values in rows.items():
        if name in samples:
            assert values == samples[name]
    # Below a row of units no number is what it was.
    assert "mg/L" not in text
