"""What a server offers, as OpenAPI: its paths, and the shapes that pydantic describes."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.json_schema import models_json_schema

from waterflow_cli import __version__
from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.table_schema import ColumnRules
from waterflow_cli.serving.answers import Health, Model, Problem, Results, Shape, bounds_of
from waterflow_cli.serving.judging import CSV, JSON
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import MEDIA_TYPE as PROBLEM

Json = dict[str, Any]
_REF = "#/components/schemas/{model}"
_TEXT = {"type": "string"}
_UNKNOWN, _FOREIGN = 401, 403
_PROBLEMS = {
    400: "The body is no JSON.",
    _UNKNOWN: "The token is missing or wrong.",
    _FOREIGN: "A header names another machine than the server's.",
    406: "Neither JSON nor CSV is accepted.",
    408: "The body did not arrive in time.",
    413: "The body or the number of samples is too large.",
    415: "The body is neither JSON nor CSV, or is compressed.",
    422: "The samples are not those that the model is made for.",
    500: "The model failed.",
    503: "Too many requests are under way.",
    504: "The samples could not be scored in time.",
}
_HEADERS = {_UNKNOWN: "WWW-Authenticate", 503: "Retry-After"}
_SCORE = (
    "One result for each sample, in order. A sample that breaks the schema is answered too, as "
    "`invalid`, with its reason. A file can be sent as text/csv too, for which JSON Schema has no "
    "words: it is read and written as `waterflow score` reads and writes a file. Without an Accept "
    "header the answer is of the kind that was sent."
)
_SAMPLE = (
    "Cells as in a file: a number, null for what was not measured, or text such as "
    '"<0.5" for a non-detect. The decimal mark is a point. Each field goes by its exact '
    "name; others, such as a sample's number, may be there and are not read."
)


def describe_api(model: StoredModel, options: ServingOptions) -> Json:
    """Describe the whole interface as OpenAPI 3.1, with the fields of the model in use."""
    token = {"token": {"type": "http", "scheme": "bearer"}} if options.token else {}
    shapes = (_samples(model, options), Results, Health, Model, Problem)
    _, schemas = models_json_schema([(each, "validation") for each in shapes], ref_template=_REF)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "waterflow serve",
            "version": __version__,
            "description": f"Judges water samples with {model.label}.",
        },
        "security": [{name: []} for name in token],
        "paths": _paths(_PROBLEMS.keys() - _not_refused(options)),
        "components": {"schemas": schemas["$defs"], "securitySchemes": token},
    }


def _not_refused(options: ServingOptions) -> set[int]:
    """Give the statuses by which nobody is refused, as the server was started."""
    if options.token is not None:
        return {_FOREIGN}
    return {_UNKNOWN, _FOREIGN} if options.is_open else {_UNKNOWN}


def _paths(problems: Set[int]) -> Json:
    refusals = problems & {_UNKNOWN, _FOREIGN}
    results, text = {JSON: _ref("Results"), CSV: _TEXT}, {"text/plain": _TEXT}
    health, model = {JSON: _ref("Health")}, {JSON: _ref("Model")}
    document = {JSON: {"type": "object"}}
    score = {
        **_operation("score", "Judge samples.", results, problems),
        "description": _SCORE,
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref("Samples")}}},
    }
    to_all = _operation("health", "Whether the server can answer.", health, problems & {_FOREIGN})
    return {
        "/score": {"post": score},
        "/health": {"get": {**to_all, "security": []}},
        "/model": {"get": _operation("model", "What the model judges by.", model, refusals)},
        "/metrics": {"get": _operation("metrics", "Counters for Prometheus.", text, refusals)},
        "/openapi.json": {"get": _operation("openapi", "This description.", document, refusals)},
    }


def _operation(name: str, summary: str, answer: Json, problems: Set[int]) -> Json:
    refused = {PROBLEM: _ref("Problem")}
    responses = {"200": _response(summary, answer)}
    for status in sorted(problems):
        responses[str(status)] = _response(_PROBLEMS[status], refused, _HEADERS.get(status))
    return {"operationId": name, "summary": summary, "responses": responses}


def _response(description: str, schemas: Json, header: str | None = None) -> Json:
    """Describe an answer by the schema of its body in each media type."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas.items()}
    headers = {header: {"schema": _TEXT}} if header else {}
    return {"description": description, "content": content, "headers": headers}


def _ref(name: str) -> Json:
    return {"$ref": _REF.format(model=name)}


def _samples(model: StoredModel, options: ServingOptions) -> type[BaseModel]:
    """Make the shape of a request from the schema that the model's training rows kept to."""
    schema = model.schema
    # Not with bounds of pydantic's own: a value beyond one is answered as an invalid sample.
    cells: Any = {
        f"cell{place}": (float | str | None, _cell(name, rules, schema.units.get(name)))
        for place, (name, rules) in enumerate(schema.columns.items())
        if name != schema.label
    }
    extra = ConfigDict(extra="forbid" if schema.strict else "allow")
    sample: Any = create_model("Sample", __config__=extra, __doc__=_SAMPLE, **cells)
    samples: Any = (list[sample], Field(min_length=1, max_length=options.max_rows))
    return create_model("Samples", __base__=Shape, samples=samples)


def _cell(name: str, rules: ColumnRules, unit: str | None) -> Any:
    bounds = ", ".join(f"{word} {value:g}" for word, value in bounds_of(rules).items())
    words = "; ".join(filter(None, (unit, bounds)))
    return Field(... if rules.required else None, alias=name, description=words or None)
