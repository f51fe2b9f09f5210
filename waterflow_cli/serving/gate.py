"""Who may ask a server."""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from functools import lru_cache

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waterflow_cli.common.messages import tr
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import RequestError, problem_response

HEALTH = "/health"
_LOOPBACK = re.compile(
    rb"(https?://)?(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(:\d{1,5})?", re.IGNORECASE
)


class Gate:
    """Lets only those pass who may ask, and tells of each answer.

    With a token, those who show it; the health is open to all. Without one, at an address that
    only this machine reaches, a browser on it could still be made to ask: by a page from
    elsewhere, whose requests name it as their origin, or by a name of the page's own that is made
    to stand for this machine (DNS rebinding), and then is in the header Host. Neither passes.
    """

    def __init__(
        self, app: ASGIApp, options: ServingOptions, note: Callable[[Scope, int, float], None]
    ) -> None:
        self._app, self._note = app, note
        self._expected = None if options.token is None else options.token.encode()
        self._is_open = options.is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it; no answer is to be kept by anybody on its way."""
        start, status = time.perf_counter(), 500

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"].append((b"cache-control", b"no-store"))
            await send(message)

        try:
            refusal = self._refuse(scope)
            app = self._app if refusal is None else problem_response(refusal)
            await app(scope, receive, observe)
        finally:
            self._note(scope, status, time.perf_counter() - start)

    def _refuse(self, scope: Scope) -> RequestError | None:
        if self._expected is not None:
            return None if scope["path"] == HEALTH or self._has_token(scope) else _unknown()
        if self._is_open:
            return None
        strange = (
            name
            for name, value in scope["headers"]
            if name in (b"host", b"origin") and not is_this_machine(value)
        )
        return next(map(_foreign, strange), None)

    def _has_token(self, scope: Scope) -> bool:
        given = Headers(scope=scope).get("authorization", "").encode("latin-1")
        kind, _, token = given.partition(b" ")
        is_known = hmac.compare_digest(token.strip(), self._expected or b"")
        return is_known and kind.lower() == b"bearer"


@lru_cache
def is_this_machine(authority: bytes) -> bool:
    """Tell whether a host or an origin, as a header names it, is this machine's own.

    >>> is_this_machine(b"localhost:8000"), is_this_machine(b"http://[::1]")
    (True, True)
    >>> is_this_machine(b"127.0.0.1.evil.example"), is_this_machine(b"null")
    (False, False)
    """
    return _LOOPBACK.fullmatch(authority) is not None


def _unknown() -> RequestError:
    return RequestError(
        401,
        "The token is missing or wrong.",
        tr("Send the header {header}.", header="Authorization: Bearer TOKEN"),
        headers={"WWW-Authenticate": "Bearer"},
    )


def _foreign(header: bytes) -> RequestError:
    return RequestError(
        403,
        "The header {header} names another machine than this one.",
        tr("Ask localhost, or start the server with --token-file FILE or --no-token."),
        header=header.decode().title(),
    )
