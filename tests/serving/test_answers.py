"""Every answer has the shape that pydantic describes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError
from servers import Running, running

from waterflow_cli.models.decision import Policy
from waterflow_cli.models.files import StoredModel
from waterflow_cli.scoring.scorer import RESULT_COLUMNS
from waterflow_cli.serving.answers import (
    Health,
    Measurement,
    Model,
    Problem,
    Result,
    Results,
    Shape,
    bounds_of,
    describe_model,
)
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import RequestError, problem_response
from waterflow_cli.serving.served_model import ModelWatch


@pytest.fixture(scope="module")
def watch(store_uri: str) -> ModelWatch:
    return ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)


@pytest.fixture(scope="module")
def server(watch: ModelWatch) -> Iterator[Running]:
    with running(watch) as found:
        yield found


def sample(model: StoredModel, **cells: Any) -> dict[str, Any]:
    return dict.fromkeys(model.decision.measurements, 5.0) | cells


def test_results_have_the_columns_of_score_in_order():
    assert tuple(Result.model_fields) == RESULT_COLUMNS


def test_every_answer_has_its_shape(server, watch):
    samples = [sample(watch.current.model), sample(watch.current.model, ph=15.2)]
    answers: list[tuple[type[Shape], bytes]] = [
        (Results, server.score({"samples": samples}).body),
        (Health, server.ask("GET", "/health").body),
        (Model, server.ask("GET", "/model").body),
        (Problem, server.ask("GET", "/nowhere").body),
        (Problem, server.score("{").body),
    ]
    for shape, body in answers:
        found = shape.model_validate_json(body, strict=True)
        assert found.model_extra in (None, {})
        assert found.text().encode() == body.strip()


def test_other_fields_are_no_answer():
    with pytest.raises(ValidationError, match="Extra inputs"):
        Measurement(name="ph", unit=None, required=True, mean=7)  # type: ignore[call-arg]


def test_a_problem_may_quote_what_is_no_text():
    body = problem_response(RequestError(400, "no 'a\ud800'")).body
    assert json.loads(body) == {
        "title": "Bad Request", "status": 400, "detail": "no 'a\\ud800'"
    }  # fmt: skip


def test_bounds_that_a_column_has_not_are_left_out_and_others_are_null(watch):
    model = watch.current.model
    decision = replace(model.decision, policy=Policy(potable_from=0.9, not_potable_to=-1.0))
    found = describe_model(replace(model, decision=decision), ServingOptions())
    content = json.loads(found.text())
    assert content["policy"] == {"likely_potable_from": 0.9, "likely_not_potable_to": None}
    assert set(content["measurements"][0]) == {"name", "unit", "required", "minimum", "maximum"}
    assert bounds_of(replace(model.schema.columns["ph"], checks=())) == {}
