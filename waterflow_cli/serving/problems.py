"""What is wrong with a request, as RFC 9457 has it told: application/problem+json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus

from starlette.responses import Response

from waterflow_cli.common.errors import (
    DataRefusedError,
    InputError,
    ModelError,
    PluginError,
    UsageError,
    WaterflowError,
)

MEDIA_TYPE = "application/problem+json"
_STATUS = (
    (InputError, 422),
    (UsageError, 422),
    (DataRefusedError, 422),
    (ModelError, 422),  # the samples are none of those that the model is made for
    (PluginError, 500),
)


class RequestError(WaterflowError):
    """A request cannot be answered.

    Parameters
    ----------
    status : int
        HTTP's word for it.
    headers : mapping of str to str
        What else the client is told.
    """

    def __init__(
        self,
        status: int,
        message: str,
        hint: str | None = None,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.status, self.headers = status, dict(headers or {})


def as_request_error(error: WaterflowError) -> RequestError:
    """Give an error of the core its HTTP status."""
    if isinstance(error, RequestError):
        return error
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return RequestError(status, error.message, error.hint)


def problem_response(error: RequestError) -> Response:
    """Tell a client what happened and what to do next."""
    content = {
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.message,
        **({"hint": error.hint} if error.hint else {}),
    }
    return Response(json.dumps(content), error.status, headers=error.headers, media_type=MEDIA_TYPE)
