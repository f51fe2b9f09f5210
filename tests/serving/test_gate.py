"""Who may ask: those with the token; without one, nobody whom a page in a browser could be."""

from __future__ import annotations

import pytest
from servers import running

from waterflow_cli.serving.gate import is_this_machine
from waterflow_cli.serving.served_model import ModelWatch

OWN = ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.8.9.1", "[::1]", "[::1]:65535"]
FOREIGN = [
    "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example",
    "evil.example#localhost", "localhost@evil.example", "localhost:80@evil.example", "10.0.0.1",
    "192.168.1.2", "[::2]", "127.0.0.1:8000/x", "localhost:", "127.1", "0.0.0.0",
    "localhost\u0435", " ", "*",
]  # fmt: skip
PATHS = ["/score", "/health", "/model", "/metrics", "/openapi.json", "/nowhere"]


@pytest.fixture(scope="module")
def watch(store_uri: str) -> ModelWatch:
    return ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)


@pytest.mark.parametrize("name", OWN)
def test_names_of_this_machine_are_known(name):
    assert is_this_machine(name.encode())
    assert is_this_machine(f"http://{name}".encode())


@pytest.mark.parametrize("name", FOREIGN)
def test_other_names_are_not(name):
    assert not is_this_machine(name.encode())
    assert not is_this_machine(f"https://{name}".encode())


def test_no_page_can_ask_by_a_name_that_stands_for_this_machine(watch):
    with running(watch) as server:
        for path in PATHS:
            for host in FOREIGN[:5]:
                reply = server.ask("GET", path, host=host)
                assert (reply.status, host in reply.body.decode()) == (403, False)
                assert "access-control-allow-origin" not in reply.headers
        assert server.ask("GET", "/health", host="localhost:1").status == 200
        assert "Host names another machine" in reply.content["detail"]


def test_no_page_from_elsewhere_can_ask(watch):
    with running(watch) as server:
        for origin in (*(f"http://{host}" for host in FOREIGN[:5]), "null", "file://", ""):
            assert server.ask("POST", "/score", b"{}", origin=origin).status == 403
            assert server.ask("OPTIONS", "/score", origin=origin).status == 403
        own = server.ask("GET", "/model", origin="http://localhost:3000")
        assert (own.status, "access-control-allow-origin" in own.headers) == (200, False)


def test_a_request_without_a_host_or_with_two_is_none_of_a_browser(watch):
    with running(watch) as server:
        for head, status in (
            (b"GET /health HTTP/1.0\r\n\r\n", b"200"),
            (b"GET /health HTTP/1.1\r\n\r\n", b"400"),
            (b"GET /health HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b"400"),
            (b"GET /health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil\r\n\r\n", b"403"),
            (b"GET http://evil.example/health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"404"),
        ):
            with server.connect() as raw:
                raw.sendall(head)
                assert raw.recv(4096).split(b" ")[1] == status


@pytest.mark.parametrize("chosen", [{"token": "a-token-of-some-length"}, {"is_open": True}])
def test_any_name_will_do_where_others_may_ask(chosen, watch):
    with running(watch, **chosen) as server:
        assert server.ask("GET", "/health", host="water.example").status == 200
        described = server.ask(
            "GET",
            "/openapi.json",
            host="water.example",
            authorization=f"Bearer {chosen.get('token')}",
        )
        assert "403" not in described.content["paths"]["/score"]["post"]["responses"]
