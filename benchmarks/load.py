"""Ask an HTTP server over and over, on connections that are kept, and check each answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Request:
    """What is sent, and what must come back.

    Attributes
    ----------
    statuses : tuple of int
        Those that are right.
    answer : bytes
        The right body of a 200; None if any is.
    """

    path: str
    body: bytes
    media_type: str = "application/json"
    statuses: tuple[int, ...] = (200,)
    answer: bytes | None = None

    def text(self) -> bytes:
        """The request as it goes over the wire."""
        head = (
            f"POST {self.path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {self.media_type}\r\n"
            f"Content-Length: {len(self.body)}\r\n\r\n"
        )
        return head.encode() + self.body


@dataclass
class Load:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    latencies_s: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Answers a second."""
        return sum(self.statuses.values()) / self.seconds

    def quantile_ms(self, share: float) -> float:
        """The time within which a share of the answers came."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def ask(connection: Connection, text: bytes) -> tuple[int, bytes]:
    """Send a request and read its answer."""
    reader, writer = connection
    writer.write(text)
    await writer.drain()
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    length = int(head.partition("content-length:")[2].partition("\r\n")[0])
    return int(head.split(" ", 2)[1]), await reader.readexactly(length)


async def keep_asking(port: int, requests: Sequence[Request], until: float, load: Load) -> None:
    """Send the requests in turn, one at a time, and note what is wrong with an answer."""
    connection: Connection | None = None
    number = 0
    while time.perf_counter() < until:
        request = requests[number % len(requests)]
        number += 1
        start = time.perf_counter()
        try:
            connection = connection or await asyncio.open_connection("127.0.0.1", port)
            status, body = await ask(connection, request.text())
        except (OSError, asyncio.IncompleteReadError) as exc:
            connection = None
            load.wrong.append(f"{request.path}: {type(exc).__name__}")
            continue
        load.latencies_s.append(time.perf_counter() - start)
        load.statuses[status] += 1
        if status not in request.statuses:
            load.wrong.append(f"status {status} instead of {request.statuses}: {body[:200]!r}")
        elif status == 200 and request.answer is not None and body != request.answer:
            load.wrong.append(f"another answer: {body[:200]!r}")
    if connection is not None:
        connection[1].close()


async def dribble(port: int, until: float) -> None:
    """Send a request byte by byte, and another that never ends, and go away in the middle."""
    start = b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\nContent-Le"
    while time.perf_counter() < until:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            for byte in start + b"ngth: 999999\r\n\r\nph,Hardness":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.02)
            await asyncio.sleep(min(5, max(0, until - time.perf_counter())))
        writer.close()


def run_load(port: int, mixes: Sequence[Sequence[Request]], *, seconds: float, slow: int) -> Load:
    """Keep one connection for each mix of requests, and some slow clients, for some seconds."""
    load = Load()

    async def run() -> None:
        start = time.perf_counter()
        until = start + seconds
        asking = [keep_asking(port, mix, until, load) for mix in mixes]
        await asyncio.gather(*asking, *(dribble(port, until) for _ in range(slow)))
        load.seconds = time.perf_counter() - start

    asyncio.run(run())
    return load
