"""What a server answers with, but for tables: the shape of it, which clients are told too.

pydantic takes longer to import than a request to answer, so this module is imported when it is
first needed. The results of many samples are written column by column, see `judging`.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.table_schema import ColumnRules
from waterflow_cli.scoring.scorer import INVALID, SCORED
from waterflow_cli.serving.options import ServingOptions

_BOUNDS = {
    ("in_range", "min_value"): "minimum",
    ("in_range", "max_value"): "maximum",
    ("greater_than_or_equal_to", "min_value"): "minimum",
    ("less_than_or_equal_to", "max_value"): "maximum",
    ("greater_than", "min_value"): "above",
    ("less_than", "max_value"): "below",
}


class Shape(BaseModel):
    """An object of JSON with these fields and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    def text(self) -> str:
        """Write the fields that were given as JSON."""
        return json.dumps(self.model_dump(by_alias=True, exclude_unset=True), allow_nan=False)


class Result(Shape):
    """What is thought of a sample; `reason` says why it is invalid, or what a verdict rests on."""

    status: str = Field(json_schema_extra={"enum": [SCORED, INVALID]})
    probability: float | None = Field(ge=0, le=1)
    prediction: Literal[0, 1] | None
    verdict: str = Field(json_schema_extra={"enum": list(VERDICTS)})
    rule: str
    reason: str
    model_version: str


class Results(Shape):
    """A result for each sample, in order."""

    version: Literal[1]
    model: str
    results: list[Result] = Field(min_length=1)


class Health(Shape):
    """Which model answers; `reload` fails while the store names one that cannot be loaded."""

    version: Literal[1]
    status: Literal["ready"]
    model: str
    sha256: str
    loaded: str = Field(json_schema_extra={"format": "date-time"})
    reload: Literal["ok", "failing"]


class Measurement(Shape):
    """A measurement that the model judges by, and the values that the schema lets pass."""

    name: str
    unit: str | None
    required: bool
    minimum: int | float | None = None
    maximum: int | float | None = None
    above: int | float | None = None
    below: int | float | None = None


class Policy(Shape):
    """From and up to which probabilities a verdict is given; null where it never is."""

    likely_potable_from: float | None
    likely_not_potable_to: float | None


class Model(Shape):
    """What a model judges by, and what a request may hold."""

    model_config = ConfigDict(extra="allow")

    version: Literal[1]
    model: str
    sha256: str
    plugin: str
    schema_name: str = Field(alias="schema")
    measurements: list[Measurement]
    min_measurements: int
    threshold: float
    policy: Policy
    nondetect: str
    max_bytes: int
    max_rows: int
    timeout_s: float


class Problem(Shape):
    """What is wrong with a request, as RFC 9457 has it told; `hint` says what to do next."""

    model_config = ConfigDict(extra="allow")

    title: str
    status: int
    detail: str
    hint: str = ""


def describe_model(model: StoredModel, options: ServingOptions) -> Model:
    """Say what a model judges by, and what a request may hold."""
    schema, decision = model.schema, model.decision
    policy = decision.policy
    measurements = [
        Measurement(
            name=name, unit=schema.units.get(name), required=rules.required, **bounds_of(rules)
        )
        for name, rules in schema.columns.items()
        if name in decision.measurements
    ]
    return Model(
        version=1,
        model=model.label,
        sha256=model.digest,
        plugin=model.plugin,
        schema=schema.name,
        measurements=measurements,
        min_measurements=schema.min_measurements,
        threshold=decision.threshold,
        policy=Policy(
            likely_potable_from=policy.potable_from if policy.decides_potable else None,
            likely_not_potable_to=policy.not_potable_to if policy.decides_not_potable else None,
        ),
        nondetect=options.reading.nondetect,
        max_bytes=options.max_bytes,
        max_rows=options.max_rows,
        timeout_s=options.timeout_s,
    )


def bounds_of(rules: ColumnRules) -> dict[str, Any]:
    """Tell which values of a column pass: minimum, maximum, above, below."""
    return {
        _BOUNDS[check.name, key]: value
        for check in rules.checks
        for key, value in check.statistics.items()
        if (check.name, key) in _BOUNDS
    }
