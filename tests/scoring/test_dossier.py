"""The page of a sample: what was measured, the limits, what the model says, and what is missing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

NINE = "pH,Hardness,TDS,Chloramines,Sulfate,Conductivity,TOC,THM,Turbidity"
ROW = "7,200,100,3,10,500,1,50,0.2"
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def dossier(cli, store_uri, workdir):
    """Score a file with pages, and give the outcome and the pages by name."""

    def run(text, *more, code=0):
        Path("in.csv").write_text(text, "utf-8")
        arguments = ("-o", "out.csv", "--force", "--dossier", "pages", "--limits", "eu")
        outcome = cli("score", "in.csv", *arguments, "--tracking-uri", store_uri, *more)
        assert outcome.code == code, outcome.err
        pages = sorted(Path("pages").glob("*")) if Path("pages").is_dir() else []
        return outcome, {page.name: page.read_text("utf-8") for page in pages}

    return run


class Tags(HTMLParser):
    """Collects the tags of a page, and its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.text = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data):
        self.text += f" {data.strip()}"


def text_of(page):
    return re.sub(r"\s+", " ", Tags(page).text)


def test_each_sample_has_a_page_and_the_rows_are_scored_as_without(dossier):
    outcome, pages = dossier(f"Site,{NINE},Plomb (mg/L)\nWell 7,{ROW},0.011\nB,{ROW},0.001\n")
    assert sorted(pages) == ["0002-well7.html", "0003-b.html"]
    assert len(Path("out.csv").read_text().splitlines()) == 3
    assert "pages/0002-well7.html" in outcome.err


def test_a_page_shows_result_limit_distance_verdict_and_what_is_missing(dossier):
    _, pages = dossier(f"Site,{NINE},Plomb (mg/L),NO3\nWell 7,{ROW},0.011,<60\n")
    text = text_of(pages["0002-well7.html"])
    assert "Sample Well 7" in text
    assert "Probability of potable: 0." in text
    assert "Lead 11 µg/L 0.011 · Plomb (mg/L) at most 10 µg/L" in text
    assert "above the value (single sample) 110% of the limit" in text
    assert "Nitrate NO3 < 60 mg/L NO3 <60 · NO3 at most 50 mg/L NO3" in text
    assert "220% of the limit" not in text
    assert "2.2 times the limit" in text
    assert "eu: not measured" in text
    assert "none of the measurements of the model" in text
    assert "ph 7 7 · pH 6.5 to 9.5" in text
    assert "0.5 from the limit" in text


def test_what_the_model_lacks_is_named_with_its_share(dossier):
    _, pages = dossier(f"Site,{NINE}\nA,,{ROW.partition(',')[2]}\n")
    text = text_of(pages["0002-a.html"])
    assert "1 measurement of the model ph They hold" in text


def test_an_invalid_sample_has_a_page_that_says_why(dossier):
    _, pages = dossier(f"Site,{NINE}\nA,x,{ROW.partition(',')[2]}\n")
    text = text_of(pages["0002-a.html"])
    assert "not judged: the sample breaks a rule" in text
    assert "'x' is not a number" in text


def test_whatever_comes_from_the_file_is_escaped_and_nothing_is_loaded(dossier):
    header = f'"{HOSTILE}",{NINE},"Pb {HOSTILE}"'
    _, pages = dossier(f'{header}\n"{HOSTILE}",{ROW},1\n')
    (page,) = pages.values()
    found = Tags(page)
    assert "script" not in found.tags
    assert found.links == []
    assert HOSTILE in found.text


def test_a_page_speaks_french(dossier, monkeypatch):
    monkeypatch.setenv("LC_ALL", "fr_FR.UTF-8")
    _, pages = dossier(f"Site,{NINE}\nA,{ROW}\n")
    text = text_of(pages["0002-a.html"])
    assert 'lang="fr"' in pages["0002-a.html"]
    for words in ("Échantillon A", "Le modèle dit", "Ce qui manque", "Dans les limites"):
        assert words in text
    assert "likely" not in text
    assert "not decided" not in text
    assert "within" not in text


def test_too_many_samples_are_refused_before_anything_is_written(dossier):
    outcome, pages = dossier(f"{NINE}\n" + f"{ROW}\n" * 1001, code=2)
    assert "--dossier writes a page for each sample, 1000 at most" in outcome.err
    assert pages == {}
    assert not Path("out.csv").exists()
    assert not Path("pages").exists()


def test_standard_input_cannot_be_read_twice(cli, workdir):
    outcome = cli("score", "-", "-o", "out.csv", "--dossier", "pages")
    assert (outcome.code, "--dossier reads files twice" in outcome.err) == (2, True)
