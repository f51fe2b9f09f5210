"""A server in a thread, for tests to ask."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from waterflow_cli.serving.app import Service
from waterflow_cli.serving.judging import JSON
from waterflow_cli.serving.options import ServingOptions
from waterflow_cli.serving.served_model import ModelWatch
from waterflow_cli.serving.server import Server, bind


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Running:
    """A server in a thread, and what it said."""

    port: int
    service: Service
    accesses: list[tuple[str, int]]
    defects: list[Exception]

    def ask(
        self, method: str, path: str, body: object = None, /, stream: bool = False, **headers: str
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, named, encode_chunked=stream)  # type: ignore[arg-type]
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        reply = Reply(response.status, found, response.read())
        connection.close()
        return reply

    def score(self, body: object, kind: str = JSON, **headers: str) -> Reply:
        sent = json.dumps(body) if kind == JSON and not isinstance(body, (bytes, str)) else body
        return self.ask("POST", "/score", sent, content_type=kind, **headers)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@contextmanager
def running(watch: ModelWatch, *, send_bytes: int = 0, **chosen: Any) -> Iterator[Running]:
    accesses: list[tuple[str, int]] = []
    defects: list[Exception] = []
    options = ServingOptions(**chosen)
    service = Service(
        watch,
        options,
        note_access=lambda _client, request, status, _s: accesses.append((request, status)),
        note_defect=defects.append,
    )
    server = Server(service, options.timeout_s)
    bound = bind("127.0.0.1", 0, is_open=False)
    if send_bytes:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_bytes)
    port = bound.getsockname()[1]
    thread = threading.Thread(target=server.listen, args=(bound,))
    thread.start()
    wait_for(lambda: server.started)
    try:
        yield Running(port, service, accesses, defects)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def wait_for(holds: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
