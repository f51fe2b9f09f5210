"""What becomes of `waterflow serve` under bodies and requests that are made to harm it.

    python benchmarks/attack_serve.py --times 200

Starts a server on simulated samples, and sends each kind of request so often, altered by chance.
For each kind it prints the answers, the slowest, and the largest memory of the server; after
each it asks for a score and for the health, which must be what they were.
"""

from __future__ import annotations

import argparse
import bz2
import gzip
import io
import json
import lzma
import socket
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

from bench_serve import free_port, ours, prepare, resident_mb, serving
from measure import describe_machine, print_check

MAX_BYTES, TIMEOUT_S = 10_000_000, 5.0
NAMES = (
    "ph Hardness Solids Chloramines Sulfate Conductivity Organic_carbon Trihalomethanes Turbidity"
)
FIELDS = NAMES.split()
SAMPLE = dict.fromkeys(FIELDS, 5.0)
GOOD = json.dumps({"samples": [SAMPLE]}).encode()
CSV = (",".join(FIELDS) + "\n" + ",".join("7" * len(FIELDS)) + "\n").encode()
ZEROS = bytes(10_000_000)
Make = Callable[[Random], bytes]


def post(body: bytes, kind: str = "application/json", *headers: str) -> bytes:
    """Write a request with its true length."""
    named = (f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers)
    return head(*named) + body


def head(*headers: str) -> bytes:
    """Write the head of a request."""
    lines = ("POST /score HTTP/1.1", "Host: localhost", *headers, "", "")
    return "\r\n".join(lines).encode("latin-1")


def json_of(make: Callable[[Random], bytes | str]) -> Make:
    """Send what is made as JSON."""

    def request(random: Random) -> bytes:
        body = make(random)
        return post(body if isinstance(body, bytes) else body.encode("utf-8", "surrogatepass"))

    return request


def csv_of(make: Callable[[Random], bytes]) -> Make:
    """Send what is made as CSV."""
    return lambda random: post(make(random), "text/csv")


def altered(random: Random, text: bytes) -> bytes:
    """Change some bytes of a text, or cut it short."""
    data = bytearray(text)
    for _ in range(random.randint(1, 8)):
        place = random.randrange(len(data))
        match random.randrange(3):
            case 0:
                data[place] = random.randrange(256)
            case 1:
                del data[place : place + random.randint(1, 20)]
            case _:
                data[place:place] = random.randbytes(random.randint(1, 20))
        data = data or bytearray(b"x")
    return bytes(data)


def deep(random: Random) -> str:
    """Nest lists and objects."""
    n = random.choice((100, 990, 5_000, 100_000, 1_000_000))
    opening, closing = random.choice((("[", "]"), ('{"a":', "}"), ('[{"samples":', "}]")))
    whole = opening * n + "1" + closing * n
    return random.choice((whole, opening * n, f'{{"samples": [{{"ph": {whole}}}]}}'))[
        : MAX_BYTES - 9
    ]


def odd_text(random: Random) -> bytes:
    """Encode good JSON as something else than UTF-8, or break it."""
    text = GOOD.decode()
    return random.choice(
        (
            text.encode("utf-16"),
            text.encode("utf-32"),
            text.encode("utf-8-sig"),
            GOOD.replace(b"ph", b"p\xff"),
            GOOD.replace(b"5.0", b'"\\ud800"', 1),
            GOOD.replace(b"5.0", b'"\xed\xa0\x80"', 1),
            b"\x00" + GOOD,
            random.randbytes(200),
        )
    )


def large_values(random: Random) -> bytes:
    """Put numbers, texts and names of millions of characters into a sample."""
    n = random.choice((5_000, 100_000, 9_000_000))
    value = random.choice((b"9" * n, b"1e" + b"9" * n, b"0." + b"3" * n, b'"' + b"<" * n + b'"'))
    name = random.choice((b'"ph"', b'"' + b"x" * random.choice((9, 500_000)) + b'"'))
    return b'{"samples": [{' + name + b": " + value + b"}]}"


def many_things(random: Random) -> bytes:
    """Fill a body with as many lists, objects, names or samples as it can hold."""
    unit = random.choice((b"[],", b"{},", b'{"ph":1},', b"1,", b'"",'))
    filled = unit * (MAX_BYTES // len(unit) - 20)
    names = ",".join(f'"{number}":1' for number in range(500_000)).encode()
    return random.choice(
        (b'{"samples": [' + filled[:-1] + b"]}", b'{"samples": [{' + names + b"}]}")
    )


def odd_csv(random: Random) -> bytes:
    """Make tables that are none, or are hard to tell from some."""
    header = CSV.partition(b"\n")[0] + b"\n"
    n = random.choice((1_000, 100_000, 4_000_000))
    return random.choice(
        (
            random.randbytes(n),
            header + b'"' * n,
            header + b'"' + b"x" * n,
            header + b"," * n,
            header + b"\n" * n,
            header + b"\r" * n,
            header + b"\0" * n,
            header + b" " * n,
            header + b"1\t;|," * (n // 5),
            header + b"#" * n,
            b"," * n + b"\n" + b"," * n,
            b"ph" * n,
            header + b"(" * n + b")" * 9,
            header + b"0" * n + b"." + b"0" * n,
            (header + b"1,2,3,4,5,6,7,8,9\n" * (n // 18)).replace(b"9\n", b'9"\n', 1),
            header.decode().encode("utf-16") + b"x" * n,
        )
    )[:MAX_BYTES]


def bomb(random: Random) -> bytes:
    """Compress ten megabytes of zeros a thousandfold and more, and send that in each way."""
    plain = random.choice((ZEROS, CSV + ZEROS))
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("a.csv", plain)
    body = random.choice(
        (
            gzip.compress(gzip.compress(plain)),
            gzip.compress(plain),
            bz2.compress(plain),
            lzma.compress(plain),
            archive.getvalue(),
            b"PAR1" + gzip.compress(plain) + b"PAR1",
        )
    )
    body *= random.choice((1, 1, max(1, 4_000_000 // len(body))))
    coding = random.choice(
        ("gzip", "deflate", "br", "zstd", "x-gzip", "gzip, gzip", "identity", "")
    )
    headers = [f"Content-Encoding: {coding}"] if coding else []
    return post(body, random.choice(("text/csv", "application/json")), *headers)


def odd_head(random: Random) -> bytes:
    """Break the rules of HTTP: lengths, chunks, lines, headers without end."""
    kind = "Content-Type: text/csv"
    chunked = "Transfer-Encoding: chunked"
    return random.choice(
        (
            *(
                head(kind, f"Content-Length: {length}") + CSV
                for length in ("-1", "+5", "1e3", "9" * 5_000, "5, 5", "0x10", "\xb2", "")
            ),
            head(kind, "Content-Length: 5", "Content-Length: 6") + CSV,
            head(kind, "Content-Length: 5", chunked) + b"0\r\n\r\n",
            head(kind, "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
            head(kind, "Transfer-Encoding: chunked", chunked) + b"0\r\n\r\n",
            *(
                head(kind, chunked) + chunk
                for chunk in (
                    b"zz\r\n", b"-1\r\nx", b"f" * 5_000, b"5;" + b"x" * 500_000, b"1\r\nxy\r\n",
                    b"ffffffffffffffff\r\nx", b"1\r\nx\r\n" * 100_000 + b"0\r\n\r\n",
                    b"0\r\n" + b"a: b\r\n" * 50_000 + b"\r\n",
                )
            ),
            head(kind, *(f"X-{number}: y" for number in range(20_000))),
            head(kind, "X: " + "y" * 2_000_000),
            head(kind, "X\0Y: z"),
            head(kind, "X : y"),
            head(kind, " folded: y"),
            b"GET /" + b"a" * 2_000_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"GET /%00%0a%1b[31m\xe2\x80\xae HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00" + random.randbytes(500),
            head(kind, "Upgrade: websocket", "Connection: Upgrade", "Content-Length: 0"),
            head(kind, "Expect: 100-continue", f"Content-Length: {len(CSV)}") + CSV,
            post(GOOD) * 50,
            altered(random, post(GOOD)),
            random.randbytes(3_000),
        )
    )  # fmt: skip


KINDS: dict[str, Make] = {
    "requests that break the rules of HTTP": odd_head,
    "JSON, some bytes changed": json_of(lambda random: altered(random, GOOD)),
    "CSV, some bytes changed": csv_of(lambda random: altered(random, CSV)),
    "JSON nested up to a million deep": json_of(deep),
    "JSON that is not UTF-8": json_of(odd_text),
    "numbers, texts and names of up to 9 MB": json_of(large_values),
    "10 MB of small things": json_of(many_things),
    "tables that are none": csv_of(odd_csv),
    "compressed bodies": bomb,
}


def send(port: int, request: bytes) -> str:
    """Send a request and give the status of its first answer; `none` where the line was cut."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
        with suppress(OSError):  # the server has answered, and reads no more
            line.sendall(request)
        try:
            answer = line.recv(64)
        except ConnectionError:
            return "none"
    return answer.split(b" ")[1].decode() if answer.startswith(b"HTTP/1.1 ") else "none"


def attack(port: int, pid: int, times: int, seed: int) -> None:
    """Print what became of each kind of request."""
    print(
        "| kind | requests | answers | slowest s | server MB |\n| --- | ---: | --- | ---: | ---: |"
    )
    slowest, unwell, defects = 0.0, 0, 0
    for kind, make in KINDS.items():
        random, found, longest, memory = Random(seed), Counter[str](), 0.0, 0.0
        for _ in range(times):
            request, start = make(random), time.perf_counter()
            found[send(port, request)] += 1
            longest = max(longest, time.perf_counter() - start)
            memory = max(memory, resident_mb(pid))
        well = (
            send(port, post(GOOD)),
            send(port, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"),
        )
        unwell += well != ("200", "200")
        defects += found["500"]
        slowest = max(slowest, longest)
        answers = ", ".join(f"{count} of {status}" for status, count in sorted(found.items()))
        print(f"| {kind} | {times} | {answers} | {longest:.2f} | {memory:.0f} |", flush=True)
    print()
    print_check("kinds after which the server did not answer", unwell, 0)
    print_check("defects (500)", defects, 0)
    # The slowest bodies are cut off at twice the limit; a second is for what comes after that.
    print_check("slowest answer, s", slowest, 2 * TIMEOUT_S + 1)


def main() -> None:
    """Run it all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=200, help="how often each kind is sent")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waterflow-bench-") as name:
        folder, port = Path(name), free_port()
        prepare(folder)
        print(describe_machine())
        options = ("--max-bytes", str(MAX_BYTES), "--timeout-s", str(TIMEOUT_S))
        with serving(folder, ours(1, port, *options), port) as pid:
            attack(port, pid, args.times, args.seed)
        log = (folder / "server.log").read_text("utf-8", "replace")
        print_check("lines of the log with a traceback", log.count("Traceback"), 0)
        print_check("characters of the log that command a terminal", log.count("\x1b"), 0)


if __name__ == "__main__":
    main()
