"""What is wrong with a request, as RFC 9457 has it told: application/problem+json."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from waterflow_cli.common.errors import (
    DataRefusedError,
    InputError,
    ModelError,
    UsageError,
    WaterflowError,
)
from waterflow_cli.common.messages import printable

MEDIA_TYPE = "application/problem+json"
# A ModelError tells that the samples are none of those that the model is made for.
_OF_THE_SAMPLES = (InputError, UsageError, DataRefusedError, ModelError)


class RequestError(WaterflowError):
    """A request cannot be answered: HTTP's status for it, and headers that say more."""

    def __init__(
        self,
        status: int,
        text: str,
        /,
        hint: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        super().__init__(text, hint, **values)
        self.status, self.headers = status, dict(headers or {})


def problem_response(error: WaterflowError) -> Response:
    """Tell a client what happened and what to do next."""
    from waterflow_cli.serving.answers import Problem

    if not isinstance(error, RequestError):
        status = 422 if isinstance(error, _OF_THE_SAMPLES) else 500
        error = RequestError(status, error.message, error.hint)
    hint = {"hint": error.hint} if error.hint else {}
    title = HTTPStatus(error.status).phrase
    problem = Problem(title=title, status=error.status, detail=printable(error.message), **hint)
    return Response(problem.text(), error.status, error.headers, MEDIA_TYPE)
