"""A stranger's model scores its own reference rows in a process that may end or take too long."""

from __future__ import annotations

import json
import sys
import zipfile
from dataclasses import replace

import pytest
from small_models import COLUMNS, SMALL, forms, saved

from waterflow_cli.common.errors import ModelError
from waterflow_cli.models.files import check_form, load_payload
from waterflow_cli.models.manifest import ModelFiles, write_manifest
from waterflow_cli.models.portable.form import load_form, save_form
from waterflow_cli.models.portable.parts import Steps
from waterflow_cli.registry import rehearsal
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.registry.rehearsal import check_rehearsed, reference_probabilities, rehearse
from waterflow_cli.samples.schemas import load_schema


@pytest.fixture(scope="module")
def fetched(store_uri):
    return fetch_model("@champion", name="waterflow", tracking_uri=store_uri)


@pytest.fixture
def folder(fetched, tmp_path):
    for name, data in fetched.files.content.items():
        path = tmp_path / "model" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "model"


def test_the_other_process_gives_the_probabilities_of_this_one(fetched, folder):
    found = rehearse(folder, label="m", digest=fetched.files.digest)
    expected = reference_probabilities(fetched.load(), fetched.files)
    assert len(expected) == 100
    check_rehearsed("m", found, expected)
    check_rehearsed("m", found, None)
    for other in ([*expected[:-1], expected[-1] + 0.01], expected[:-1]):
        with pytest.raises(ModelError, match="gives other probabilities of its reference rows"):
            check_rehearsed("m", found, other)
    with pytest.raises(ModelError, match="gives other probabilities"):
        check_rehearsed("m", None, expected)


@pytest.mark.slow
def test_what_the_other_process_refuses_is_said_here(folder):
    with pytest.raises(ModelError, match=r"waterflow-manifest\.json is not what was saved"):
        rehearse(folder, label="m", digest="0" * 64)


def test_a_process_that_takes_too_long_is_ended(folder, monkeypatch):
    monkeypatch.setattr(rehearsal, "_MOST_SECONDS", 0.01)
    with pytest.raises(ModelError, match=r"failed to score its own reference rows \(0.01 s\)"):
        rehearse(folder, label="m", digest="0" * 64)


def test_a_process_that_crashes_is_no_crash_here(folder, tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nkill -SEGV $$\n", "utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    with pytest.raises(ModelError, match=r"failed to score its own reference rows \(exit -11\)"):
        rehearse(folder, label="m", digest="0" * 64)


def test_a_form_that_says_something_else_than_its_estimator_is_refused(fetched, folder):
    """At one threshold of one tree: its reference rows alone would hardly tell."""
    portable = folder / "data" / "waterflow" / "portable"
    form = load_form({path.name: path.read_bytes() for path in portable.iterdir()})
    trees = form.parts[-1]
    values = trees.values.copy()
    values[len(values) - 1] += 3.0
    changed = save_form(
        replace(form, root=Steps([*form.root.parts[:-1], replace(trees, values=values)]))
    )
    for name, data in changed.items():
        (portable / name).write_bytes(data)
    digest = write_manifest(folder)
    with pytest.raises(ModelError, match="gives other probabilities than its estimator") as refused:
        rehearse(folder, label="m", digest=digest)
    assert refused.value.exit_code == 4


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", sorted(SMALL))
def test_the_form_of_each_bundled_plugin_says_what_its_estimator_says(name):
    payload = {
        "estimator.skops": saved(name),
        "schema.yaml": load_schema().text.encode(),
        **{f"portable/{file}": data for file, data in save_form(forms(name)).items()},
    }
    decision = {
        "format": 5,
        "measurements": COLUMNS,
        "calibration": {"kind": "none"},
        "threshold": 0.5,
        "policy": {"potable_from": 0.8, "not_potable_to": 0.2},
        "typical": [],
        "schema": load_schema().compiled(),
        "plugin": name,
    }
    payload["decision.json"] = json.dumps(decision).encode()
    files = ModelFiles("d", {f"data/waterflow/{each}": data for each, data in payload.items()})
    check_form(load_payload(files, label="m"), files, n_rows=100, tolerance=1e-12)


@pytest.mark.parametrize("damage", ["garbage", "malformed form"])
def test_an_estimator_that_is_not_scored_by_is_checked_too(folder, damage):
    name = "estimator.skops" if damage == "garbage" else "portable/form.json"
    (folder / "data" / "waterflow" / name).write_bytes(b"no zip, and no JSON")
    digest = write_manifest(folder)
    with pytest.raises(ModelError, match=r"Model m (cannot be loaded|is malformed)") as refused:
        rehearse(folder, label="m", digest=digest)
    assert "\n" not in refused.value.message


@pytest.mark.slow
def test_an_archive_that_states_other_probabilities_is_refused(cli, store_uri, workdir):
    export = ("models", "export", "-o", "m.zip", "--tracking-uri", store_uri)
    assert cli(*export).code == 0
    with zipfile.ZipFile("m.zip") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    content = json.loads(members["export.json"])
    stated = content.pop("reference_probabilities")
    assert len(stated) == 100

    def importing(**changes):
        members["export.json"] = json.dumps({**content, **changes}).encode()
        with zipfile.ZipFile("other.zip", "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        return cli("models", "import", "other.zip")

    refused = importing(reference_probabilities=[0.5] * 100)
    assert refused.code == 4
    assert "other.zip: the model gives other probabilities" in refused.err
    for odd in (["x"], [10**30], [10**400], 5, {"a": 1}, False, {}, "", 0.0):
        assert importing(reference_probabilities=odd).code == 3
    older = importing()
    assert older.code == 0
    assert "The file states no probabilities of the reference rows" in older.err
    assert importing(reference_probabilities=stated).code == 0
