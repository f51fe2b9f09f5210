"""Passwords, tokens and keys are in nothing that is said or written, tracebacks included."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Cli

SECRETS = {
    "WATERFLOW_SERVE_TOKEN": "hunter2-token-of-the-server",
    "MLFLOW_TRACKING_TOKEN": "hunter2-bearer",
    "MLFLOW_TRACKING_PASSWORD": "hunter2-basic",
    "AWS_SECRET_ACCESS_KEY": "hunter2-aws",
    "PGPASSWORD": "hunter2-postgres",
}
# Escaped, with marks that end a password elsewhere, and as a parameter.
URIS = [
    "postgresql://ana:hunter2@127.0.0.1:1/none",
    "postgresql://ana:hunter2%40x@127.0.0.1:1/none?sslpassword=hunter2",
    "postgresql+psycopg2://127.0.0.1:1/none?user=ana&password=hunter2",
    "mysql://ana:hunter2@127.0.0.1:1/none",
    "nosuch://ana:hunter2@127.0.0.1:1/none",
]
COMMANDS = [
    "train a.csv --plugin logreg --cv 3x1",
    "score a.csv -o out.csv --manifest m.json",
    "monitor a.csv",
    "evaluate a.csv",
    "retrain --with a.csv",
    "models list",
    "models promote 1",
    "serve --port 0",
    "ui",
    "doctor",
]


@pytest.mark.parametrize(
    "uri", [URIS[0], *(pytest.param(uri, marks=pytest.mark.slow) for uri in URIS[1:])]
)
def test_the_password_of_a_store_is_not_shown(uri, cli: Cli, samples, monkeypatch):
    Path("a.csv").write_bytes(samples.read_bytes())
    for command in COMMANDS:
        done = cli(*command.split(), "--tracking-uri", uri, "--debug")
        assert done.code in (1, 2, 4), (command, done.err)
        assert "hunter2" not in done.out + done.err, command
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = cli("score", "a.csv", "-o", "out.csv", "-v", "--json")
    assert (done.code, "hunter2" in done.out + done.err) == (4, False)
    assert [path.name for path in Path().iterdir()] == ["a.csv"]


@pytest.mark.slow
def test_secrets_of_the_environment_are_written_nowhere(cli: Cli, samples, monkeypatch):
    for name, secret in SECRETS.items():
        monkeypatch.setenv(name, secret)
    Path("a.csv").write_bytes(samples.read_bytes())
    for command in (
        "train a.csv --plugin logreg --cv 3x1 --report report.html -v",
        "score a.csv -o out.csv --manifest m.json --debug",
        "monitor a.csv -o monitor.html",
        "models export 1 -o one.zip",
        "models show 1 --json",
        "doctor --json",
    ):
        done = cli(*command.split())
        assert done.code in (0, 1), done.err
        assert "hunter2" not in done.out + done.err
    written = [path for path in Path().rglob("*") if path.is_file()]
    assert len(written) > 20
    assert not [path for path in written if b"hunter2" in path.read_bytes()]
