"""A time limit for connections, around uvicorn's own protocol for HTTP.

uvicorn has no such limit, and the class is not of its public parts. Where it is gone, connections
are served as uvicorn does by itself: with all answers, and as long as a client takes.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11


def bounded_protocol(patience_s: float) -> type[asyncio.Protocol] | str:
    """Give what uvicorn takes as `http`.

    Parameters
    ----------
    patience_s : float
        How long a client may take for a request, and to take its answer.
    """
    try:
        from uvicorn.protocols.http.h11_impl import H11Protocol
    except ImportError:
        return "auto"
    return type("BoundedProtocol", (_Bounded, H11Protocol), {"patience_s": patience_s})


class _Bounded(asyncio.Protocol):
    """Closes connections whose clients take too long to send a request or to take its answer.

    uvicorn waits for headers, and for an answer to be taken, as long as it lasts.
    """

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
