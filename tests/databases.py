"""A PostgreSQL of this machine, on loopback and with a password, for as long as tests need it."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import pytest
from clusters import free_ports

# What must be escaped in a URI, and what nobody would write by chance.
PASSWORD = "p@ss:w/rd? &%41+x#é"
USER, DATABASE = "ana", "postgres"


def find_postgres() -> Path | None:
    """Find the folder of initdb and pg_ctl: Debian keeps them out of PATH."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"))
    found = str(debian[-1]) if debian else shutil.which("pg_ctl")
    return Path(found).parent if found else None


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    programs: Path
    folder: Path
    port: int
    account: str | None

    def uri(self, password: str = PASSWORD, database: str = DATABASE) -> str:
        """Give the URI of a database, the password escaped."""
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{database}"

    def dump(self) -> str:
        """Give all that the server holds, as SQL."""
        program = [str(self.programs / "pg_dumpall"), "--no-role-passwords"]
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-l", DATABASE]
        environ = {**os.environ, "PGPASSWORD": PASSWORD}
        done = subprocess.run([*program, *where], env=environ, capture_output=True, check=True)
        return done.stdout.decode("utf-8")

    def stop(self) -> None:
        """Stop as a machine that is switched off: connections break."""
        self.run("pg_ctl", "stop", "-m", "immediate", "-w")

    def run(self, program: str, *args: str) -> None:
        """Run a program of PostgreSQL on the server's folder; it refuses to run as root."""
        with (self.folder / "postgres.log").open("ab") as log:
            subprocess.run(
                [str(self.programs / program), "-D", str(self.folder / "data"), *args],
                user=self.account,
                cwd=self.folder,
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                timeout=60,
            )


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Run a new server until the context ends; skip the test where there is no PostgreSQL."""
    programs = find_postgres()
    if programs is None:
        pytest.skip("no PostgreSQL is installed here")
    account = _account()
    folder = Path(tempfile.mkdtemp(prefix="waterflow-pg-"))
    try:
        if account is not None:
            shutil.chown(folder, account)
        [port] = free_ports(1)
        server = Postgres(programs, folder, port, account)
        secret = folder / "password"
        secret.write_text(PASSWORD, "utf-8")
        if account is not None:
            shutil.chown(secret, account)
        server.run(
            "initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "-N"
        )
        options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
        server.run("pg_ctl", "start", "-w", "-l", str(folder / "server.log"), "-o", options)
        try:
            yield server
        finally:
            pid_file = folder / "data" / "postmaster.pid"
            if pid_file.exists():
                os.kill(int(pid_file.read_text().split()[0]), signal.SIGQUIT)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _account() -> str | None:
    """Name the account that the server runs under, where that is another one."""
    if os.getuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("PostgreSQL does not run as root, and there is no account 'postgres'")
