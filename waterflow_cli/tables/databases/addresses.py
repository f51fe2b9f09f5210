"""Addresses of tables in databases, and connections to them.

``sqlite:FILE?TABLE``, ``duckdb:FILE?TABLE``, ``postgresql://USER@HOST/DATABASE?TABLE``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa

from waterflow_cli.common.credentials import password_of, redact
from waterflow_cli.common.errors import InputError, UsageError, shorten
from waterflow_cli.common.messages import tr

_ADDRESS = re.compile(
    r"(?s)(?P<kind>sqlite|duckdb):(?P<file>[^?]+)\?(?P<what>.+)"
    r"|(?P<server>postgres(?:ql)?://[^?]*)\?(?P<settings>(?:[a-z_]+=[^&\s]*&)*)(?P<asked>.+)"
)
_NAMED = re.compile(r"(?:sqlite|duckdb):.|postgres(?:ql)?://")
_QUERY = re.compile(r"(?is)\s*(?:select|with)\s")
_EXAMPLE = "sqlite:lab.db?samples"
BATCH_ROWS = 1 << 14
_EXTRAS = {"duckdb": "database", "postgresql": "postgres"}
TITLES = {"sqlite": "SQLite", "duckdb": "DuckDB", "postgresql": "PostgreSQL"}


@dataclass(frozen=True)
class Address:
    """Where a table stands.

    Attributes
    ----------
    path : str
        As the user typed it, without a password.
    kind : str
        ``sqlite``, ``duckdb`` or ``postgresql``.
    place : str
        The file, or the URI of the server.
    asked : str
        The table, or a query.
    """

    path: str
    kind: str
    place: str
    asked: str

    @property
    def target(self) -> tuple[str, str]:
        """The same for all ways to write one address."""
        is_file = self.kind != "postgresql"
        return str(Path(self.place).resolve()) if is_file else self.place, self.asked

    @property
    def is_query(self) -> bool:
        """Whether rows are asked for by a query."""
        return _QUERY.match(self.asked) is not None


def is_database(path: str) -> bool:
    """Tell an address of a database from a path.

    >>> is_database("sqlite:lab.db?samples"), is_database("a.csv")
    (True, False)
    """
    return _NAMED.match(path) is not None


def refuse_databases(option: str, paths: Sequence[str | None]) -> None:
    """Refuse addresses of databases where an option cannot do with them, by a UsageError."""
    for path in paths:
        if path is not None and is_database(path):
            raise UsageError(
                "{option}: {path} is in a database.",
                tr("Leave the option out, or name a file."),
                option=option,
                path=redact(path),
            )


def lasting_address(path: str) -> str:
    """Give an address that means the same in any folder."""
    address = parse_address(path)
    if address.kind == "postgresql":
        return path
    return f"{address.kind}:{Path(address.place).absolute()}?{address.asked}"


def parse_address(path: str) -> Address:
    """Read an address.

    Raises
    ------
    UsageError
        If it names no table.
    """
    found = _ADDRESS.fullmatch(path)
    if found is None:
        raise UsageError(
            "{path}: names no table.",
            tr("As in {example}, or with a query in the place of the table.", example=_EXAMPLE),
            path=redact(path),
        )
    if found["kind"]:
        return Address(path, found["kind"], found["file"], found["what"].strip())
    settings = found["settings"].rstrip("&")
    place = found["server"] + (f"?{settings}" if settings else "")
    return Address(path, "postgresql", place, found["asked"].strip())


@contextmanager
def reading(address: Address) -> Iterator[Any]:
    """Connect so that nothing can be written."""
    if address.kind != "postgresql":
        _check_file(address)
    if address.kind == "sqlite":
        import sqlite3

        uri = f"file:{quote(str(Path(address.place).absolute()))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, check_same_thread=False)) as connection:
            yield connection
    elif address.kind == "duckdb":
        with connect_duckdb(address, read_only=True) as connection:
            yield connection
    else:
        with connect_postgres(address) as connection:
            connection.read_only = True
            yield connection


def _check_file(address: Address) -> None:
    """Refuse a file that is not there, or is none of the database."""
    try:
        with Path(address.place).open("rb") as file:
            start = file.read(16)
    except OSError as exc:
        raise InputError(
            address.path,
            "cannot be opened ({cause}).",
            cause=exc.strerror,
            hint=tr("Check the name and the folder."),
        ) from exc
    is_sqlite, is_duckdb = start in (b"", b"SQLite format 3\0"), start[8:12] == b"DUCK"
    if not (is_sqlite if address.kind == "sqlite" else is_duckdb):
        raise InputError(address.path, "is no database of {name}.", name=TITLES[address.kind])


def connect_duckdb(address: Address, *, read_only: bool) -> Any:
    """Open a file; DuckDB would fetch what it lacks from the network, and read other files."""
    config = {"enable_external_access": "false"}
    return library(address).connect(address.place, read_only=read_only, config=config)


def connect_postgres(address: Address) -> Any:
    """Connect to a server, with the password that stood in its address, if one did."""
    password = password_of(address.place.partition("?")[0])
    known = {} if password is None else {"password": password}
    return library(address).connect(address.place, client_encoding="utf8", **known)


def library(address: Address) -> Any:
    """Import what speaks with a database, or name what has to be installed."""
    try:
        if address.kind == "duckdb":
            import duckdb

            return duckdb
        import psycopg
    except ImportError as exc:
        raise UsageError(
            "{path}: {library} is not installed.",
            tr("Install it: pip install 'waterflow-cli[{extra}]'", extra=_EXTRAS[address.kind]),
            path=address.path,
            library=TITLES[address.kind],
        ) from exc
    return psycopg


_TABLES = {
    "sqlite": "SELECT NULL, name FROM sqlite_master WHERE type IN ('table', 'view') ORDER BY name",
    "duckdb": "SELECT table_schema, table_name FROM information_schema.tables "
    "ORDER BY table_schema <> 'main', 1, 2",
    "postgresql": "SELECT table_schema, table_name FROM information_schema.tables "
    "WHERE table_schema NOT IN ('pg_catalog', 'information_schema') "
    "ORDER BY table_schema <> current_schema(), 1, 2",
}


def find_table(address: Address, connection: Any) -> tuple[str, ...]:
    """Find a table as the database's own catalogue names it; an InputError names those there."""
    found = look_up(address, connection)
    if found is None:
        rows = connection.execute(_TABLES[address.kind]).fetchall()
        names = shorten(name for _, name in rows) if rows else tr("none")
        raise InputError(
            address.path,
            "there is no table '{name}'; the database has: {names}.",
            name=address.asked,
            names=names,
        )
    return found


def look_up(address: Address, connection: Any) -> tuple[str, ...] | None:
    """Find a table by its name, with or without its schema."""
    for schema, name in connection.execute(_TABLES[address.kind]).fetchall():
        if address.asked in (name, f"{schema}.{name}"):
            return (name,) if schema is None else (schema, name)
    return None


def quoted(names: Sequence[str]) -> str:
    """Write a name, or a schema and a name, for SQL.

    >>> quoted(["lab", 'a"b'])
    '"lab"."a""b"'
    """
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


@contextmanager
def database_errors(address: Address, said: Callable[[str], Exception]) -> Iterator[None]:
    """Turn what a database says into an error that names the address, and no password."""
    try:
        yield
    except _errors_of(address) as exc:
        secret = password_of(address.place.partition("?")[0])
        cause = redact(" ".join(str(exc).split()))
        cause = cause.replace(secret, "***") if secret else cause
        raise said(cause[:300]) from exc


def _errors_of(address: Address) -> tuple[type[Exception], ...]:
    if address.kind == "sqlite":
        import sqlite3

        return (sqlite3.Error, UnicodeDecodeError, pa.ArrowException)
    with suppress(UsageError):
        return (library(address).Error, pa.ArrowException)
    return ()
