"""The description of the interface: of a model's own fields, and of who may ask."""

from __future__ import annotations

from dataclasses import replace

import pytest

from waterflow_cli.models.files import StoredModel
from waterflow_cli.samples.table_schema import ColumnCheck
from waterflow_cli.serving.openapi import describe_api
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.served_model import ModelWatch


@pytest.fixture(scope="module")
def model(store_uri: str) -> StoredModel:
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)
    return watch.current.model


def test_samples_have_the_fields_of_the_schema(model):
    columns = model.schema.columns
    above = ColumnCheck("greater_than", {"min_value": 0.5})
    odd = {"_a b\u00e9": replace(columns["ph"], required=False, checks=(above,))}
    schema = replace(model.schema, columns={**columns, **odd}, strict=True)
    schemas = describe_api(replace(model, schema=schema), ServingOptions(max_rows=7))["components"][
        "schemas"
    ]
    sample, samples = schemas["Sample"], schemas["Samples"]["properties"]["samples"]
    assert list(sample["properties"]) == [*model.decision.measurements, *odd]
    assert sample["required"] == list(model.decision.measurements)
    assert sample["properties"]["ph"]["description"] == "pH; minimum 0, maximum 14"
    assert sample["properties"]["_a b\u00e9"]["description"] == "above 0.5"
    kinds = [each["type"] for each in sample["properties"]["ph"]["anyOf"]]
    assert kinds == ["number", "string", "null"]
    assert sample["additionalProperties"] is False
    assert (samples["minItems"], samples["maxItems"]) == (1, 7)


def test_other_fields_may_be_there_unless_the_schema_is_strict(model):
    schemas = describe_api(model, ServingOptions())["components"]["schemas"]
    assert schemas["Sample"]["additionalProperties"] is True


def test_only_a_server_with_a_token_describes_refusals(model):
    closed = describe_api(model, ServingOptions(token="x" * 20))
    free = describe_api(model, ServingOptions())
    assert closed["security"] == [{"token": []}]
    assert closed["paths"]["/health"]["get"]["security"] == []
    assert free["security"] == []
    for path, methods in closed["paths"].items():
        for method, described in methods.items():
            refusals = {"401"} - set(described["responses"])
            assert bool(refusals) == (path == "/health")
            assert "401" not in free["paths"][path][method]["responses"]
