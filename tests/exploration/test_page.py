"""The page of an exploration: self-contained, escaped, complete, and small."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from waterflow_cli.common.charts import Histogram, ReferenceLine, draw_histogram
from waterflow_cli.exploration.page import render_exploration
from waterflow_cli.exploration.report import compare_files, explore
from waterflow_cli.exploration.samples import read_samples
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.validation.limits import PROFILES, load_limits
from waterflow_cli.validation.pass_over import PassOptions

NAMES = (
    "ph,Hardness,Solids,Chloramines,Sulfate,Conductivity,Organic_carbon,Trihalomethanes,Turbidity"
)
PLAIN = "7,200,300,1,100,450,2,50,1"
SECTIONS = {
    *("read", "values", "limits", "labels", "signal", "missing"),
    *("correlations", "pairs", "duplicates", "outliers"),
}
VOID = {"meta", "br", "line", "rect", "circle", "path"}


class Page(HTMLParser):
    """What tests look at in a page; it refuses tags that are not closed in order."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.names, self.text, self._open = set(), set(), [], []
        self.links = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.names.add(tag)
        values = dict(attrs)
        self.ids.add(values.get("id"))
        self.links += [values[name] for name in ("href", "src") if name in values]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def found(samples):
    return explore([look(samples)], profiles=["epa"], seed=0)


def look(path, **options):
    asked = PassOptions(limits=load_limits(PROFILES))
    return read_samples(str(path), load_schema(), asked, **options)


def test_the_page_holds_every_section_and_loads_nothing(found):
    text = render_exploration(found)
    page = Page(text)
    assert page.ids >= SECTIONS
    assert "script" not in page.names
    assert all(link.startswith("#") for link in page.links)
    assert not re.search(r"url\(|@import|https?:", text)
    assert len(text.encode()) < 1_000_000


def test_every_limit_bears_its_source_and_basis(found):
    text = " ".join(Page(render_exploration(found)).text)
    for count in found[0].limits:
        assert count.limit.basis in text
        assert count.limit.source in text
    assert "above the value (single sample)" in text
    assert "compliant" not in text


def test_rules_bear_their_sources(found):
    text = " ".join(Page(render_exploration(found)).text)
    for source in ("Iglewicz and Hoaglin 1993", "Hem 1985", "Nadeau and Bengio 2003", "Ojala"):
        assert source in text


def test_what_comes_from_the_data_is_escaped(tmp_path):
    evil = "<script>alert(1)</script>"
    path = tmp_path / "<b>in.csv"
    path.write_text(f'{NAMES},"<i>x",Station,{evil}\n{PLAIN},a,{evil},b\nz{PLAIN},a,"{evil}",b\n')
    page = Page(render_exploration(explore([look(path)], profiles=["epa"], seed=0)))
    assert not {"script", "i", "b"} & page.names - {"b"}
    assert evil in "".join(page.text)


def test_the_page_counts_the_rows_that_break_a_rule_and_those_left_out(tmp_path):
    path = tmp_path / "in.csv"
    rows = [PLAIN, PLAIN.replace("7,", "15,", 1), "7,200", *[PLAIN] * 5]
    path.write_text("\n".join([NAMES, *rows, ""]))
    text = "".join(Page(render_exploration(explore([look(path)], profiles=[], seed=0))).text)
    assert "2 rows. Cells that break a rule are left out of all statistics" in text
    assert "the row is (1)" in text


def test_the_page_lists_the_first_findings(tmp_path):
    path = tmp_path / "in.csv"
    path.write_text("\n".join([NAMES, PLAIN, PLAIN.replace("7,", "15,", 1), *[PLAIN] * 5, ""]))
    found = explore([look(path)], profiles=[], seed=0)
    (finding,) = found[0].samples.findings.findings
    cells = (finding.line, finding.column, finding.value, finding.message)
    assert "".join(map(str, cells)) in "".join(Page(render_exploration(found)).text)
    assert cells[:3] == (3, "ph", "15")


def test_two_files_stand_side_by_side_with_what_differs(tmp_path):
    several = []
    for name, first, second in (("a.csv", PLAIN, "6" + PLAIN[1:]), ("b.csv", PLAIN, PLAIN)):
        path = tmp_path / name
        path.write_text(f"{NAMES}\n{first}\n{second}\n")
        several.append(look(path))
    page = Page(render_exploration(explore(several, profiles=[], seed=0), compare_files(*several)))
    text = " ".join(page.text)
    assert "differences" in page.ids
    assert text.count("one value in all rows.") == 16  # ph has bars in both, over one range
    assert text.count("the file has no label column.") == 6


def test_each_section_of_a_poor_file_says_why_it_is_not_there(tmp_path):
    path = tmp_path / "poor.csv"
    path.write_text(f"{NAMES}\n{PLAIN}\n")
    text = " ".join(Page(render_exploration(explore([look(path)], profiles=[], seed=0))).text)
    for reason in (
        "fewer than two measurements vary.",
        "fewer than two rows hold a measurement.",
        "no column of sites was found",
        "no column of dates was found",
        "nothing is missing.",
        "the file has no label column.",
    ):
        assert reason in text


def test_a_mark_far_outside_a_chart_is_named_at_its_edge():
    histogram = Histogram((0.0, 1.0, 2.0), (3, 1))
    chart = draw_histogram(
        histogram, [ReferenceLine(2.1, "near"), ReferenceLine(900.0, "far <")], title="t"
    )
    assert "far &lt; ▸" in chart
    assert ">near<" in chart
    assert chart.count('<line class="mark"') == 1


def test_labels_of_marks_in_one_place_stand_in_rows_of_their_own():
    lines = [ReferenceLine(1.0, f"limit {n}") for n in range(3)]
    chart = draw_histogram(Histogram((0.0, 1.0, 2.0), (3, 1)), lines, title="t")
    heights = re.findall(r'class="label mark" x="[\d.]+" y="([\d.]+)"', chart)
    assert len(set(heights)) == 3


def test_charts_of_tiny_and_huge_values_are_drawn():
    for size in (1e-30, 1e30):
        edges = tuple(np.linspace(size, 2 * size, 4).tolist())
        assert "NaN" not in draw_histogram(Histogram(edges, (1, 0, 2)), title="t")
