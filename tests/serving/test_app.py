"""The server: what it answers, what it refuses, and that it takes up a new model."""

from __future__ import annotations

import csv
import http.client
import json
import shutil
import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from laws import tried_on
from mlflow import MlflowClient
from servers import Reply, Running, running, wait_for

from waterflow_cli.common.errors import ModelError, PluginError, UsageError, WaterflowError
from waterflow_cli.registry.stores import connect
from waterflow_cli.serving.app import Service
from waterflow_cli.serving.judging import CSV, JSON, judge
from waterflow_cli.serving.options import ServingOptions, read_token
from waterflow_cli.serving.problems import RequestError
from waterflow_cli.serving.samples import SampleLayout, field_names, parse_samples
from waterflow_cli.serving.served_model import ModelWatch, ServedModel
from waterflow_cli.serving.server import Server, address_of, bind
from waterflow_cli.tables.reading_options import ReadingOptions

TOKEN = "a-token-of-some-length"
FULL = {
    "ph": 7.0,
    "Hardness": 196.0,
    "Solids": 22000.0,
    "Chloramines": 7.0,
    "Sulfate": 333.0,
    "Conductivity": 426.0,
    "Organic_carbon": 14.0,
    "Trihalomethanes": 66.0,
    "Turbidity": 4.0,
}
RESULTS = ("status", "probability", "prediction", "verdict", "rule", "reason", "model_version")


@pytest.fixture(scope="module")
def watch(store_uri: str) -> ModelWatch:
    return ModelWatch("@champion", name="waterflow", tracking_uri=store_uri, report=print)


@pytest.fixture(scope="module")
def server(watch: ModelWatch) -> Iterator[Running]:
    with running(watch, max_bytes=200_000, max_rows=500) as found:
        yield found


@pytest.fixture(scope="module")
def records(samples: Path) -> list[dict[str, Any]]:
    with samples.open() as file:
        rows = list(csv.DictReader(file))
    return [{name: float(row[name]) if row[name] else None for name in FULL} for row in rows]


@pytest.fixture(scope="module")
def scored(samples: Path, store_uri: str, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What `waterflow score` makes of the samples."""
    from waterflow_cli.main import main

    output = tmp_path_factory.mktemp("scored") / "out.csv"
    with pytest.raises(SystemExit):
        main(["score", str(samples), "-o", str(output), "--tracking-uri", store_uri, "-q"])
    return output.read_bytes()


def test_csv_comes_back_as_score_writes_it(server, samples, scored):
    reply = server.score(samples.read_bytes(), CSV)
    assert reply.status == 200
    assert reply.headers["content-type"] == "text/csv; charset=utf-8"
    assert reply.body == scored


def test_json_has_the_values_of_score_in_order(server, records, scored):
    reply = server.score({"samples": records})
    rows = list(csv.DictReader(scored.decode().splitlines()))
    results = reply.content["results"]
    assert reply.content["version"] == 1
    assert reply.content["model"] == "waterflow/1"
    assert len(results) == len(rows) == 400
    for result, row in zip(results, rows, strict=True):
        assert tuple(result) == RESULTS
        assert result == {
            **{name: row[name] for name in RESULTS},
            "probability": float(row["probability"]),
            "prediction": int(row["prediction"]),
        }


def test_accept_chooses_the_form_of_the_answer(server, samples, records):
    as_json = server.score(samples.read_bytes(), CSV, accept="text/csv;q=0.5, application/json")
    as_csv = server.score({"samples": records}, accept="text/*")
    assert as_json.content["results"] == server.score({"samples": records}).content["results"]
    rows = list(csv.DictReader(as_csv.body.decode().splitlines()))
    assert float(rows[7]["probability"]) == as_json.content["results"][7]["probability"]
    assert server.score({"samples": records}, accept="image/png").status == 406
    assert server.score({"samples": records}, accept="text/csv;q=x, image/png").status == 406


def test_a_row_does_not_depend_on_those_beside_it(server, records):
    together = server.score({"samples": records[:20]}).content["results"]
    alone = [server.score({"samples": [each]}).content["results"][0] for each in records[:20]]
    assert together == alone


def test_cells_are_read_as_in_a_file(server, records):
    sample = {**records[0], "Sulfate": "<0.5", "Turbidity": "ND", "ph": " 7.1 ", "site": {"a": [1]}}
    plain = {**records[0], "Sulfate": 0.25, "Turbidity": None, "ph": 7.1}
    odd, same = server.score({"samples": [sample, plain]}).content["results"]
    assert odd["probability"] == same["probability"]
    assert odd["reason"].endswith("imputed: Turbidity; read from a bound: Sulfate")


def test_invalid_sample_is_answered_with_its_reason(server, records):
    bad = [{**records[0], "ph": 15.2}, {**records[0], "ph": "x"}, {**records[0], "ph": "1\ud800"}]
    results = server.score({"samples": [*bad, records[0]]}).content["results"]
    assert [result["status"] for result in results] == ["invalid"] * 3 + ["scored"]
    assert results[0]["reason"] == "ph: 15.2 is above 14"
    assert results[0]["probability"] is None
    assert results[0]["prediction"] is None
    huge = json.dumps({"samples": [{**records[0], "ph": 0}]}).replace('"ph": 0', '"ph": 1e999')
    assert server.score(huge).content["results"][0]["status"] == "invalid"


@pytest.mark.parametrize(
    ("body", "kind", "status", "words"),
    [
        (b"{", JSON, 400, "no JSON"),
        (b"\xff\xfe\xfa", JSON, 400, "no JSON"),
        (b"[" * 100_000, JSON, 400, "nested too deeply"),
        ('{"samples": [{"ph": NaN}]}', JSON, 400, "NaN is no number"),
        ('{"samples": [{"ph": 1, "ph": 2}]}', JSON, 400, "the same name twice"),
        ([], JSON, 422, "must be"),
        ({"samples": []}, JSON, 422, "a sample or more"),
        ({"samples": [FULL], "sample": 1}, JSON, 422, "must be"),
        ({"samples": [FULL, 7]}, JSON, 422, "samples[1] is no object"),
        ({"samples": [{"ph": 1}]}, JSON, 422, "lack Hardness, Solids"),
        ({"samples": [FULL, {"ph": 1}]}, JSON, 422, "samples[1] lacks 'Hardness'"),
        ({"samples": [{**FULL, "ph": True}]}, JSON, 422, "'ph': neither a number"),
        ({"samples": [FULL] * 501}, JSON, 413, "500 samples"),
        ("", CSV, 422, "empty"),
        ("ph\n7\n", CSV, 422, "lacks Hardness"),
        ("ph\n" + "7\n" * 501, CSV, 422, "lacks Hardness"),
        (",".join(FULL) + "\n" + "1,1,1,1,1,1,1,1,1\n" * 501, CSV, 413, "500 samples"),
        (",".join(FULL) + ",status\n1,1,1,1,1,1,1,1,1,x\n", CSV, 422, "'status'"),
        (b"PAR1....", CSV, 415, "Parquet"),
        (b"\x1f\x8b\x08\x00\x00", CSV, 415, "gzip, and no CSV"),
        (b"\x28\xb5\x2f\xfd\x00", CSV, 415, "zstd, and no CSV"),
        (b"BZh91AY&SY", CSV, 415, "bzip2, and no CSV"),
        (b"\xfd7zXZ\x00\x00", CSV, 415, "xz, and no CSV"),
        (b"PK\x03\x04\x14", CSV, 415, "zip, and no CSV"),
        ("x", "text/plain", 415, "text/plain"),
        ("x", "", 415, "Send it plain"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(server, body, kind, status, words):
    reply = server.score(body, kind)
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.content["status"] == status
    assert words in reply.content["detail"] + reply.content.get("hint", "")
    assert "Traceback" not in reply.body.decode()


def test_large_and_compressed_bodies_are_refused(server):
    assert server.score(b"[" * 200_001).status == 413
    chunks = (b"x" * 50_000 for _ in range(6))
    reply = server.ask("POST", "/score", chunks, stream=True, content_type=JSON)
    assert reply.status == 413
    assert "200000 bytes" in reply.content["detail"]
    packed = server.score(b"x", CSV, content_encoding="gzip")
    assert packed.status == 415
    assert "text/csv (gzip)" in packed.content["detail"]


def test_other_paths_and_methods_are_refused(server):
    assert server.ask("GET", "/docs").content["detail"] == "GET /docs: Not Found"
    reply = server.ask("GET", "/score")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


def test_health_model_and_description_tell_of_the_model(server, watch):
    health, model = server.ask("GET", "/health"), server.ask("GET", "/model").content
    assert (health.status, health.headers["cache-control"]) == (200, "no-store")
    assert health.content["status"] == "ready"
    assert health.content["reload"] == "ok"
    assert health.content["sha256"] == model["sha256"] == watch.current.model.digest
    assert model["threshold"] == watch.current.model.decision.threshold
    measured = {each["name"]: each for each in model["measurements"]}
    assert measured["ph"] == {
        "name": "ph", "unit": "pH", "required": True, "minimum": 0, "maximum": 14
    }  # fmt: skip
    description = server.ask("GET", "/openapi.json").content
    assert set(description["paths"]) == {
        "/score", "/health", "/model", "/metrics", "/openapi.json"
    }  # fmt: skip
    assert set(description["components"]["schemas"]["Sample"]["required"]) == set(FULL)


def test_metrics_count_requests_samples_and_verdicts(watch, records):
    with running(watch) as server:
        server.score({"samples": [*records[:3], {**records[0], "ph": 99}]})
        server.ask("GET", "/nowhere")
        text = server.ask("GET", "/metrics").body.decode()
    lines = text.splitlines()
    assert 'waterflow_requests_total{path="/score",status="200"} 1.0' in lines
    assert 'waterflow_requests_total{path="other",status="404"} 1.0' in lines
    assert 'waterflow_samples_total{status="scored"} 3.0' in lines
    assert 'waterflow_samples_total{status="invalid"} 1.0' in lines
    assert "waterflow_scoring_requests 0.0" in lines
    assert f'model="{watch.current.label}"' in text
    assert server.accesses[:2] == [("POST /score", 200), ("GET /nowhere", 404)]


def test_only_health_is_open_without_the_token(watch, records):
    with running(watch, token=TOKEN) as server:
        assert server.ask("GET", "/health").status == 200
        for path in ("/model", "/metrics", "/openapi.json", "/nowhere"):
            assert server.ask("GET", path).status == 401
        for given in ("", TOKEN, f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \xe9"):
            reply = server.score({"samples": records[:1]}, authorization=given)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
        assert server.score({"samples": records[:1]}, authorization=f"bearer {TOKEN}").status == 200
        described = server.ask("GET", "/openapi.json", authorization=f"Bearer {TOKEN}").content
    assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_requests_beyond_the_bound_are_told_to_come_back(watch, records):
    with running(watch, jobs=1, max_concurrent=1) as server:
        free = threading.Event()
        server.service._pool.submit(free.wait, 20)
        replies: list[Reply] = []
        first = threading.Thread(
            target=lambda: replies.append(server.score({"samples": records[:1]}))
        )
        first.start()
        wait_for(lambda: server.service._n_scoring)
        reply = server.score({"samples": records[:1]})
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        assert server.ask("GET", "/health").status == 200
        free.set()
        first.join(20)
        assert replies[0].status == 200
        wait_for(lambda: not server.service._n_scoring)
        assert server.score({"samples": records[:1]}).status == 200


def test_bodies_on_their_way_are_bounded_together(watch):
    with running(watch, max_bytes=100, max_concurrent=1) as server, server.connect() as slow:
        slow.sendall(
            b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        )
        slow.sendall(b"Content-Length: 99\r\n\r\n" + b"x" * 90)
        wait_for(lambda: server.service._n_bytes_held == 90)
        assert server.score(b"x" * 50).status == 503
        slow.sendall(b"x" * 9)
        assert slow.recv(100).startswith(b"HTTP/1.1 400")
        wait_for(lambda: not server.service._n_bytes_held)


def test_time_is_limited(watch, records):
    with running(watch, jobs=1, timeout_s=0.3) as server:
        free = threading.Event()
        server.service._pool.submit(free.wait, 20)
        reply = server.score({"samples": records[:1]})
        assert (reply.status, "within 0.3 s" in reply.content["detail"]) == (504, True)
        free.set()
        with server.connect() as slow:
            slow.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n")
            slow.sendall(b"Content-Length: 9\r\n\r\nph")
            answer = slow.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 408")
        assert b"connection: close" in answer.lower()
        with server.connect() as gone:
            gone.sendall(b"POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n")
            gone.sendall(b"Content-Length: 9\r\n\r\nph")
        wait_for(lambda: not server.service._n_bytes_held)
    assert server.defects == []


class Slow:
    """A model that takes its time for each batch."""

    def __init__(self, decision: Any, seconds: float) -> None:
        self._decision, self._seconds, self.n_batches = decision, seconds, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decision, name)

    def probability(self, X: Any) -> Any:
        self.n_batches += 1
        time.sleep(self._seconds)
        return self._decision.probability(X)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [JSON, CSV])
def test_a_request_that_ran_out_of_time_gives_its_thread_back(own_store, records, samples, kind):
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=own_store, report=print)
    header, *rows = samples.read_bytes().splitlines(keepends=True)
    as_csv = header + b"".join(rows * 200)
    body = as_csv if kind == CSV else json.dumps({"samples": records * 200})
    model = watch.current.model
    slow = Slow(model.decision, 0.4)
    watch.current.model = replace(model, decision=slow)
    with running(watch, jobs=1, timeout_s=0.6, max_bytes=10**8) as server:
        assert server.score(body, kind).status == 504
        wait_for(lambda: not server.service.is_scoring)
    assert slow.n_batches < 8  # of which the body has eight
    assert server.defects == []


def test_small_batches_give_what_one_gives(watch, records, monkeypatch):
    odd = [{**records[0], "ph": "x"}, {**records[1], "Sulfate": "<5"}, {**records[2], "ph": None}]
    body = json.dumps({"samples": [*records[:50], *odd, *records[50:90]]}).encode()
    whole = [judge(watch.current, body, JSON, wanted, ServingOptions()) for wanted in (JSON, CSV)]
    monkeypatch.setattr("waterflow_cli.serving.judging._BATCH_ROWS", 7)
    small = [judge(watch.current, body, JSON, wanted, ServingOptions()) for wanted in (JSON, CSV)]
    assert small == whole


def test_connections_that_dawdle_are_closed(watch):
    with running(watch, timeout_s=0.3) as server:
        with server.connect() as silent, server.connect() as halting:
            halting.sendall(b"GET /health HTTP/1.1\r\nHo")
            assert silent.recv(9) == b""
            with suppress(ConnectionResetError):
                assert halting.recv(9) == b""
        with http_connection(server) as kept:
            for pause in (0.0, 0.5, 0.5):
                time.sleep(pause)
                kept.request("GET", "/health")
                assert kept.getresponse().read()


def test_answers_that_nobody_takes_are_dropped(watch, records):
    body = json.dumps({"samples": records}).encode()
    head = "POST /score HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with running(watch, send_bytes=4096, timeout_s=0.3) as server, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", server.port))
        deaf.settimeout(20)
        deaf.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_for(lambda: server.accesses)
        time.sleep(0.8)
        n_bytes = 0
        with suppress(ConnectionResetError):
            while part := deaf.recv(1 << 16):
                n_bytes += len(part)
        assert server.accesses == [("POST /score", 200)]
        assert n_bytes < 50_000 < len(server.score({"samples": records}).body)


@contextmanager
def http_connection(server: Running) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    yield connection
    connection.close()


def test_a_defect_is_told_without_its_details(watch):
    with running(watch) as server:
        server.service._pool.shutdown()
        reply = server.score({"samples": [FULL]})
        assert reply.status == 500
        assert "shutdown" not in reply.body.decode()
    assert "shutdown" in str(server.defects[0])


def test_a_model_that_fails_is_told_and_logged(own_store):
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=own_store, report=print)
    model = watch.current.model
    watch.current.model = replace(model, decision=replace(model.decision, scores=None))
    with running(watch) as server:
        reply = server.score({"samples": [FULL]})
    assert (reply.status, "failed to predict" in reply.content["detail"]) == (500, True)
    assert [type(each) for each in server.defects] == [PluginError]


def test_hypothetical_bodies_are_answered_or_refused(watch, samples):
    options = ServingOptions(max_rows=1000)
    seeds = [b'{"samples": [' + json.dumps(FULL).encode() + b"]}", samples.read_bytes()[:400]]

    @tried_on(60, suppress_health_check=list(HealthCheck))
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.tuples(st.sampled_from(seeds), st.integers(0, 400), st.binary(max_size=4)).map(
                lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] + 1 :]
            ),
        ),
        st.sampled_from([JSON, CSV]),
    )
    def check(body: bytes, kind: str) -> None:
        try:
            answer = judge(watch.current, body, kind, JSON, options)
        except WaterflowError:
            return
        content = json.loads(answer.body)
        assert len(content["results"]) == answer.n_rows > 0

    check()


def test_strict_schema_takes_no_other_fields(watch):
    from dataclasses import replace

    schema = replace(watch.current.model.schema, strict=True)
    samples = parse_samples(json.dumps({"samples": [{**FULL, "site": 1}]}).encode(), 9)
    with pytest.raises(RequestError, match="knows no site"):
        SampleLayout(schema, field_names(samples, schema))
    labelled = [{**FULL, "Potability": 1.0}]
    table = SampleLayout(schema, field_names(labelled, schema)).table(labelled)
    assert table.columns == list(FULL)


def test_values_that_must_be_unique_are_compared_within_a_request(watch):
    from dataclasses import replace

    model = watch.current.model
    unique = replace(model, schema=replace(model.schema, unique=("ph",)))
    served = ServedModel(unique)
    body = json.dumps({"samples": [FULL, FULL]}).encode()
    for _ in range(2):
        answer = judge(served, body, JSON, JSON, ServingOptions())
        assert (answer.n_rows, answer.n_invalid) == (2, 1)


def test_nondetects_count_as_the_user_said(watch):
    served = ServedModel(watch.current.model, ReadingOptions(nondetect="error", decimal=","))
    body = json.dumps({"samples": [{**FULL, "Sulfate": "<0.5"}, FULL]}).encode()
    answer = judge(served, body, JSON, JSON, ServingOptions())
    assert (answer.n_rows, answer.n_invalid) == (2, 1)


@pytest.fixture
def own_store(store_uri: str, tmp_path: Path) -> str:
    """A copy of the store with a second version of the same model."""
    path = tmp_path / "mlflow.db"
    shutil.copy(store_uri.removeprefix("sqlite:///"), path)
    uri = f"sqlite:///{path}"
    client = connect(uri)  # MLflow looks the model up in the store that it was told last
    first = client.get_model_version("waterflow", "1")
    client.create_model_version("waterflow", first.source, first.run_id)
    return uri


def test_promoted_version_is_taken_up(own_store):
    lines: list[str] = []
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=own_store, report=lines.append)
    watch.look()
    assert (watch.current.label, lines) == ("waterflow/1", [])
    with running(watch) as server:
        watch.start(0.05)
        client = MlflowClient(tracking_uri=own_store)
        client.set_registered_model_alias("waterflow", "champion", "2")
        wait_for(lambda: watch.current.label == "waterflow/2")
        assert server.score({"samples": [FULL]}).content["model"] == "waterflow/2"
        assert 'model="waterflow/2"' in server.ask("GET", "/metrics").body.decode()
    watch.stop()
    assert lines == ["Now serving waterflow/2 instead of waterflow/1."]


def test_model_that_cannot_be_loaded_leaves_the_one_in_use(own_store):
    lines: list[str] = []
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=own_store, report=lines.append)
    with sqlite3.connect(own_store.removeprefix("sqlite:///")) as connection:
        connection.execute(
            "UPDATE logged_model_tags SET tag_value = 'x' WHERE tag_key LIKE '%manifest%'"
        )
    with running(watch) as server:
        watch.look()
        watch.look()
        health = server.ask("GET", "/health").content
        assert (health["status"], health["model"], health["reload"]) == (
            "ready", "waterflow/1", "failing"
        )  # fmt: skip
        assert "waterflow_model_reload_failing 1.0" in server.ask("GET", "/metrics").body.decode()
        assert server.score({"samples": [FULL]}).status == 200
    assert len(lines) == 1
    assert lines[0].startswith("Still serving waterflow/1: Model waterflow/1: ")


def test_store_that_is_gone_leaves_the_model_in_use(own_store):
    lines: list[str] = []
    watch = ModelWatch("@champion", name="waterflow", tracking_uri=own_store, report=lines.append)
    Path(own_store.removeprefix("sqlite:///")).unlink()
    watch.look()
    assert watch.is_failing
    assert watch.current.label == "waterflow/1"


def test_model_folder_is_served_and_not_watched(store_uri):
    from waterflow_cli.registry.location import locate_model

    located = locate_model("@champion", name="waterflow", tracking_uri=store_uri)
    assert located is not None
    folder = located.location.removeprefix("file://")
    watch = ModelWatch(folder, name="waterflow", tracking_uri=store_uri, report=print)
    watch.start(0)
    watch.look()
    assert watch.current.label.startswith("sha256:")
    assert not watch.is_failing


def test_no_model_is_an_error_of_the_model(tmp_path):
    uri = f"sqlite:///{tmp_path / 'none.db'}"
    with pytest.raises(ModelError, match="No tracking store"):
        ModelWatch("@champion", name="waterflow", tracking_uri=uri, report=print)


def test_token_comes_from_the_file_or_the_environment(tmp_path):
    path = tmp_path / "token"
    path.write_text(TOKEN + "\n")
    assert read_token(str(path), {"WATERFLOW_SERVE_TOKEN": "y" * 20}) == TOKEN
    assert read_token(None, {"WATERFLOW_SERVE_TOKEN": "y" * 20}) == "y" * 20
    assert read_token(None, {}) is None
    for text in ("short", "x" * 20 + " y", ""):
        path.write_text(text)
        with pytest.raises(UsageError, match="at least 16 characters") as refused:
            read_token(str(path), {})
        assert not text or text not in refused.value.message
    with pytest.raises(UsageError, match="No such file"):
        read_token(str(tmp_path / "none"), {})


def test_addresses_that_others_reach_need_leave():
    with pytest.raises(UsageError, match="without a token"):
        bind("0.0.0.0", 0, is_open=False)
    with pytest.raises(UsageError, match="not to be had"):
        bind("no such host", 0, is_open=False)
    with bind("0.0.0.0", 0, is_open=True) as bound:
        bound.listen()
        with pytest.raises(UsageError, match=r"Port \d+ of 127\.0\.0\.1 is not to be had"):
            bind("127.0.0.1", bound.getsockname()[1], is_open=False)


def test_a_port_that_another_takes_after_all_is_refused(watch):
    service = Service(watch, ServingOptions(), note_access=print, note_defect=print)
    with bind("127.0.0.1", 0, is_open=False) as first:
        port = first.getsockname()[1]
        second = bind("127.0.0.1", port, is_open=False)  # nobody listens yet
        first.listen()
        with pytest.raises(UsageError, match=f"Port {port} of 127.0.0.1 is not to be had"):
            Server(service, 1).listen(second)


def test_addresses_are_written_as_urls():
    with bind("::1", 0, is_open=False) as bound:
        assert address_of(bound).startswith("http://[::1]:")
