"""Writes samples in the layouts that the bundled profiles of results read."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

# What each source calls the nine measurements: a code, or a name.
SANDRE = {
    "ph": "1302",
    "Hardness": "1345",
    "Sulfate": "1338",
    "Conductivity": "1303",
    "Organic_carbon": "1841",
    "Trihalomethanes": "2036",
    "Turbidity": "1295",
    "Chloramines": "1399",
}
WQX = {
    "ph": "pH",
    "Hardness": "Total hardness",
    "Solids": "Total dissolved solids",
    "Chloramines": "Chloramine",
    "Sulfate": "Sulfate",
    "Conductivity": "Specific conductance",
    "Organic_carbon": "Organic carbon",
    "Trihalomethanes": "Total Trihalomethanes",
    "Turbidity": "Turbidity",
}
EEA = {
    "ph": "EEA_3152-01-0",
    "Hardness": "EEA_31-01-6",
    "Solids": "EEA_31-03-8",
    "Sulfate": "CAS_18785-72-3",
    "Conductivity": "EEA_3142-01-6",
    "Organic_carbon": "EEA_3133-06-0",
    "Turbidity": "EEA_3112-01-4",
}
ENGLAND = {
    "ph": "0061",
    "Hardness": "0158",
    "Sulfate": "0183",
    "Conductivity": "0077",
    "Turbidity": "0068",
}


class Result(NamedTuple):
    """A result as a laboratory has it; the sign says that the value is a bound."""

    sample: str
    measurement: str
    value: str
    unit: str
    sign: str = ""
    speciation: str = ""
    remark: str = ""


Row = dict[str, str]


def sise_eaux(one: Result) -> Iterable[Row]:
    row = {
        "cddept": "001",
        "referenceprel": one.sample,
        "cdparametre": SANDRE.get(one.measurement, "6488"),
        "libmajparametre": one.measurement.replace("Solids", "RESIDU SEC A 180°C").upper(),
        "qualitparam": "N",
        "rqana": one.sign + one.value,
        "cdunitereferencesiseeaux": one.unit,
        "valtraduite": "0" if one.sign else one.value,
    }
    yield row
    if one.measurement == "Chloramines":
        yield {**row, "cdparametre": "1398", "libmajparametre": "CHLORE LIBRE", "rqana": "0"}


def hubeau(one: Result) -> Iterable[Row]:
    for row in sise_eaux(one):
        yield {
            "code_departement": "001",
            "code_prelevement": row["referenceprel"],
            "code_parametre": row["cdparametre"],
            "libelle_parametre": row["libmajparametre"],
            "resultat_alphanumerique": row["rqana"],
            "resultat_numerique": row["valtraduite"],
            "libelle_unite": row["cdunitereferencesiseeaux"],
        }


def wqx3(one: Result) -> Iterable[Row]:
    below = one.sign == "<"
    yield {
        "Activity_ActivityIdentifier": one.sample,
        "Location_Identifier": "USGS-1",
        "Activity_TypeCode": "Sample-Routine",
        "Result_Characteristic": WQX[one.measurement],
        "Result_SampleFraction": "Total",
        "Result_MethodSpeciation": one.speciation,
        "Result_Measure": "" if below else one.value,
        "Result_MeasureUnit": "" if below else one.unit,
        "Result_ResultDetectionCondition": {
            "<": "Not Detected",
            ">": "Present Above Quantification Limit",
        }.get(one.sign, ""),
        "Result_MeasureQualifierCode": one.remark,
        "DetectionLimit_TypeA": "Lower Reporting Limit" if below else "",
        "DetectionLimit_MeasureA": one.value if below else "",
        "DetectionLimit_MeasureUnitA": one.unit if below else "",
    }


def wqp(one: Result) -> Iterable[Row]:
    yield {
        "MonitoringLocationIdentifier": one.sample,
        "ActivityStartDate": "2024-05-02",
        "CharacteristicName": WQX[one.measurement],
        "ResultSampleFractionText": "Total",
        "MethodSpecificationName": one.speciation,
        "ResultMeasureValue": one.value,
        "ResultMeasure.MeasureUnitCode": one.unit,
        "ResultDetectionConditionText": "",
        "MeasureQualifierCode": one.remark or {"<": "U", ">": "GT"}.get(one.sign, ""),
    }


def uk_wqa(one: Result) -> Iterable[Row]:
    yield {
        "@id": "http://environment.data.gov.uk/water-quality/data/measurement/1",
        "sample.samplingPoint.notation": one.sample,
        "sample.sampleDateTime": "2025-02-03T10:42:00",
        "determinand.label": WQX[one.measurement],
        "determinand.notation": ENGLAND.get(one.measurement, "9999"),
        "resultQualifier.notation": one.remark or one.sign,
        "result": one.value,
        "determinand.unit.label": one.unit,
    }


def waterbase(one: Result) -> Iterable[Row]:
    yield {
        "monitoringSiteIdentifier": one.sample,
        "phenomenonTimeSamplingDate": "2023-06-14",
        "observedPropertyDeterminandCode": EEA.get(one.measurement, "EEA_00-00-0"),
        "observedPropertyDeterminandLabel": one.measurement,
        "procedureAnalysedMatrix": "W",
        "resultUom": one.unit,
        "resultObservedValue": one.value,
        "resultQualityObservedValueBelowLOQ": one.remark or ("1" if one.sign else "0"),
        "procedureLOQValue": one.value if one.sign else "",
    }


def datastream(one: Result) -> Iterable[Row]:
    yield {
        "MonitoringLocationID": one.sample,
        "ActivityStartDate": "2024-08-20",
        "ActivityStartTime": "",
        "ActivityType": "Sample-Routine",
        "CharacteristicName": WQX[one.measurement],
        "MethodSpeciation": one.speciation,
        "ResultSampleFraction": "Total",
        "ResultValue": "" if one.sign else one.value,
        "ResultUnit": "" if one.sign else one.unit,
        "ResultDetectionCondition": one.remark
        or {
            "<": "Below Detection/Quantification Limit",
            ">": "Above Detection/Quantification Limit",
        }.get(one.sign, ""),
        "ResultDetectionQuantitationLimitMeasure": one.value if one.sign else "",
        "ResultDetectionQuantitationLimitUnit": one.unit if one.sign else "",
    }


def equis(one: Result) -> Iterable[Row]:
    yield {
        "sys_sample_code": one.sample,
        "sample_type_code": "N",
        "chemical_name": WQX[one.measurement],
        "result_value": "" if one.sign else one.value,
        "result_unit": one.unit,
        "detect_flag": "N" if one.sign else "Y",
        "lab_qualifiers": one.remark or ("U" if one.sign else ""),
        "reporting_detection_limit": one.value if one.sign else "",
        "detection_limit_unit": one.unit if one.sign else "",
    }


LAYOUTS: dict[str, Callable[[Result], Iterable[Row]]] = {
    "datastream": datastream,
    "equis": equis,
    "hubeau": hubeau,
    "sise-eaux": sise_eaux,
    "uk-wqa": uk_wqa,
    "waterbase": waterbase,
    "wqp": wqp,
    "wqx3": wqx3,
}
# These have no way to say that a result lies above a range.
WITHOUT_ABOVE = ("equis", "waterbase")
SPECIATED = ("datastream", "wqp", "wqx3")
REMARKED = ("datastream", "equis", "uk-wqa", "waterbase", "wqp", "wqx3")


def write_results(path: Path, layout: str, results: Iterable[Result]) -> str:
    """Write results as a source does."""
    rows = [row for one in results for row in LAYOUTS[layout](one)]
    sep = ";" if layout == "hubeau" else ","
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), delimiter=sep)
        writer.writeheader()
        writer.writerows(rows)
    return str(path)
