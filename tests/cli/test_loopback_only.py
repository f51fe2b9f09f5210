"""Nothing is sent anywhere: each command runs where connections beyond loopback fail."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Python reads it at the start of each process, of the commands and of all that they start.
GUARD = r"""
import ipaddress, os, sys

LOG = os.environ["ATTEMPTS"]

def note(event, what):
    with open(LOG, "a") as log:
        log.write(f"{event} {what!r} {sys.argv}\n")

def watch(event, args):
    if event in ("socket.connect", "socket.sendto"):
        address = args[1]
        if isinstance(address, tuple) and not ipaddress.ip_address(address[0]).is_loopback:
            note(event, address)
            raise OSError(101, "Network is unreachable")
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = args[0]
        host = host.decode() if isinstance(host, bytes) else host
        if host not in (None, "", "localhost", "127.0.0.1", "::1", "0.0.0.0"):
            note(event, host)
            raise OSError(-3, "Temporary failure in name resolution")

sys.addaudithook(watch)
"""
RUN = """
import shlex, sys
from waterflow_cli.main import main
for line in sys.stdin.read().splitlines():
    try:
        main(shlex.split(line))
    except SystemExit as stopped:
        print("ENDED", stopped.code, line, flush=True)
"""
COMMANDS = """
simulate --rows 300 --signal 0.9 -o a.csv
simulate --rows 300 --seed 2 --signal 0.9 -o b.csv
validate a.csv
explore a.csv -o a.html
train a.csv --plugin rf --param n_estimators=50 --cv 3x1 --report report.html
train a.csv --plugin hgb --cv 3x1
evaluate b.csv
compare a.csv --plugin logreg,hgb --cv 3x1
score b.csv -o scored.csv --manifest m.json --explain 2
score b.csv -o scored.parquet
monitor b.csv -o monitor.html
replay scored.csv --model 2
retrain --with b.csv
models list
models show @champion
models promote 2
models rollback
models history
models export 1 -o one.zip
models import one.zip --name other
plugins list
plugins check logreg
plugins new mine
schemas list
schemas show water
profiles list
limits list
doctor
demo
score http://example.com/a.csv -o x.csv
score b.csv -o x.csv --model https://example.com/model
""".strip().splitlines()


@pytest.fixture
def guarded(workdir: Path, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "guard").mkdir()
    (tmp_path / "guard" / "sitecustomize.py").write_text(GUARD)
    return {
        **os.environ,
        "PYTHONPATH": str(tmp_path / "guard"),
        "ATTEMPTS": str(tmp_path / "attempts"),
    }


def test_the_guard_sees_what_would_leave(guarded, tmp_path):
    for what in ("create_connection(('192.0.2.1', 9), 1)", "getaddrinfo('example.com', 80)"):
        script = f"import socket; socket.{what}"
        done = subprocess.run(
            [sys.executable, "-c", script], env=guarded, capture_output=True, check=False
        )
        assert done.returncode == 1
    assert len((tmp_path / "attempts").read_text().splitlines()) == 2


@pytest.mark.slow
def test_no_command_asks_for_more_than_loopback(guarded, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", RUN], input="\n".join(COMMANDS), env=guarded,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ended = [
        line.split(" ", 2)[1:] for line in done.stdout.splitlines() if line.startswith("ENDED ")
    ]
    assert [line for _, line in ended] == COMMANDS
    # The last two name what is not on this machine, and are refused without a look at it.
    refused = [line for code, line in ended[:-2] if code not in ("0", "1")]
    assert not refused, f"{refused}\n{done.stderr[-6000:]}"
    assert [code for code, _ in ended[-2:]] == ["3", "4"]
    assert not (tmp_path / "attempts").exists(), (tmp_path / "attempts").read_text()
