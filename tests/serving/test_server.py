"""Connections have a time limit, and are served without it where uvicorn's class is gone."""

from __future__ import annotations

from servers import running

from waterflow_cli.serving.served_model import ModelWatch
from waterflow_cli.serving.server import bounded_protocol


def test_without_uvicorns_private_class_answers_are_the_same(store_uri, monkeypatch):
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)

    def ask():
        with running(watch) as server:
            replies = [
                server.ask("GET", "/health"),
                server.ask("GET", "/nowhere"),
                server.score({"samples": [{"ph": 7}]}),
            ]
            return [(reply.status, reply.body) for reply in replies]

    import uvicorn.protocols.http.auto  # noqa: F401 (what uvicorn chooses by itself stays)

    bounded = ask()
    monkeypatch.delattr("uvicorn.protocols.http.h11_impl.H11Protocol")
    assert bounded_protocol(1.0) == "auto"
    assert ask() == bounded
