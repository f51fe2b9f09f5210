"""Tables written again as laboratories and agencies would."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

NARROW, NO_BREAK = "\u202f", "\u00a0"
FRENCH = (
    *("pH", "Dureté", "Résidu sec", "Chloramines", "Sulfates"),
    *("Conductivité", "COT", "THM", "Turbidité"),
)
Rows = list[list[str]]


def french(group: str) -> Callable[[str], str]:
    def written(cell: str) -> str:
        whole, point, rest = cell.partition(".")
        grouped = f"{int(whole):,}".replace(",", group) if whole else ""
        return grouped + (f",{rest}" if point else "")

    return written


def shifted(cell: str, places: int) -> str:
    """Write a number in a unit that is a power of ten larger, exactly."""
    return f"{Decimal(cell).scaleb(places):f}" if cell else ""


def text(rows: Rows, sep: str = ";", end: str = "\r\n") -> str:
    return "".join(sep.join(row) + end for row in rows)


def french_rows(rows: Rows, group: str = NARROW, header: tuple[str, ...] | None = None) -> Rows:
    write = french(group)
    return [list(header or rows[0]), *([write(cell) for cell in row] for row in rows[1:])]


def in_other_units(rows: Rows) -> Rows:
    return [
        [*row[:5], shifted(row[5], -3), row[6], shifted(row[7], -3), row[8]] for row in rows[1:]
    ]


def units_in_header(rows: Rows) -> bytes:
    head = [*rows[0][:5], "Conductivity (mS/cm)", rows[0][6], "Trihalomethanes [mg/L]", rows[0][8]]
    return text([head, *in_other_units(rows)], ",", "\n").encode()


def units_in_a_row(rows: Rows) -> bytes:
    units = ["", "mg/L", "ppm", "mg/L", "mg/L", "mS/cm", "mg/L", "mg/L", "NFU"]
    return text([rows[0], units, *in_other_units(rows)], ",", "\n").encode()


def titled(rows: Rows) -> bytes:
    notes = "\r\nSource : laboratoire X\r\n"
    return ("Résultats 2024\r\n\r\n" + text(french_rows(rows)) + notes).encode()


def json_lines(rows: Rows) -> bytes:
    """Numbers as numbers, with their digits; null where nothing is."""
    lines = [
        ", ".join(f'"{name}": {cell or "null"}' for name, cell in zip(rows[0], row, strict=True))
        for row in rows[1:]
    ]
    return "".join(f"{{{line}}}\n" for line in lines).encode()


def json_answer(rows: Rows) -> bytes:
    """Text in a list, as an API answers."""
    data = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    return json.dumps({"count": len(data), "data": data}, indent=2).encode()


def hubeau(rows: Rows) -> bytes:
    """One row for each result; chloramines as total less free chlorine, hardness in °f."""
    named = [
        *(("1302", "pH", "unité pH", 0, 0), ("1345", "Titre hydrotimétrique", "°f", 1, -1)),
        *(("", "Résidu sec à 180 °C", "mg/L", 2, 0), ("1399", "Chlore total", "mg(Cl2)/L", 3, 0)),
        *(("1338", "Sulfates", "mg/L", 4, 0), ("1303", "Conductivité à 25°C", "µS/cm", 5, 0)),
        *(("1841", "Carbone organique total", "mg(C)/L", 6, 0), ("2036", "THM", "µg/L", 7, 0)),
        ("1295", "Turbidité néphélométrique NFU", "NFU", 8, 0),
    ]
    lines = [
        "code_prelevement;date_prelevement;code_parametre;libelle_parametre;"
        "resultat_alphanumerique;resultat_numerique;libelle_unite"
    ]
    for number, row in enumerate(rows[1:]):
        sample = f"{number:011d};2024-03-12"
        for code, name, unit, place, places in named:
            if value := shifted(row[place], places):
                lines.append(f"{sample};{code};{name};{value.replace('.', ',')};{value};{unit}")
        lines.append(f"{sample};1398;Chlore libre;0;0;mg(Cl2)/L")
        lines.append(f"{sample};1449;Escherichia coli;<1;0;n/(100mL)")
    return "\r\n".join([*lines, ""]).encode()


def wqp(rows: Rows) -> bytes:
    names = [
        *(("pH", "std units", 0), ("Total hardness", "mg/l CaCO3", 0)),
        *(("Total dissolved solids", "mg/l", 0), ("Chloramine", "mg/l", 0), ("Sulfate", "ug/l", 3)),
        *(("Specific conductance", "uS/cm @25C", 0), ("Organic carbon", "mg/l", 0)),
        *(("Total Trihalomethanes", "ug/l", 0), ("Turbidity", "NTU", 0)),
    ]
    lines = [
        "MonitoringLocationIdentifier,ActivityStartDate,CharacteristicName,"
        "ResultSampleFractionText,ResultMeasureValue,ResultMeasure/MeasureUnitCode,"
        "ResultDetectionConditionText"
    ]
    for number, row in enumerate(rows[1:]):
        for (name, unit, places), cell in zip(names, row, strict=True):
            if cell:
                value = shifted(cell, places)
                lines.append(f"SITE-{number},2024-03-12,{name},Total,{value},{unit},")
    return "\n".join([*lines, ""]).encode()
