"""The application: what is read of a request, and what is answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from operator import itemgetter

from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Scope
from threadpoolctl import threadpool_limits

from waterflow_cli.common.errors import PluginError, WaterflowError
from waterflow_cli.common.messages import marked, tr
from waterflow_cli.serving.gate import HEALTH, Gate
from waterflow_cli.serving.judging import CSV, JSON, Answer, judge
from waterflow_cli.serving.metrics import MEDIA_TYPE, ServerMetrics
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.problems import RequestError, problem_response
from waterflow_cli.serving.served_model import ModelWatch

_PATHS = ("/score", HEALTH, "/model", "/metrics", "/openapi.json")
KNOWN = (JSON, CSV)
_RETRY_AFTER_S = 1
# Client, method and path, status, seconds.
Access = Callable[[str, str, int, float], None]


class Service:
    """Answers requests with the model of a `ModelWatch`.

    Parameters
    ----------
    note_access, note_defect : callable
        Are told of each request, never what it held; and of an error that nobody foresaw, or of a
        plugin's failure.
    """

    def __init__(
        self,
        watch: ModelWatch,
        options: ServingOptions,
        *,
        note_access: Access,
        note_defect: Callable[[Exception], None],
    ) -> None:
        self._watch, self._options = watch, options
        self._note_access, self._note_defect = note_access, note_defect
        self._metrics = ServerMetrics(watch)
        # OpenMP keeps its number of threads for each thread that starts some.
        self._pool = ThreadPoolExecutor(
            options.jobs, "scoring", initializer=threadpool_limits, initargs=(1,)
        )
        self._n_bytes_held = self._n_scoring = 0

    def app(self) -> ASGIApp:
        """Build the application."""
        routes = [
            Route("/score", self.score, methods=["POST"]),
            Route(HEALTH, self.health),
            Route("/model", self.model),
            Route("/metrics", self.metrics),
            Route("/openapi.json", self.openapi),
        ]
        handlers = {
            HTTPException: self._answer_http_error,
            WaterflowError: self._answer_error,
            ClientDisconnect: self._answer_nobody,
            Exception: self._answer_defect,
        }
        gate = Middleware(Gate, self._options, self._note)
        return Starlette(routes=routes, middleware=[gate], exception_handlers=handlers)

    @property
    def is_scoring(self) -> bool:
        """Whether a thread may still be at a request, even one that nobody waits for."""
        return self._n_scoring > 0

    def close(self) -> None:
        """Let the requests that are being scored end, and no others begin."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    async def score(self, request: Request) -> Response:
        """Judge the samples in the body."""
        sent = sent_type(request.headers)
        wanted = chosen_type(request.headers.get("accept", ""), sent)
        deadline = asyncio.get_running_loop().time() + self._options.timeout_s
        body = await self._read_body(request, deadline)
        try:
            answer = await self._judge(bytes(body), sent, wanted, deadline)
        finally:
            self._n_bytes_held -= len(body)
        self._metrics.note_answer(answer)
        return Response(answer.body, media_type=wanted)

    async def health(self, _: Request) -> Response:
        """Say whether requests are answered, and by which model."""
        from waterflow_cli.serving.answers import Health

        served = self._watch.current
        health = Health(
            version=1,
            status="ready",
            model=served.label,
            sha256=served.model.digest,
            loaded=served.loaded.isoformat(timespec="seconds"),
            reload="failing" if self._watch.is_failing else "ok",
        )
        return Response(health.text(), media_type=JSON)

    async def model(self, _: Request) -> Response:
        """Say what the model judges by."""
        from waterflow_cli.serving.answers import describe_model

        described = describe_model(self._watch.current.model, self._options)
        return Response(described.text(), media_type=JSON)

    async def metrics(self, _: Request) -> Response:
        """Give the counters."""
        return Response(self._metrics.text(), media_type=MEDIA_TYPE)

    async def openapi(self, _: Request) -> Response:
        """Describe the interface."""
        from waterflow_cli.serving.openapi import describe_api

        content = describe_api(self._watch.current.model, self._options)
        return Response(json.dumps(content), media_type=JSON)

    async def _read_body(self, request: Request, deadline: float) -> bytearray:
        """Read a body, never more of it than is allowed; its bytes count as held."""
        options, body = self._options, bytearray()
        most_held = options.max_concurrent * options.max_bytes
        if int(request.headers.get("content-length", 0)) > options.max_bytes:
            raise _too_large(options.max_bytes)
        try:
            async with asyncio.timeout_at(deadline):
                async for chunk in request.stream():
                    body += chunk
                    self._n_bytes_held += len(chunk)
                    if len(body) > options.max_bytes:
                        raise _too_large(options.max_bytes)
                    if self._n_bytes_held > most_held:
                        raise _busy()
        except BaseException as exc:
            self._n_bytes_held -= len(body)
            if isinstance(exc, TimeoutError):
                text = marked("The body did not arrive within {timeout_s:g} s.")
                raise _too_slow(408, text, options.timeout_s) from exc
            raise
        return body

    async def _judge(self, body: bytes, sent: str, wanted: str, deadline: float) -> Answer:
        if self._n_scoring >= self._options.max_concurrent:
            raise _busy()
        loop = asyncio.get_running_loop()
        self._count_scoring(1)
        job = partial(judge, self._watch.current, body, sent, wanted, self._options, deadline)
        future = self._pool.submit(job)
        # When the thread is done with it, and not when nobody waits for it any more.
        future.add_done_callback(lambda done: self._release(loop, done))
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.wrap_future(future)
        except TimeoutError as exc:
            text = marked("The samples could not be scored within {timeout_s:g} s.")
            raise _too_slow(504, text, self._options.timeout_s) from exc

    def _release(self, loop: asyncio.AbstractEventLoop, _: Future[Answer]) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count_scoring, -1)

    def _count_scoring(self, change: int) -> None:
        self._n_scoring += change
        self._metrics.in_progress.set(self._n_scoring)

    def _note(self, scope: Scope, status: int, seconds: float) -> None:
        path = scope["path"] if scope["path"] in _PATHS else "other"
        self._metrics.note_request(path, status, seconds)
        client = scope["client"][0] if scope.get("client") else "?"
        self._note_access(client, f"{scope['method']} {scope['path']}", status, seconds)

    async def _answer_error(self, _: Request, exc: Exception) -> Response:
        assert isinstance(exc, WaterflowError)
        if isinstance(exc, PluginError):
            self._note_defect(exc)
        return problem_response(exc)

    async def _answer_http_error(self, request: Request, exc: Exception) -> Response:
        assert isinstance(exc, HTTPException)
        error = RequestError(
            exc.status_code,
            "{where}: {problem}",
            tr("There are {paths}.", paths=", ".join(_PATHS)),
            headers=exc.headers,
            where=f"{request.method} {request.url.path}",
            problem=HTTPStatus(exc.status_code).phrase,
        )
        return problem_response(error)

    async def _answer_nobody(self, _: Request, __: Exception) -> Response:
        return Response(status_code=400)

    async def _answer_defect(self, _: Request, exc: Exception) -> Response:
        self._note_defect(exc)
        text = marked("waterflow met a defect of its own; its log says which.")
        return problem_response(RequestError(500, text))


def sent_type(headers: Headers) -> str:
    """Tell what the body holds, `JSON` or `CSV`; 415 for anything else, and what is compressed."""
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    coding = headers.get("content-encoding", "identity").strip().lower()
    if media_type in KNOWN and coding == "identity":
        return media_type
    shown = f"{media_type or '?'}{'' if coding == 'identity' else f' ({coding})'}"
    raise RequestError(
        415,
        "The body is sent as {media_type}.",
        tr("Send it plain, as {known}.", known=" or ".join(KNOWN)),
        media_type=shown,
    )


def chosen_type(accept: str, sent: str) -> str:
    """Choose what the answer holds; of equals, what was sent. 406 if the client takes neither.

    >>> chosen_type("", "text/csv"), chosen_type("application/json, */*;q=0.1", "text/csv")
    ('text/csv', 'application/json')
    """
    if not accept.strip():
        return sent
    # Of a range that is named twice the greater weight counts.
    weights = dict(sorted(map(_read_range, accept.split(",")), key=itemgetter(1)))
    best = max(sent, *KNOWN, key=partial(_weight, weights))
    if _weight(weights, best) <= 0:
        raise RequestError(
            406,
            "The answer can be {known}.",
            tr("Accept one of them, or leave the header out."),
            known=" or ".join(KNOWN),
        )
    return best


def _read_range(text: str) -> tuple[str, float]:
    media_range, *parameters = (part.strip() for part in text.lower().split(";"))
    weight = next((value for value in parameters if value.startswith("q=")), "q=1")
    try:
        return media_range, float(weight.removeprefix("q="))
    except ValueError:
        return media_range, 0.0


def _weight(weights: Mapping[str, float], kind: str) -> float:
    """Give the weight of a media type; the range that names it most closely decides."""
    covering = (kind, f"{kind.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in covering if each in weights), 0.0)


def _too_large(max_bytes: int) -> RequestError:
    return RequestError(
        413,
        "A body may hold {max_bytes} bytes.",
        tr("Send the samples in several requests, or score the file: waterflow score"),
        max_bytes=max_bytes,
    )


def _too_slow(status: int, text: str, timeout_s: float) -> RequestError:
    closing = {"Connection": "close"} if status == 408 else None
    hint = tr("Send fewer samples at a time.")
    return RequestError(status, text, hint, headers=closing, timeout_s=timeout_s)


def _busy() -> RequestError:
    return RequestError(
        503,
        "Too many requests are under way.",
        tr("Try again in a moment."),
        headers={"Retry-After": str(_RETRY_AFTER_S)},
    )
