"""Listen, answer, and stop when asked."""

from __future__ import annotations

import asyncio
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import h11
import uvicorn

from waterflow_cli.common.errors import UsageError
from waterflow_cli.common.messages import tr
from waterflow_cli.serving.app import Service

_MOST_CONNECTIONS = 1000
_KEEP_ALIVE_S = 5
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def bind(host: str, port: int, *, is_open: bool) -> socket.socket:
    """Take an address, without listening to it yet.

    Parameters
    ----------
    port : int
        0 for any that is free.
    is_open : bool
        Whether an address that other machines reach is wanted.

    Raises
    ------
    UsageError
        If the address is not to be had, or is not only this machine's.
    """
    try:
        found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        if not is_open and not ipaddress.ip_address(address[0]).is_loopback:
            raise UsageError(
                "--host {host}: other machines could ask without a token.",
                tr("Give one with --token-file FILE, or say --no-token."),
                host=host,
            )
        # asyncio sets TCP_NODELAY where the protocol is told; without it each answer waits 40 ms.
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            bound.bind(address)
        except OSError:
            bound.close()
            raise
    except (OSError, UnicodeError) as exc:
        raise _not_to_be_had(host, port, exc) from exc
    return bound


def _not_to_be_had(host: str, port: int, exc: Exception) -> UsageError:
    return UsageError(
        "Port {port} of {host} is not to be had ({strerror}).",
        tr("Choose another: --port N, or --port 0 for any that is free."),
        port=port,
        host=host,
        strerror=getattr(exc, "strerror", None) or exc,
    )


def address_of(bound: socket.socket) -> str:
    """Write an address as a URL."""
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Server(uvicorn.Server):
    """Serves until a signal comes; then it ends what is under way, and returns.

    Parameters
    ----------
    timeout_s : float
        How long a request and its answer may each take.
    note_ready : callable
        Is called once requests are answered.
    """

    def __init__(
        self, service: Service, timeout_s: float, note_ready: Callable[[], None] = lambda: None
    ) -> None:
        self._service, self._note_ready = service, note_ready
        config = uvicorn.Config(
            service.app(),
            http=bounded_protocol(2 * timeout_s),
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=_KEEP_ALIVE_S,
            timeout_graceful_shutdown=max(1, round(timeout_s)),
        )
        super().__init__(config)

    def listen(self, bound: socket.socket) -> None:
        """Answer requests until asked to stop; a UsageError if another program listens by now."""
        with bound:
            try:
                bound.listen()
            except OSError as exc:
                host, port = bound.getsockname()[:2]
                raise _not_to_be_had(host, port, exc) from exc
            self.run(sockets=[bound])
        self._service.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say so."""
        await super().startup(sockets)
        self._note_ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the signals that end a program, but for those that are ignored.

        uvicorn's own way raises them again at the end, as if it had been interrupted.
        """
        if threading.current_thread() is not threading.main_thread():  # hears no signals
            yield
            return
        before = {number: signal.getsignal(number) for number in _STOPPING}
        heard = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
        for number in heard:
            signal.signal(number, self.handle_exit)
        try:
            yield
        finally:
            for number in heard:
                signal.signal(number, before[number])


def bounded_protocol(patience_s: float) -> type[asyncio.Protocol] | str:
    """Give what uvicorn takes as `http`: its own, with a time limit for a request and its answer.

    uvicorn has no such limit, and the class is not of its public parts. Where it is gone,
    connections are served as uvicorn does by itself: with all answers, and as long as a client
    takes.
    """
    try:
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError:
        return "auto"
    return type("BoundedProtocol", (_Bounded, H11Protocol), {"patience_s": patience_s})


class _Bounded(asyncio.Protocol):
    """Closes connections whose clients take too long to send a request or to take its answer."""

    patience_s: float
    # Of uvicorn's protocol.
    conn: h11.Connection
    cycle: Any
    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _watch: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._begin_watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the wait."""
        super().connection_lost(exc)
        self._end_watch()

    def data_received(self, data: bytes) -> None:
        """Begin to wait for the rest of a request, if this is its start."""
        if self.cycle is not None and self._is_idle():
            self._begin_watch()
        super().data_received(data)

    def on_response_complete(self) -> None:
        """End the wait, unless the client has yet to take the answer, or to end its request."""
        super().on_response_complete()  # type: ignore[misc]
        if self._is_idle():
            self._end_watch()

    def _is_idle(self) -> bool:
        return (
            self.cycle is not None
            and self.cycle.response_complete
            and self.conn.their_state is not h11.SEND_BODY
            and not self.conn.trailing_data[0]
            and not self.transport.get_write_buffer_size()
        )

    def _begin_watch(self) -> None:
        self._end_watch()
        self._watch = self.loop.call_later(self.patience_s, self._give_up)

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def _give_up(self) -> None:
        if not self._is_idle():
            self.transport.abort()
