"""Simulated samples laid out as the files of the French control of drinking water (SISE-Eaux).

A year is two files: the samplings with their conclusions, and their results, one in each row. The
columns are those of the files that data.gouv.fr publishes; the rows are those of `simulation`, so
what decides the label, and how well any model can do, is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as pa_csv

from waterflow_cli.samples.simulation import LABEL, SITES, simulate_batches
from waterflow_cli.tables.outputs import OutputGroup

if TYPE_CHECKING:
    from waterflow_cli.common.arrays import BoolArray, IntArray

YEAR = 2024
SAMPLINGS, RESULTS = f"DIS_PLV_{YEAR}.txt", f"DIS_RESULT_{YEAR}.txt"
_SLICE_ROWS = 1 << 13
# A sampling upstream of several networks stands in the file once for each.
_SHARE_OF_TWO_NETWORKS = 0.03
_SHARE_WITHOUT_JUDGEMENT = 0.2
_CONCLUSIONS = ("bacterio", "chimique", "referencebact", "referencechim")


class _Parameter(NamedTuple):
    """How a parameter stands in the file; `code` is SANDRE's.

    One that is no measurement of the simulation is drawn by itself and tells nothing: lognormal,
    with a limit of quantification `loq`, both in units of its last decimal.
    """

    name: str
    code: int
    unit: str
    decimals: int
    limit: str = ""
    reference: str = ""
    typical: int = 0
    loq: int = 0


# Of the simulation's measurements; dissolved solids have no code. Hardness is reported in °f, and
# chloramines are what total chlorine has more than the free one.
_MEASURED = {
    "ph": _Parameter("pH", 1302, "unité pH", 2, reference=">=6,5 et <=9 unité pH"),
    "Hardness": _Parameter("Titre hydrotimétrique", 1345, "°f", 2),
    "Sulfate": _Parameter("Sulfates", 1338, "mg/L", 1, reference="<=250 mg/L"),
    "Conductivity": _Parameter("Conductivité à 25°C", 1303, "µS/cm", 1),
    "Organic_carbon": _Parameter("Carbone organique total", 1841, "mg(C)/L", 2),
    "Trihalomethanes": _Parameter("Trihalométhanes (4)", 2036, "µg/L", 1, limit="<=100 µg/L"),
    "Turbidity": _Parameter("Turbidité néphélométrique NFU", 1295, "NFU", 2),
}
_FREE = _Parameter("Chlore libre", 1398, "mg(Cl2)/L", 2, typical=25, loq=5)
_TOTAL = _Parameter("Chlore total", 1399, "mg(Cl2)/L", 2)
_OTHERS = (
    _Parameter("Nitrates (en NO3)", 1340, "mg/L", 1, "<=50 mg/L", typical=120, loq=5),
    _Parameter("Nitrites (en NO2)", 1339, "mg/L", 2, "<=0,5 mg/L", typical=1, loq=2),
    _Parameter("Ammonium (en NH4)", 1335, "mg/L", 2, "", "<=0,1 mg/L", typical=2, loq=5),
    _Parameter("Chlorures", 1337, "mg/L", 1, "", "<=250 mg/L", typical=250, loq=10),
    _Parameter("Fer total", 1393, "µg/L", 0, "", "<=200 µg/L", typical=8, loq=10),
    _Parameter("Manganèse total", 1394, "µg/L", 0, "", "<=50 µg/L", typical=3, loq=5),
    _Parameter("Aluminium total", 1370, "µg/L", 0, "", "<=200 µg/L", typical=12, loq=10),
    _Parameter("Sodium", 1375, "mg/L", 1, "", "<=200 mg/L", typical=110, loq=5),
    _Parameter("Arsenic", 1369, "µg/L", 1, "<=10 µg/L", typical=8, loq=5),
    _Parameter("Plomb", 1382, "µg/L", 1, "<=10 µg/L", typical=6, loq=5),
    _Parameter("Nickel", 1386, "µg/L", 1, "<=20 µg/L", typical=10, loq=10),
    _Parameter("Cuivre", 1392, "mg/L", 3, "<=2 mg/L", "<=1 mg/L", typical=40, loq=5),
    _Parameter("Cadmium", 1388, "µg/L", 2, "<=5 µg/L", typical=4, loq=5),
    _Parameter("Mercure", 1387, "µg/L", 2, "<=1 µg/L", typical=1, loq=2),
    _Parameter("Chrome total", 1389, "µg/L", 1, "<=50 µg/L", typical=5, loq=5),
    _Parameter("Sélénium", 1385, "µg/L", 1, "<=20 µg/L", typical=9, loq=10),
    _Parameter("Antimoine", 1376, "µg/L", 1, "<=10 µg/L", typical=3, loq=5),
    _Parameter("Escherichia coli /100ml - MF", 1449, "n/(100mL)", 0, "<=0 n/(100mL)", loq=1),
    _Parameter("Entérocoques /100ml-MS", 6455, "n/(100mL)", 0, "<=0 n/(100mL)", loq=1),
)
_PARAMETERS = (*_MEASURED.values(), _FREE, _TOTAL, *_OTHERS)


def write_french_control(
    folder: str, n_rows: int, *, seed: int, signal: float, force: bool
) -> tuple[str, str]:
    """Write the samplings and the results of simulated samples, as two files of a folder.

    Parameters
    ----------
    folder : str
        It must exist.

    Returns
    -------
    tuple of two str
        The files' paths, samplings first; both appear when all of both is written.

    Raises
    ------
    UsageError
        If an argument is out of its range, or a file cannot be written.
    """
    batches = simulate_batches(n_rows, seed=seed, signal=signal)
    paths = str(Path(folder, SAMPLINGS)), str(Path(folder, RESULTS))
    # What the files add to the samples is drawn by itself.
    rng = np.random.default_rng((seed, 1))
    with (
        OutputGroup(force=force) as outputs,
        outputs.open(paths[0]) as samplings,
        outputs.open(paths[1]) as results,
    ):
        for number, rows in enumerate(_slices(batches)):
            how = pa_csv.WriteOptions(include_header=number == 0, quoting_style="all_valid")
            keys = pc.binary_join_element_wise(
                "033", pc.utf8_slice_codeunits(rows["sample_id"], 1), ""
            )
            pa_csv.write_csv(_sampling_rows(rows, keys, rng), samplings, how)
            pa_csv.write_csv(_result_rows(rows, keys, rng), results, how)
    return paths


def _slices(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Cut batches: a row becomes some thirty."""
    for batch in batches:
        for first in range(0, len(batch), _SLICE_ROWS):
            yield batch.slice(first, _SLICE_ROWS)


def _sampling_rows(rows: pa.RecordBatch, keys: pa.Array, rng: np.random.Generator) -> pa.Table:
    """Give the samplings; some stand there twice, once for each network that they feed."""
    n_rows = len(rows)
    sites = pc.index_in(rows["site"], pa.array(SITES)).to_numpy()
    minutes = rng.integers(7 * 60, 18 * 60, n_rows)
    twice = np.flatnonzero(rng.random(n_rows) < _SHARE_OF_TWO_NETWORKS)
    order = np.sort(np.concatenate([np.arange(n_rows), twice]))
    is_second = np.append(False, order[1:] == order[:-1])
    columns = {
        "cddept": pa.repeat("033", n_rows),
        "inseecommuneprinc": _padded(33001 + sites, 5),
        "nomcommuneprinc": pc.utf8_upper(rows["site"]),
        "referenceprel": keys,
        "dateprel": pc.binary_join_element_wise(
            str(YEAR), pc.utf8_slice_codeunits(rows["date"], 4), ""
        ),
        "heureprel": pc.binary_join_element_wise(
            _padded(minutes // 60, 2), _padded(minutes % 60, 2), "h"
        ),
        **_conclusions(rows[LABEL].to_numpy() == 1, rng),
    }
    table = pa.table(columns).take(pa.array(order))
    networks = _padded(33000100 + 2 * sites[order] + is_second, 9)
    return table.add_column(1, "cdreseau", networks)


def _conclusions(conforms: BoolArray, rng: np.random.Generator) -> dict[str, pa.Array]:
    """Give the four conclusions; at least one is against a sample that is not potable."""
    n_rows = len(conforms)
    columns = {}
    exceeding = rng.integers(3, size=n_rows)  # bacteriology, chemistry or both
    for number, name in enumerate(_CONCLUSIONS):
        decides = number < 2
        exceeds = ~conforms & ((exceeding == number) | (exceeding == 2)) if decides else ~conforms
        unjudged = (
            np.zeros(n_rows, bool) if decides else rng.random(n_rows) < _SHARE_WITHOUT_JUDGEMENT
        )
        text = np.where(unjudged, "S", np.where(exceeds, "N", "C"))
        columns[f"plvconformite{name}"] = pa.array(text)
    return columns


def _result_rows(rows: pa.RecordBatch, keys: pa.Array, rng: np.random.Generator) -> pa.Table:
    """Give the results, sample by sample."""
    texts = list(_texts(rows, rng).values())
    n_rows, n_parameters = len(rows), len(texts)
    # By parameter at first; then each sample's stand together.
    order = np.arange(n_rows * n_parameters).reshape(n_parameters, n_rows).T.ravel()
    reported = pa.concat_arrays(texts).take(pa.array(order))
    sample = pa.array(np.repeat(np.arange(n_rows), n_parameters))
    parameter = pa.array(np.tile(np.arange(n_parameters), n_rows))

    def each(values: list[str]) -> pa.Array:
        return pa.array(values).take(parameter)

    point = pc.replace_substring(reported, ",", ".")
    table = pa.table(
        {
            "cddept": pa.repeat("033", len(reported)),
            "referenceprel": keys.take(sample),
            "cdparametre": each([str(one.code) for one in _PARAMETERS]),
            "libminparametre": each([one.name for one in _PARAMETERS]),
            "qualitparam": pa.repeat("N", len(reported)),
            "insituana": each(["T" if one in (_FREE, _TOTAL) else "L" for one in _PARAMETERS]),
            "rqana": reported,
            "cdunitereferencesiseeaux": each([one.unit for one in _PARAMETERS]),
            "limitequal": each([one.limit for one in _PARAMETERS]),
            "refqual": each([one.reference for one in _PARAMETERS]),
            "valtraduite": pc.if_else(pc.starts_with(reported, "<"), "0", point),
        }
    )
    return table.filter(pc.is_valid(reported))


def _texts(rows: pa.RecordBatch, rng: np.random.Generator) -> Mapping[str, pa.Array]:
    """Give the text of each parameter's results by its name, null where none was measured."""
    found = {}
    for name, parameter in _MEASURED.items():
        scale = 10**parameter.decimals / (10 if name == "Hardness" else 1)
        found[parameter.name] = _written(_units(rows[name], scale), parameter)
    free = np.maximum(_FREE.loq, rng.poisson(_FREE.typical, len(rows)))
    found[_FREE.name] = _written(pa.array(free), _FREE)
    combined = _units(rows["Chloramines"], 10**_TOTAL.decimals)
    found[_TOTAL.name] = _written(pc.add(combined, pa.array(free)), _TOTAL)
    for parameter in _OTHERS:
        spread = rng.lognormal(0, 1, len(rows))
        drawn = np.rint(max(parameter.typical, 0.02) * spread).astype(np.int64)
        written = _written(pa.array(drawn), parameter)
        bound = _written(pa.array([parameter.loq]), parameter)[0].as_py()
        found[parameter.name] = pc.if_else(pa.array(drawn < parameter.loq), f"<{bound}", written)
    return found


def _units(column: pa.Array, scale: float) -> pa.Array:
    """Give numbers as whole multiples of their last decimal."""
    return pc.cast(pc.round(pc.multiply(column, scale)), pa.int64())


def _written(units: pa.Array, parameter: _Parameter) -> pa.Array:
    """Write whole multiples of the last decimal with a decimal comma."""
    if not parameter.decimals:
        return units.cast(pa.string())
    unit = 10**parameter.decimals
    whole = pc.divide(units, unit)
    rest = pc.subtract(units, pc.multiply(whole, unit)).cast(pa.string())
    digits = pc.utf8_lpad(rest, width=parameter.decimals, padding="0")
    return pc.binary_join_element_wise(whole.cast(pa.string()), digits, ",")


def _padded(numbers: IntArray, width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width=width, padding="0")
