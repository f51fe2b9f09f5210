"""Rows of totals, means and limits are told from samples by their label, and by its neighbours."""

from __future__ import annotations

from pathlib import Path

import pytest

from waterflow_cli.samples.schemas import load_schema
from waterflow_cli.tables.reading_options import ReadingOptions
from waterflow_cli.validation.report import ValidationOptions, validate_files

HEAD = "name,pH,Hardness,TDS,Chloramines,Sulfate,EC,TOC,THM,Turbidity"
VALUES = "7.1,200,300,1,5,400,1.2,30,0.4"


def summaries(path: Path, names: list[str], **reading: str) -> list[str]:
    """Validate a file with rows of these names; give those that are found to be summaries."""
    path.write_text("\n".join([HEAD, *(f'"{name}",{VALUES}' for name in names), ""]), "utf-8")
    options = ValidationOptions(reading=ReadingOptions(**reading), max_findings=100)  # type: ignore[arg-type]
    report = validate_files([str(path)], load_schema(), options)
    assert {each.rule for each in report.findings} <= {"summary_row"}
    return [each.value for each in report.findings]


@pytest.mark.parametrize(
    "name",
    [
        *(
            "Mean",
            "MEAN:",
            "Mean ± SD",
            "mean (n=6)",
            "Average 2023",
            "Mean value",
            "Geometric mean",
        ),
        *(
            "SD",
            "S.D.",
            "RSD",
            "RSD (%)",
            "%RSD",
            "Std",
            "Std. dev.",
            "St.dev.",
            "Standard deviation",
        ),
        *(
            "SEM",
            "CV %",
            "Variance",
            "Standard error",
            "n=6",
            "n = 12",
            "Count",
            "Number of samples",
        ),
        *(
            "Median",
            "Médiane",
            "Mediane",
            "Me\u0301diane",
            "P90",
            "P5",
            "90th percentile",
            "Percentile 95",
        ),
        *(
            "Min",
            "Max.",
            "Maximum",
            "Min value",
            "Valeur max",
            "Range",
            "Q1",
            "Quartile 3",
            "95% CI",
        ),
        *("Moyenne générale", "Moyenne 2023", "Moy.", "Ecart type", "Écart-type", "Écarts types"),
        *("Nb", "Nb valeurs", "Nombre de mesures", "Effectif", "Total", "Sous-total", "Somme"),
        *("Grand total", "# samples", "IQR", "Éc. type", "Mittelwert", "Promedio", "Media"),
        *("WHO guideline", "Norme OMS", "WHO", "Max admissible", "Maximum allowable", "EU limit"),
        *("Guide value", "Drinking standard", "Valeur guide", "Grenzwert", "Seuil d'alerte"),
        *("LQ", "MDL", "Seuil", "Limite de qualité", "Référence de qualité", "Unité", "Méthode"),
    ],
)
def test_summary_among_samples_is_found(tmp_path, name):
    names = ["W-1", "W-2", name, "W-3"]
    assert summaries(tmp_path / "a.csv", names) == [name]
    assert summaries(tmp_path / "a.csv", names, summary_rows="keep") == []


@pytest.mark.parametrize(
    "names",
    [
        [f"P{n}" for n in range(1, 13)],
        ["P1"],
        ["P10", "P25", "P50", "P75", "P90"],
        [f"NB {n}" for n in range(1, 7)],
        ["SD-1", "SD-2", "SD-3"],
        ["SD", "SD", "MN"],
        ["LD 1", "LD 2", "ld 3"],
        ["Q1", "Q2", "Q3", "Q4"],
        ["Mean Creek", "Minnow", "Totem", "Average Joe's well", "Median Street", "Varennes"],
        ["Standard Creek", "Guideline Road", "Europe", "Whole lake", "Mediapolis", "Normandie"],
        ["Nbaka", "Sdoma", "Cvent", "N1", "Limours", "Unitec", "Mini-lac", "Pitt 90"],
    ],
)
def test_names_of_samples_are_no_summaries(tmp_path, names):
    assert summaries(tmp_path / "a.csv", names) == []


def test_summaries_below_numbered_samples_are_found_all_the_same(tmp_path):
    names = [*(f"P{n}" for n in range(1, 9)), "Mean", "SD", "P 90"]
    assert summaries(tmp_path / "a.csv", names) == ["Mean", "SD"]
    names = [*(f"S{n}" for n in range(1, 9)), "P10", "P90"]
    assert summaries(tmp_path / "a.csv", names) == ["P10", "P90"]


def test_table_of_summaries_alone_is_no_table_of_samples(tmp_path):
    names = ["SD", "RSD", "Mean ± SD", "Std. dev.", "Ecart type", "Moyenne générale"]
    assert summaries(tmp_path / "a.csv", names) == names


def test_names_are_told_by_the_first_rows_whatever_the_size_of_a_batch(cli, workdir):
    names = [*(f"P{n}" for n in range(1, 50)), "W", "P90", "Mean"]
    summaries(Path("a.csv"), names)
    outcome = cli("validate", "a.csv", "--good", "good.csv", "--json")
    assert outcome.code == 1
    assert '"rows_invalid": 1,' in outcome.out.replace(":1,", ": 1,")
    again = cli("validate", "a.csv", "--summary-rows", "keep")
    assert again.code == 0
