"""A version of an older format gets its portable form, and nothing else changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import skops.io

from waterflow_cli.models.estimator_files import EstimatorFile
from waterflow_cli.models.files import load_payload
from waterflow_cli.models.manifest import PAYLOAD, read_verified, write_manifest
from waterflow_cli.models.portable.form import PortableForm
from waterflow_cli.registry.location import fetch_model
from waterflow_cli.registry.references import DIGEST_TAG
from waterflow_cli.registry.stores import connect

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture
def old_store(cli, samples):
    """A store with one version, its champion, as it was before there were portable forms."""
    train = ("train", samples, "--plugin", "hgb", "--param", "max_iter=5", "--cv", "3x1")
    assert cli(*train).code == 0
    uri = "sqlite:///mlflow.db"
    client = connect(uri)
    logged = logged_model(client, "1")
    payload = folder_of(logged) / "data" / PAYLOAD
    shutil.rmtree(payload / "portable")
    decision = json.loads((payload / "decision.json").read_text())
    (payload / "decision.json").write_text(json.dumps({**decision, "format": 4}))
    digest = write_manifest(folder_of(logged))
    client.set_logged_model_tags(logged.model_id, {DIGEST_TAG: digest})
    return uri


def logged_model(client, version):
    source = client.get_model_version("waterflow", version).source
    return client.get_logged_model(source.removeprefix("models:/"))


def folder_of(logged):
    return Path(logged.artifact_location.removeprefix("file://"))


def scored(cli, samples, version):
    assert cli("score", samples, "-o", "-", "--model", version).code == 0
    return cli("score", samples, "-o", "-", "--model", version).out


def test_an_upgraded_version_scores_alike_by_its_form_and_is_the_champion(cli, samples, old_store):
    before = scored(cli, samples, "1")
    outcome = cli("models", "upgrade")
    assert (outcome.code, "waterflow/1 is now waterflow version 2" in outcome.out) == (0, True)
    assert scored(cli, samples, "@champion") == before.replace("waterflow/1", "waterflow/2")
    model = fetch_model("@champion", name="waterflow", tracking_uri=old_store).load()
    assert isinstance(model.decision.scores, PortableForm)
    history = json.loads(cli("models", "history", "--json").out)["history"]
    assert [entry["action"] for entry in history] == ["train", "upgrade", "promote"]
    versions = json.loads(cli("models", "list", "--json").out)["versions"]
    assert versions[0]["roc_auc"] == versions[1]["roc_auc"]


def test_what_has_its_form_is_left_as_it_is(cli, old_store):
    assert cli("models", "upgrade").code == 0
    outcome = cli("models", "upgrade")
    assert (outcome.code, "there is nothing to upgrade" in outcome.out) == (0, True)
    assert len(json.loads(cli("models", "list", "--json").out)["versions"]) == 2


def test_a_version_that_is_not_in_use_stays_so(cli, samples, old_store):
    assert cli("train", samples, "--plugin", "logreg", "--cv", "3x1").code == 0
    assert cli("models", "promote", "2", "--force").code == 0
    assert cli("models", "upgrade", "1").code == 0
    champion = fetch_model("@champion", name="waterflow", tracking_uri=old_store)
    assert champion.label == "waterflow/2"


def test_a_changed_file_is_not_upgraded(cli, old_store):
    folder = folder_of(logged_model(connect(old_store), "1"))
    (folder / "data" / PAYLOAD / "schema.yaml").write_text("{}")
    assert cli("models", "upgrade").code == 4
    assert len(json.loads(cli("models", "list", "--json").out)["versions"]) == 1


def test_the_estimator_is_exported_as_skops_loads_it(cli, samples, old_store):
    assert cli("models", "upgrade").code == 0
    for version in ("1", "2"):
        out = f"estimator-{version}.skops"
        assert cli("models", "export", version, "--estimator", "-o", out).code == 0
        trusted = EstimatorFile(Path(out).read_bytes()).strangers()
        types = skops.io.get_untrusted_types(file=out)
        assert not trusted
        assert skops.io.load(out, trusted=types)[-1].n_iter_ == 5


def test_the_folder_of_an_upgraded_model_is_verified_as_any_other(cli, old_store):
    assert cli("models", "upgrade").code == 0
    logged = logged_model(connect(old_store), "2")
    files = read_verified(folder_of(logged), label="2", digest=logged.tags[DIGEST_TAG])
    assert isinstance(load_payload(files, label="2").decision.scores, PortableForm)
