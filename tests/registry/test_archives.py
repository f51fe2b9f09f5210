"""A version in one file: what is imported is, byte for byte, what was exported, or nothing is."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path

import pytest
from paths import ROOT

from waterflow_cli.registry.stores import connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def exported(store_uri, tmp_path_factory):
    """The model of the store, in a file; made by a command of its own."""
    from waterflow_cli.registry.archives import export_version
    from waterflow_cli.tables.outputs import open_output

    path = tmp_path_factory.mktemp("exported") / "model.zip"
    export_version(
        "@champion",
        name="waterflow",
        tracking_uri=store_uri,
        open_output=lambda: open_output(str(path), force=False),
    )
    return path


@pytest.fixture
def rewritten(exported, workdir):
    """Write the export anew as ``bad.zip`` with some members changed, added or (None) left out."""

    def rewrite(**changes):
        with zipfile.ZipFile(exported) as source, zipfile.ZipFile("bad.zip", "w") as target:
            members = {name: source.read(name) for name in source.namelist()}
            members |= {name.replace("__", "/"): data for name, data in changes.items()}
            for name, data in members.items():
                if data is not None:
                    target.writestr(name, data)
        return "bad.zip"

    return rewrite


def listed(exported):
    with zipfile.ZipFile(exported) as archive:
        return json.loads(archive.read("export.json"))


def test_an_imported_version_scores_as_the_exported_one(cli, exported, store_uri, samples):
    assert cli("models", "import", exported, "--promote").code == 0
    assert cli("score", samples, "-o", "here.csv").code == 0
    assert cli("score", samples, "-o", "there.csv", "--tracking-uri", store_uri).code == 0
    assert Path("here.csv").read_bytes() == Path("there.csv").read_bytes()


@pytest.mark.slow
def test_an_import_says_where_it_came_from_and_keeps_its_figures(cli, exported, store_uri):
    outcome = cli("models", "import", exported, "--name", "river")
    assert outcome.code == 0
    assert "waterflow/1 is here river version 1 (sha256 " in outcome.out
    assert "To put it in use: waterflow models promote 1\n" in outcome.err
    again = json.loads(cli("models", "import", exported, "--name", "river", "--json").out)
    assert (again["registered"]["version"], again["registered"]["alias"]) == (2, None)
    shown = json.loads(cli("models", "show", "2", "--name", "river", "--json").out)
    there = ("--tracking-uri", store_uri)
    origin = json.loads(cli("models", "show", *there, "--json").out)
    assert shown["manifest_sha256"] == origin["manifest_sha256"]
    assert shown["estimates"]["roc_auc"] == origin["estimates"]["roc_auc"]
    assert [each["action"] for each in shown["history"]] == ["import"]
    assert shown["history"][0]["why"] == f"waterflow/1 from {exported}"
    kept = connect("sqlite:///mlflow.db").list_artifacts(again["registered"]["run_id"])
    assert {"evaluation.json", "export.json", "report.html"} <= {file.path for file in kept}
    # The folds are there too, and the record of the training.
    assert cli("compare", "--run", "1,2", "--name", "river").code == 0


@pytest.mark.slow
def test_an_imported_model_is_a_plain_pyfunc(cli, exported, samples):
    import mlflow
    import pandas as pd

    assert cli("models", "import", exported, "--promote").code == 0
    mlflow.set_tracking_uri("sqlite:///mlflow.db")
    model = mlflow.pyfunc.load_model("models:/waterflow@champion")
    frame = pd.read_csv(samples).iloc[:5]
    assert list(model.predict(frame))


@pytest.mark.slow
def test_what_mlflow_leaves_beside_a_model_is_not_exported(cli, exported, store_uri):
    import mlflow

    mlflow.set_tracking_uri(store_uri)
    mlflow.pyfunc.load_model("models:/waterflow@champion")
    export = ("models", "export", "-o", "again.zip", "--tracking-uri", store_uri)
    assert cli(*export).code == 0
    assert listed("again.zip")["files"] == listed(exported)["files"]
    own = ("--tracking-uri", "sqlite:///mlflow.db")  # MLflow was told of the other store
    assert cli("models", "import", "again.zip", *own).code == 0


def test_the_same_version_gives_the_same_file(cli, exported, store_uri):
    outcome = cli("models", "export", "1", "-o", "again.zip", "--tracking-uri", store_uri)
    assert outcome.code == 0
    assert listed(exported)["manifest_sha256"] in outcome.out
    assert listed("again.zip")["files"] == listed(exported)["files"]
    refused = cli("models", "export", "-o", "again.zip", "--tracking-uri", store_uri)
    assert refused.code == 2
    assert "--force" in refused.err


@pytest.mark.slow
def test_the_expected_sha256_must_be_that_of_the_model(cli, exported):
    digest = listed(exported)["manifest_sha256"]
    assert cli("models", "import", exported, "--sha256", digest[:16]).code == 0
    outcome = cli("models", "import", exported, "--sha256", "0" * 16)
    assert outcome.code == 4
    assert f"holds the model sha256:{digest[:12]}…, not sha256:000000000000…" in outcome.err
    assert len(connect("sqlite:///mlflow.db").search_model_versions("name='waterflow'")) == 1


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"model__MLmodel": b"loader_module: os\n"}, "model/MLmodel is not what was exported"),
        ({"model__MLmodel": None}, "its list is missing or damaged"),
        ({"stranger": b"x"}, "its list is missing or damaged"),
        ({"export.json": b"{}"}, "its list is missing or damaged"),
        ({"export.json": b"[" * 100_000}, "its list is missing or damaged"),
        ({"export.json": None}, "its list is missing or damaged"),
    ],
)
def test_a_changed_export_is_refused_and_nothing_is_written(cli, rewritten, changes, cause):
    outcome = cli("models", "import", rewritten(**changes))
    assert outcome.code == 3
    assert f"Error: bad.zip: is no whole export of a model ({cause})." in outcome.err
    assert not Path("mlflow.db").exists()


def test_a_model_whose_list_was_changed_with_it_is_refused_by_its_manifest(
    cli, rewritten, exported
):
    import hashlib

    text = b"loader_module: os\n"
    content = listed(exported)
    content["files"]["model/MLmodel"] = {
        "sha256": hashlib.sha256(text).hexdigest(),
        "bytes": len(text),
    }
    changes = {"model__MLmodel": text, "export.json": json.dumps(content).encode()}
    outcome = cli("models", "import", rewritten(**changes))
    assert outcome.code == 4
    assert "MLmodel is not what was saved" in outcome.err
    assert not Path("mlflow.db").exists()


def rebuilt(exported, changes):
    """Change files of the model so that the manifest and the list agree with them."""
    import hashlib

    def described(data):
        return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)}

    content = listed(exported)
    with zipfile.ZipFile(exported) as archive:
        manifest = json.loads(archive.read("model/waterflow-manifest.json"))
    for name, data in changes.items():
        manifest["sha256"][name] = described(data)["sha256"]
        content["files"][f"model/{name}"] = described(data)
    text = json.dumps(manifest).encode()
    content["files"]["model/waterflow-manifest.json"] = described(text)
    content["manifest_sha256"] = described(text)["sha256"]
    members = {f"model/{name}": data for name, data in changes.items()}
    return {
        **members,
        "model/waterflow-manifest.json": text,
        "export.json": json.dumps(content).encode(),
    }


def test_an_import_plants_no_code_that_mlflow_would_run(cli, rewritten, exported):
    with zipfile.ZipFile(exported) as archive:
        text = archive.read("model/MLmodel").decode()
    assert "loader_module: waterflow_cli.pyfunc" in text
    for evil in (
        text.replace("waterflow_cli.pyfunc", "evil"),
        text.replace("    data: ", "    code: code\n    data: "),
        text.replace("flavors:\n", "flavors:\n  sklearn:\n    pickled_model: x.pkl\n"),
    ):
        assert evil != text
        changes = rebuilt(exported, {"MLmodel": evil.encode(), "code/evil.py": b"1"})
        outcome = cli("models", "import", rewritten(**changes))
        assert outcome.code == 4, evil
        assert "holds code or files that are no part of a model" in outcome.err
    assert not Path("mlflow.db").exists()


@pytest.mark.slow
def test_a_version_that_a_gate_refused_is_refused_elsewhere_too(cli, rewritten, exported):
    content = {**listed(exported), "gate": "refused"}
    path = rewritten(**{"export.json": json.dumps(content).encode()})
    registered = json.loads(cli("models", "import", path, "--json").out)["registered"]
    assert registered["alias"] is None
    refused = cli("models", "promote", "1")
    assert refused.code == 1
    assert "was refused by the gate" in refused.err


@pytest.mark.parametrize(
    "change",
    [
        {"metrics": {"test_roc_auc": float("nan")}},
        {"tags": {"mlflow.note.content": "x"}},
        {"model": "x" * 3000},
        {"gate": "open"},
    ],
)
def test_a_list_with_what_no_export_writes_is_refused(cli, rewritten, exported, change):
    content = json.dumps({**listed(exported), **change}).encode()
    outcome = cli("models", "import", rewritten(**{"export.json": content}))
    assert outcome.code == 3
    assert "its list is missing or damaged" in outcome.err


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_was_packed_otherwise_is_refused(cli, exported, workdir, method):
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile("x.zip", "w", method) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert cli("models", "import", "x.zip").code == 3


@pytest.mark.parametrize("name", ["../evil", "/tmp/waterflow-evil", "a\\b"])
def test_names_that_lead_elsewhere_are_refused(cli, rewritten, exported, name):
    import hashlib

    content = listed(exported)
    content["files"][name] = {"sha256": hashlib.sha256(b"x").hexdigest(), "bytes": 1}
    changes = {name: b"x", "export.json": json.dumps(content).encode()}
    outcome = cli("models", "import", rewritten(**changes))
    assert outcome.code == 3
    assert "a name in it leads elsewhere" in outcome.err
    assert not Path("../evil").exists()


def test_a_member_longer_than_it_says_is_not_unpacked_to_its_end(cli, rewritten, exported):
    content = listed(exported)
    content["files"]["model/MLmodel"]["bytes"] = 10
    outcome = cli("models", "import", rewritten(**{"export.json": json.dumps(content).encode()}))
    assert outcome.code == 3
    assert "model/MLmodel is not what was exported" in outcome.err


def test_an_export_of_a_later_version_says_so(cli, rewritten, exported):
    content = {**listed(exported), "version": 9}
    outcome = cli("models", "import", rewritten(**{"export.json": json.dumps(content).encode()}))
    assert outcome.code == 3
    assert "is an export of version 9; this version of waterflow knows 1" in outcome.err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda _: None, "cannot be read (No such file or directory)"),
        (lambda _: Path("x.zip").mkdir(), "cannot be read (Is a directory)"),
        (lambda _: Path("x.zip").write_bytes(b""), "is no whole export of a model"),
        (lambda _: Path("x.zip").write_text("ph,Hardness\n"), "is no whole export of a model"),
        (
            lambda exported: Path("x.zip").write_bytes(exported.read_bytes()[:5000]),
            "is no whole export of a model",
        ),
    ],
)
def test_a_file_that_is_no_export_is_refused_in_one_message(cli, exported, make, said):
    make(exported)
    outcome = cli("models", "import", "x.zip")
    assert outcome.code == 3
    assert f"Error: x.zip: {said}" in outcome.err
    assert len(outcome.err.splitlines()) <= 3


def test_damage_anywhere_in_the_file_is_noticed(cli, exported):
    whole = exported.read_bytes()
    for place in range(40, len(whole), len(whole) // 12):
        Path("x.zip").write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        outcome = cli("models", "import", "x.zip")
        assert outcome.code in (3, 4), (place, outcome.err)
        assert "defect" not in outcome.err
    assert not Path("mlflow.db").exists()


def test_an_export_of_a_changed_model_is_refused(cli, store_uri, tmp_path):
    store = Path(store_uri.removeprefix("sqlite:///"))
    shutil.copy(store, "mlflow.db")
    client = connect("sqlite:///mlflow.db")
    source = client.get_model_version("waterflow", "1").source.removeprefix("models:/")
    client.set_logged_model_tags(source, {"waterflow.manifest_sha256": "0" * 64})
    outcome = cli("models", "export", "-o", "m.zip")
    assert outcome.code == 4
    assert not Path("m.zip").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["oob_tree.zip", "cyclic_tree.zip"])
def test_a_model_whose_trees_were_edited_is_refused_in_one_line(cli, samples, name):
    path = ROOT.parent / "shared" / "cases" / name
    if not path.is_file():
        pytest.skip("the shared cases are not beside this folder")
    outcome = cli("models", "import", path)
    assert outcome.code == 4
    assert outcome.err.count("\n") == 1
    assert "is malformed: TreePredictor is not as fitting makes it (left_child)" in outcome.err
    assert not Path("mlflow.db").exists()
    with zipfile.ZipFile(path) as archive:
        archive.extractall("unpacked")
    scored = cli("score", samples, "-o", "out.csv", "--model", "unpacked/model")
    assert scored.code == 4
    assert scored.err.count("\n") == 1
    assert not Path("out.csv").exists()


def test_a_member_that_stands_twice_is_refused(cli, exported, workdir):
    shutil.copy(exported, "twice.zip")
    with zipfile.ZipFile("twice.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("export.json", archive.read("export.json"))
    outcome = cli("models", "import", "twice.zip")
    assert outcome.code == 3
    assert "is no whole export of a model (two members have one name)" in outcome.err
