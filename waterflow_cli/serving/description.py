"""What a server offers, as OpenAPI, and what its model judges by."""

from __future__ import annotations

from typing import Any

from waterflow_cli import __version__
from waterflow_cli.models.decision import VERDICTS
from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.table_schema import ColumnRules
from waterflow_cli.scoring.scorer import INVALID, SCORED
from waterflow_cli.serving.judging import CSV, JSON
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import MEDIA_TYPE as PROBLEM

Json = dict[str, Any]
_CELL = ["number", "string", "null"]
_BOUNDS = {
    "in_range": (("minimum", "min_value"), ("maximum", "max_value")),
    "greater_than_or_equal_to": (("minimum", "min_value"),),
    "less_than_or_equal_to": (("maximum", "max_value"),),
    "greater_than": (("above", "min_value"),),
    "less_than": (("below", "max_value"),),
}


def describe_model(model: StoredModel, options: ServingOptions) -> Json:
    """Say what a model judges by, and what a request may hold."""
    schema, decision = model.schema, model.decision
    policy = decision.policy
    return {
        "version": 1,
        "model": model.label,
        "sha256": model.digest,
        "plugin": model.plugin,
        "schema": schema.name,
        "measurements": [
            {
                "name": name,
                "unit": schema.units.get(name),
                "required": rules.required,
                **_bounds(rules),
            }
            for name, rules in schema.columns.items()
            if name in decision.measurements
        ],
        "min_measurements": schema.min_measurements,
        "threshold": decision.threshold,
        "policy": {
            "likely_potable_from": policy.potable_from if policy.decides_potable else None,
            "likely_not_potable_to": policy.not_potable_to if policy.decides_not_potable else None,
        },
        "nondetect": options.reading.nondetect,
        "max_bytes": options.max_bytes,
        "max_rows": options.max_rows,
        "timeout_s": options.timeout_s,
    }


def describe_api(model: StoredModel, options: ServingOptions) -> Json:
    """Describe the whole interface as OpenAPI 3.1, with the fields of the model in use."""
    closed: list[Json] = [{"token": []}] if options.token else []
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "waterflow serve",
            "version": __version__,
            "description": f"Judges water samples with {model.label}.",
        },
        "security": closed,
        "paths": {
            "/score": {"post": _describe_score(options)},
            "/health": {"get": _get("health", "Whether the server can answer.", "Health")},
            "/model": {"get": _get("model", "What the model judges by.", "Model", options)},
            "/metrics": {"get": _describe_text("metrics", "Counters for Prometheus.", options)},
            "/openapi.json": {"get": _get("openapi", "This description.", "Description", options)},
        },
        "components": {
            "schemas": _schemas(model, options),
            **(
                {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}}
                if options.token
                else {}
            ),
        },
    }


def _describe_score(options: ServingOptions) -> Json:
    results = {JSON: {"schema": _ref("Results")}, CSV: {"schema": {"type": "string"}}}
    return {
        "operationId": "score",
        "summary": "Judge samples.",
        "description": (
            "One result for each sample, in order. A sample that breaks the schema is answered "
            "too, as `invalid`, with its reason. A file can be sent as text/csv too, for which "
            "JSON Schema has no words: it is read and written as `waterflow score` reads and "
            "writes a file. Without an Accept header the answer is of the kind that was sent."
        ),
        "requestBody": {"required": True, "content": {JSON: {"schema": _ref("Samples")}}},
        "responses": {
            "200": {"description": "The results.", "content": results},
            "400": _problem("The body is no JSON."),
            **_refusals(options),
            "406": _problem("Neither JSON nor CSV is accepted."),
            "408": _problem("The body did not arrive in time."),
            "413": _problem("The body or the number of samples is too large."),
            "415": _problem("The body is neither JSON nor CSV, or is compressed."),
            "422": _problem("The samples are not those that the model is made for."),
            "500": _problem("The model failed."),
            "503": _problem("Too many requests are under way.", "Retry-After"),
            "504": _problem("The samples could not be scored in time."),
        },
    }


def _get(name: str, summary: str, schema: str, options: ServingOptions | None = None) -> Json:
    """Describe an operation that gives JSON; one without options needs no token."""
    answer = {"description": summary, "content": {JSON: {"schema": _ref(schema)}}}
    is_open = options is None
    return {
        "operationId": name,
        "summary": summary,
        **({"security": []} if is_open else {}),
        "responses": {"200": answer, **({} if options is None else _refusals(options))},
    }


def _describe_text(name: str, summary: str, options: ServingOptions) -> Json:
    answer = {"description": summary, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": answer, **_refusals(options)},
    }


def _refusals(options: ServingOptions) -> Json:
    if options.token is None:
        return {}
    return {"401": _problem("The token is missing or wrong.", "WWW-Authenticate")}


def _problem(description: str, header: str | None = None) -> Json:
    headers = {header: {"schema": {"type": "string"}}} if header else None
    return {
        "description": description,
        "content": {PROBLEM: {"schema": _ref("Problem")}},
        **({"headers": headers} if headers else {}),
    }


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}


def _schemas(model: StoredModel, options: ServingOptions) -> Json:
    text: Json = {"type": "string"}
    count: Json = {"type": "integer", "minimum": 0}
    return {
        "Samples": _object(
            {
                "samples": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": options.max_rows,
                    "items": _ref("Sample"),
                }
            }
        ),
        "Sample": _describe_sample(model),
        "Results": _object(
            {
                "version": {"const": 1},
                "model": text,
                "results": {"type": "array", "minItems": 1, "items": _ref("Result")},
            }
        ),
        "Result": _object(
            {
                "status": {"enum": [SCORED, INVALID]},
                "probability": {"type": ["number", "null"], "minimum": 0, "maximum": 1},
                "prediction": {"enum": [0, 1, None]},
                "verdict": {"enum": list(VERDICTS)},
                "reason": text,
                "model_version": text,
            }
        ),
        "Health": _object(
            {
                "version": {"const": 1},
                "status": {"const": "ready"},
                "model": text,
                "sha256": text,
                "loaded": {"type": "string", "format": "date-time"},
                "reload": {"enum": ["ok", "failing"]},
            }
        ),
        "Model": {
            **_object({"version": {"const": 1}, "model": text, "max_rows": count}),
            "additionalProperties": True,
        },
        "Description": _object({"openapi": text}) | {"additionalProperties": True},
        "Problem": {
            **_object({"title": text, "status": count, "detail": text}),
            "additionalProperties": True,
            "description": "RFC 9457; `hint` says what to do next.",
        },
    }


def _describe_sample(model: StoredModel) -> Json:
    schema = model.schema
    known = {name: rules for name, rules in schema.columns.items() if name != schema.label}
    return {
        "type": "object",
        "description": (
            "Cells as in a file: a number, null for what was not measured, or text such as "
            '"<0.5" for a non-detect. The decimal mark is a point. Each field goes by its exact '
            "name; others, such as a sample's number, may be there and are not read."
        ),
        "properties": {name: _describe_cell(name, rules, model) for name, rules in known.items()},
        "required": [name for name, rules in known.items() if rules.required],
        "additionalProperties": not schema.strict,
    }


def _describe_cell(name: str, rules: ColumnRules, model: StoredModel) -> Json:
    unit = model.schema.units.get(name)
    bounds = ", ".join(f"{word} {value:g}" for word, value in _bounds(rules).items())
    words = "; ".join(part for part in (unit, bounds) if part)
    # Not as JSON Schema's own minimum: a value beyond it is answered as an invalid sample.
    return {"type": _CELL, **({"description": words} if words else {})}


def _bounds(rules: ColumnRules) -> dict[str, float]:
    return {
        word: check.statistics[key]
        for check in rules.checks
        for word, key in _BOUNDS.get(check.name, ())
        if key in check.statistics
    }


def _object(properties: Json) -> Json:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
