from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from learnable import write_learnable

from waterflow_cli.models.discovery import load_plugin
from waterflow_cli.models.guarantees import parse_guarantee
from waterflow_cli.models.metrics import METRICS
from waterflow_cli.registry.stores import connect
from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.training.data import TrainingData, load_training_data
from waterflow_cli.training.options import CrossValidation, TrainingOptions
from waterflow_cli.training.runs.page import health_limits, render_page
from waterflow_cli.training.runs.plots import draw_result
from waterflow_cli.training.runs.record import Training
from waterflow_cli.training.trainer import train_model
from waterflow_cli.validation.limit_checks import rows_above

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")

MEGABYTE = 1_000_000
OPTIONS = TrainingOptions(
    cv=CrossValidation(3, 1), balance="none", guarantees=(parse_guarantee("precision=0.99@99%"),)
)
HOSTILE = '<b>&"x'
ESCAPED = "&lt;b&gt;&amp;&#34;x"
SECTIONS = [
    "What it is for, and what it is not for",
    "The data",
    "Where the labels contradict the limits",
    "Measured performance",
    "What the threshold does",
    "The verdicts",
    "Which measurements matter",
]
# What an element may load from; a page that loads nothing has data in them, or has none of them.
LOADING = {"src", "href", "srcset", "action", "formaction", "data", "poster", "background", "style"}


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self._open = [], {}, []
        self.rows = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._open.append(tag)
        self.texts.setdefault(tag, []).append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        while tag in self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        for tag in set(self._open):
            self.texts[tag][-1] += data
        if {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data

    @property
    def tags(self):
        return {tag for tag, _ in self.elements}

    def row(self, first):
        """Give the cells of the one row that starts with a text."""
        (found,) = [row for row in self.rows if row[0] == first]
        return found[1:]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.csv"
    write_learnable(path, 300, seed=5)
    return path


@pytest.fixture(scope="module")
def data(table):
    return load_training_data(str(table), load_schema())


@pytest.fixture(scope="module")
def trained(data):
    """A result, and its pictures."""
    result = train_model(data, load_plugin("logreg"), OPTIONS)
    return result, draw_result(result)


def render(data, trained, plugin="logreg", options=OPTIONS):
    """Write the page of a model that learned from some data, as far as the page knows."""
    training = Training(data, load_schema(), SimpleNamespace(name=plugin), options)
    return render_page(training, *trained)


@pytest.fixture(scope="module")
def page(data, trained):
    return render(data, trained)


def assert_loads_nothing(text):
    found = Page(text)
    assert not found.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in found.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in LOADING & set(attributes):
            assert (tag, name) == ("img", "src")
            assert attributes[name].startswith("data:image/png;base64,")
        assert attributes.get("http-equiv") is None
    (style,) = found.texts["style"]
    assert "url(" not in style
    assert "@import" not in style
    assert "http://" not in text
    assert "https://" not in text


# --- the page itself -----------------------------------------------------------------------------


def test_the_page_loads_nothing_from_elsewhere(page):
    assert_loads_nothing(page)


@pytest.mark.parametrize(
    "bad",
    [
        '<script src="x.js"></script>',
        '<link rel="stylesheet" href="x.css">',
        '<img src="https://example.org/x.png">',
        "<style>@import 'x.css'</style>",
        '<p onclick="alert(1)">',
    ],
)
def test_the_check_finds_what_would_be_loaded_or_run(page, bad):
    with pytest.raises((AssertionError, ValueError)):
        assert_loads_nothing(page.replace("</html>", f"{bad}</html>"))


def test_the_page_is_small_with_its_pictures_in_it(page, trained):
    pictures = [attributes for tag, attributes in Page(page).elements if tag == "img"]
    assert len(pictures) == len(trained[1]) == 6
    assert all(attributes["alt"] for attributes in pictures)
    assert len(page.encode()) < MEGABYTE


def test_sections_come_in_order_and_it_says_what_it_is_not_for(page):
    assert Page(page).texts["h2"] == SECTIONS
    text = " ".join(page.split())
    assert "Not measured: E. coli, nitrate, arsenic, lead, fluoride and whatever" in text
    assert "replaces no analysis that a law asks for" in text


def test_the_page_tells_data_plugin_and_the_number_of_rows(page, data, trained):
    found = Page(page)
    assert data.path in page
    assert data.sha256 in page
    assert found.texts["em"] == ["logreg"]
    negatives, positives = data.class_counts
    assert found.row("labelled potable") == [str(positives), f"{positives / 300:.1%}"]
    assert found.row("labelled not potable") == [str(negatives), f"{negatives / 300:.1%}"]
    # What certified a guarantee took no part in the fit.
    assert trained[0].n_trained == 210
    assert "the model itself then learned from 210 rows" in " ".join(page.split())


def test_repeated_rows_are_counted_only_where_there_are_some(page, data, trained):
    assert "repeat another" not in page
    repeated = render(
        replace(data, X=pd.concat([data.X, data.X[:7]]), y=np.r_[data.y, data.y[:7]]), trained
    )
    (cells,) = [row[1:] for row in Page(repeated).rows if row[0].startswith("repeat another")]
    assert cells == ["7", f"{7 / 307:.1%}"]


def test_missing_values_and_ranges_are_those_of_the_data(page, data):
    values = data.X["Sulfate"]
    missing, median, low, high = Page(page).rows[
        [row[0] for row in Page(page).rows].index("Sulfate")
    ][1:]
    assert missing == f"{values.isna().mean():.1%}"
    assert float(median) == pytest.approx(values.median(), rel=1e-3)
    assert float(low) == pytest.approx(values.min(), rel=1e-3)
    assert float(high) == pytest.approx(values.max(), rel=1e-3)


def test_guarantees_and_verdicts_are_told(page, trained):
    text = " ".join(page.split())
    assert f"<p>{trained[0].model.policy.describe()}. On the tested samples:</p>" in text
    assert "<li>precision=0.99@99%: cannot be given; that side is always send_to_lab</li>" in text
    assert "No guarantee was asked for" not in text


def test_figures_are_those_of_the_result_beside_the_baselines(page, trained):
    found, result = Page(page), trained[0]
    titles = ["logreg", "always the base rate", "logistic regression"]
    assert ["", *titles] in found.rows
    evaluations = [result.evaluation, *(each.evaluation for each in result.baselines.values())]
    cells = found.row(METRICS["roc_auc"])
    assert [float(cell.split()[0]) for cell in cells] == [
        pytest.approx(each.estimates["roc_auc"].value, abs=6e-4) for each in evaluations
    ]
    assert found.row(METRICS["precision_potable"])[1] == "undefined"


def test_each_operating_point_has_a_row(page, trained):
    found = Page(page)
    for point in trained[0].points:
        cells = found.row(point.name)
        assert float(cells[1]) == pytest.approx(point.recall_potable, abs=6e-4)
        assert float(cells[5]) == pytest.approx(point.cost_per_1000, abs=0.51)
    assert found.row("reject everything")[0] == "-"


# --- names from the data -------------------------------------------------------------------------


def test_names_from_data_plugin_and_schema_are_escaped(trained):
    random = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 40])
    X = pd.DataFrame({f"{HOSTILE}1": random.normal(size=100), f"{HOSTILE}2": y + 0.0})
    named = TrainingData(path=f"dir/{HOSTILE}.csv", X=X, y=y, sha256="0" * 64, n_dropped=0)
    options = replace(OPTIONS, guarantees=())
    result = train_model(named, load_plugin("logreg"), options)
    text = render(named, (result, trained[1]), HOSTILE, options)
    assert "<b>" not in text
    assert_loads_nothing(text)
    assert text.count(ESCAPED) >= 8
    found = Page(text)
    assert found.texts["em"] == [HOSTILE]
    assert f"waterflow: the model {HOSTILE}" in found.texts["title"]
    assert [row[0] for row in found.rows].count(f"{HOSTILE}1") == 2
    assert f"{HOSTILE}.csv" in found.texts["p"][0]


def test_bytes_of_a_name_that_are_no_utf_8_are_shown(data, trained):
    named = replace(data, path=os.fsdecode(b"river \xff.csv"))
    text = render(named, trained)
    assert r"river \udcff.csv" in text
    text.encode("utf-8")


# --- the health limits ---------------------------------------------------------------------------

# Chloramines up to 4 mg/L, trihalomethanes up to 80 µg/L; of four potable samples, two above.
LIMITED = pd.DataFrame(
    {
        "Chloramines": [4.0, 4.1, np.nan, 9.0, 5.0, 1.0, np.nan, 4.0],
        "Trihalomethanes": [80.0, np.nan, 80.0, 90.0, 81.0, np.nan, np.nan, 80.1],
        "ph": [7.0] * 8,
    }
)
POTABLE = np.array([1, 1, 1, 1, 0, 0, 0, 0])


def test_shares_above_a_health_limit_are_counted_by_hand(trained):
    few = TrainingData(path="few.csv", X=LIMITED, y=POTABLE, sha256="0" * 64, n_dropped=0)
    text = render(few, trained)
    assert "labelled potable, 50.0% lie above at least one" in " ".join(text.split())
    limits = {limit.column: limit for limit in health_limits() if limit.column in LIMITED}
    assert list(limits) == ["Chloramines", "Trihalomethanes"]
    rows = {row[0]: row[1:] for row in Page(text).rows if len(row) == 6 and row[0] in limits}
    assert rows["Chloramines"][:3] == ["at most 4 mg/L as Cl2", "50.0%", "25.0%"]
    assert rows["Trihalomethanes"][:3] == ["at most 80 µg/L", "25.0%", "50.0%"]
    for name, limit in limits.items():
        assert rows[name][3:] == [limit.basis, limit.source]


def test_a_value_at_the_limit_and_a_missing_one_are_not_above_it():
    above = [False, True, False, True, True, False, False, True]
    assert rows_above(health_limits(), LIMITED).tolist() == above
    assert rows_above(health_limits(), LIMITED[["ph"]]).tolist() == [False] * 8
    assert rows_above(health_limits(), LIMITED[:0]).tolist() == []


def test_measurements_without_a_limit_are_told_so(trained):
    other = TrainingData(path="few.csv", X=LIMITED[["ph"]], y=POTABLE, sha256="0" * 64, n_dropped=0)
    text = render(other, trained)
    assert "None of the measurements has a health-based value." in text
    assert "at least one health-based value" not in text


def test_a_measurement_without_any_value_is_described_without_nan(trained):
    empty = LIMITED.assign(ph=np.nan)
    text = render(
        TrainingData(path="e.csv", X=empty, y=POTABLE, sha256="0" * 64, n_dropped=0), trained
    )
    (cells,) = [row[1:] for row in Page(text).rows if row[0] == "ph" and len(row) == 5]
    assert cells[0] == "100.0%"
    assert "nan" not in cells


# --- on the command line -------------------------------------------------------------------------


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path / 'mlflow.db'}"


@pytest.fixture
def train(cli, uri):
    def run(path, *options):
        return cli(
            *("train", path, "--plugin", "logreg", "--balance", "none", "--cv", "3x1"),
            *("--tracking-uri", uri, *options),
        )

    return run


def test_report_writes_the_page_of_the_run_with_the_figures_of_the_summary(train, table, uri):
    outcome = train(table, "--report", "page.html", "--json")
    assert outcome.code == 0, outcome.err
    text = Path("page.html").read_text("utf-8")
    assert_loads_nothing(text)
    assert len(text.encode()) < MEGABYTE
    summary = json.loads(outcome.out)
    estimates = summary["evaluation"]["estimates"]
    for name in ("roc_auc", "brier"):
        shown = Page(text).row(METRICS[name])[0]
        each = estimates[name]
        assert shown == f"{each['value']:.3f} ({each['low']:.3f} to {each['high']:.3f})"
    run = connect(uri).get_run(summary["registered"]["run_id"])
    stored = Path(run.info.artifact_uri.removeprefix("file://")) / "report.html"
    assert stored.read_text("utf-8") == text


@pytest.mark.slow
def test_an_existing_page_is_refused_before_the_training_and_replaced_with_force(
    train, table, tmp_path
):
    Path("page.html").write_text("mine")
    outcome = train(table, "--report", "page.html")
    assert (outcome.code, outcome.out) == (2, "")
    assert "page.html: exists already." in outcome.err
    assert "--force" in outcome.err
    assert "Measuring" not in outcome.err
    assert Path("page.html").read_text() == "mine"
    assert not (tmp_path / "mlflow.db").exists()
    assert train(table, "--report", "page.html", "--force").code == 0
    assert Path("page.html").read_text("utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("page", ["nowhere/page.html", "."])
def test_a_page_that_cannot_be_written_is_refused_before_the_training(train, table, tmp_path, page):
    outcome = train(table, "--report", page)
    assert (outcome.code, outcome.out) == (2, "")
    assert not (tmp_path / "mlflow.db").exists()


def test_the_data_are_never_the_page(train, table, tmp_path):
    Path("in.csv").write_bytes(table.read_bytes())
    outcome = train("in.csv", "--report", "in.csv", "--force")
    assert (outcome.code, outcome.out) == (2, "")
    assert Path("in.csv").read_bytes() == table.read_bytes()
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
def test_the_page_alone_goes_to_standard_output(train, table):
    outcome = train(table, "--report", "-", "-q")
    assert outcome.code == 0, outcome.err
    assert outcome.out.startswith("<!doctype html>")
    assert outcome.out.rstrip().endswith("</html>")
    assert not list(Path().glob("*.html"))


def test_json_and_the_page_do_not_share_standard_output(train, table, tmp_path):
    outcome = train(table, "--report", "-", "--json")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--json and the page both go to stdout." in outcome.err
    assert not (tmp_path / "mlflow.db").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "darwin", reason="its file systems take UTF-8 names alone")
def test_a_file_of_a_hostile_name_is_trained_on_and_escaped(train, table):
    path = os.fsdecode(b"<b>&\xff.csv")
    Path(path).write_bytes(table.read_bytes())
    outcome = train(path, "--report", "page.html")
    assert outcome.code == 0, outcome.err
    text = Path("page.html").read_text("utf-8")
    assert r"&lt;b&gt;&amp;\udcff.csv" in text
    assert_loads_nothing(text)
