"""Where a setting comes from, seen on real commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from waterflow_cli.common.errors import UsageError
from waterflow_cli.config import Setting, load_defaults, user_file

LOCAL = Path("waterflow.toml")


@pytest.fixture
def write_user_file(workdir):
    def write(text):
        path = user_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def simulated_seed(cli):
    """Simulate, and say with which seed."""

    def simulate(*arguments):
        outcome = cli("simulate", "--json", "--rows", "3", "-o", "out.csv", "--force", *arguments)
        assert outcome.code == 0, outcome.err
        return json.loads(outcome.out)["seed"]

    return simulate


def test_each_source_goes_before_the_next(simulated_seed, write_user_file, monkeypatch):
    assert simulated_seed() == 0
    write_user_file("seed = 1\n")
    assert simulated_seed() == 1
    LOCAL.write_text("seed = 2\n")
    assert simulated_seed() == 2
    monkeypatch.setenv("WATERFLOW_SEED", "3")
    assert simulated_seed() == 3
    monkeypatch.setenv("WATERFLOW_SIMULATE_SEED", "4")
    assert simulated_seed() == 4
    assert simulated_seed("--seed", "5") == 5


@pytest.mark.parametrize("variable", ["WATERFLOW_PLUGIN", "WATERFLOW_TRAIN_PLUGIN"])
def test_a_variable_has_the_name_that_the_option_has_for_users(variable, cli, monkeypatch):
    monkeypatch.setenv(variable, "no-such-plugin")
    outcome = cli("train")
    assert outcome.code == 2
    assert outcome.err.startswith("Error: No model plugin named 'no-such-plugin'.")


@pytest.mark.parametrize(
    "text",
    [
        "seed = 1\n[simulate]\nseed = 2\n",
        "simulate = {seed = 2}\nseed = 1\n",
        "[simulate]\nseed = 2\n[train]\nseed = 1\n",
    ],
)
def test_table_of_a_command_goes_before_the_top(text, simulated_seed):
    LOCAL.write_text(text)
    assert simulated_seed() == 2


def test_files_complete_each_other(simulated_seed, write_user_file, cli, samples):
    write_user_file("seed = 1\n[validate]\nmax-errors = 1\n")
    LOCAL.write_text("seed = 2\n")
    assert simulated_seed() == 2
    assert cli("validate", samples, "--json").code == 0


def test_user_file_lies_in_home_without_xdg(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert user_file() == tmp_path / ".config" / "waterflow" / "config.toml"


def test_variable_set_to_nothing_is_not_set(simulated_seed, monkeypatch):
    LOCAL.write_text("seed = 2\n")
    monkeypatch.setenv("WATERFLOW_SEED", "")
    assert simulated_seed() == 2


def test_configuration_folder_that_is_a_file_holds_no_settings(simulated_seed, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", "/dev/null")
    assert simulated_seed() == 0


@pytest.mark.parametrize("key", ["max-errors", "max_errors"])
def test_key_is_written_with_hyphens_or_underscores(key, cli, workdir, samples):
    rows = samples.read_text().splitlines()
    (workdir / "bad.csv").write_text("\n".join([rows[0], *(["S,x,d" + ",-1" * 10] * 9)]) + "\n")
    LOCAL.write_text(f"{key} = 2\n")
    outcome = cli("validate", "bad.csv", "--json")
    assert outcome.code == 1
    report = json.loads(outcome.out)
    assert (len(report["findings"]), report["findings_total"]) == (2, 90)


def test_switch_can_be_set(cli, workdir):
    LOCAL.write_text("quiet = true\n[simulate]\njson = true\nforce = true\n")
    (workdir / "out.csv").write_text("old\n")
    outcome = cli("simulate", "--rows", "3", "-o", "out.csv")
    assert (outcome.code, outcome.err) == (0, "")
    assert json.loads(outcome.out)["rows"] == 3


@pytest.fixture
def listed_store(cli):
    """List the models, and say in which store that found none."""

    def find(*arguments):
        outcome = cli("models", "list", *arguments)
        assert outcome.code == 4
        return (
            outcome.err.splitlines()[0].removeprefix("Error: No tracking store at ").split(": ")[0]
        )

    return find


def test_tracking_uri_comes_from_each_source(listed_store, write_user_file, monkeypatch):
    assert listed_store() == "sqlite:///mlflow.db"
    write_user_file('tracking-uri = "sqlite:///user.db"\n')
    assert listed_store() == "sqlite:///user.db"
    LOCAL.write_text('tracking_uri = "sqlite:///local.db"\n')
    assert listed_store() == "sqlite:///local.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow_variable.db")
    assert listed_store() == "sqlite:///mlflow_variable.db"
    monkeypatch.setenv("WATERFLOW_TRACKING_URI", "sqlite:///variable.db")
    assert listed_store() == "sqlite:///variable.db"
    assert listed_store("--tracking-uri", "sqlite:///option.db") == "sqlite:///option.db"


@pytest.mark.parametrize("table", ["models", "models.list"])
def test_nested_command_is_set_by_its_group_or_by_itself(table, cli, store_uri):
    LOCAL.write_text(f'name = "elsewhere"\n[{table}]\ntracking-uri = "{store_uri}"\n')
    outcome = cli("models", "list")
    assert outcome.code == 4
    assert "No model named 'elsewhere'" in outcome.err
    LOCAL.write_text(
        f'name = "elsewhere"\n[{table}]\ntracking-uri = "{store_uri}"\nname = "waterflow"\n'
    )
    outcome = cli("models", "list", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["name"] == "waterflow"


def test_setting_of_one_nested_command_leaves_the_others_alone(cli, store_uri):
    LOCAL.write_text(f'tracking-uri = "{store_uri}"\n[models.promote]\nname = "elsewhere"\n')
    assert cli("models", "list").code == 0


def test_option_is_no_argument_of_the_same_name(cli, monkeypatch):
    monkeypatch.setenv("WATERFLOW_NAME", "elsewhere")
    LOCAL.write_text('name = "elsewhere"\n')
    outcome = cli("schemas", "show")
    assert outcome.code == 0
    assert "name: water" in outcome.out


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sed = 1", "no option 'sed'. Did you mean 'seed'?"),
        ("[simulate]\nsed = 1", "no option 'sed'. Did you mean 'seed'?"),
        ("[simulate]\nplugin = 'rf'", "no option 'plugin'."),
        ("[simulat]\nseed = 1", "no command 'simulat'. Did you mean 'simulate'?"),
        ("[models.lits]\nname = 'a'", "no command 'models lits'. Did you mean 'list'?"),
        ("[models.list.more]\nname = 'a'", "no command 'models list more'."),
        ("[simulate]\nseed = {value = 1}", "no command 'simulate seed'."),
        ("[[simulate]]\nseed = 1", "no option 'simulate'."),
        ("files = ['a.csv']", "no option 'files'."),
        ("seed = [1]", "the option 'seed' takes one value, and no list."),
        ("seed = ", "is no TOML (Invalid value (at line 1, column 8))"),
        ("seed = 1\nseed = 2", "is no TOML (Cannot overwrite a value"),
        ("name = '\udce9'", "is no UTF-8 text."),
    ],
)
@pytest.mark.parametrize("source", ["local", "user"])
def test_setting_that_means_nothing_stops_every_command(text, says, source, cli, write_user_file):
    path = LOCAL if source == "local" else write_user_file("")
    path.write_bytes(text.encode("utf-8", "surrogateescape") + b"\n")
    for arguments in (("schemas", "list"), ("simulate", "--rows", "3", "-o", "out.csv")):
        outcome = cli(*arguments)
        assert (outcome.code, outcome.out) == (2, "")
        (message,) = outcome.err.splitlines()
        assert message.startswith(f"Error: {path}: {says}")
    assert not Path("out.csv").exists()


def test_settings_file_that_is_a_folder_stops_the_command(cli):
    LOCAL.mkdir()
    outcome = cli("schemas", "list")
    assert (outcome.code, outcome.out) == (2, "")
    assert "waterflow.toml: cannot be read (Is a directory)." in outcome.err


def test_settings_file_that_links_to_itself_stops_the_command(cli):
    LOCAL.symlink_to(LOCAL)
    outcome = cli("schemas", "list")
    assert (outcome.code, outcome.out) == (2, "")
    assert "waterflow.toml: cannot be read (Too many levels of symbolic links)." in outcome.err


@pytest.mark.parametrize("value", ["1.5", "2020-01-01", "'many'", "true"])
def test_value_of_the_wrong_kind_is_refused_and_never_bent(value, cli):
    LOCAL.write_text(f"seed = {value}\n")
    outcome = cli("simulate", "--rows", "3", "-o", "out.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert "Invalid value for '--seed'" in outcome.err
    assert not Path("out.csv").exists()


@pytest.fixture
def trained(cli, samples, tmp_path):
    """Train, and return the logged parameters and the report."""
    uri = f"sqlite:///{tmp_path / 'own.db'}"

    def train(*arguments):
        import mlflow

        outcome = cli("train", "--test-size", "0.3", "--json", "--tracking-uri", uri, *arguments)
        assert outcome.code == 0, outcome.err
        report = json.loads(outcome.out)
        run = mlflow.MlflowClient(uri).get_run(report["registered"]["run_id"])
        return run.data.params, report

    return train


@pytest.mark.slow
def test_lists_set_options_that_can_be_given_several_times(trained, samples, monkeypatch):
    LOCAL.write_text(
        f'[train]\ndata = "{samples}"\nplugin = "logreg"\n'
        'param = ["max_iter=77", "C=0.5"]\nthreshold = 0.25\nbalance = "none"\n'
    )
    params, report = trained()
    assert (params["plugin.max_iter"], params["plugin.C"]) == ("77", "0.5")
    assert params["balance"] == "none"
    assert report["threshold"] == 0.25
    assert (report["plugin"], report["data"]["path"]) == ("logreg", str(samples))
    monkeypatch.setenv("WATERFLOW_PARAM", "max_iter=78 'class_weight=balanced'")
    params, _ = trained()
    assert (params["plugin.max_iter"], params["plugin.class_weight"]) == ("78", "balanced")
    assert params["plugin.C"] == "1.0"


def test_variable_that_cannot_be_split_is_refused(cli, monkeypatch):
    monkeypatch.setenv("WATERFLOW_RENAME", "'pH=ph")
    outcome = cli("validate", "new.csv")
    assert outcome.code == 2
    assert "Error: WATERFLOW_RENAME: cannot be split into values" in outcome.err


def test_renames_can_be_set_in_a_variable(cli, monkeypatch, workdir, samples):
    text = samples.read_text().replace("ph,", "acid value,", 1)
    (workdir / "renamed.csv").write_text(text)
    assert cli("validate", "renamed.csv").code == 3
    monkeypatch.setenv("WATERFLOW_RENAME", "'acid value=ph'")
    assert cli("validate", "renamed.csv").code == 0


OPTIONS = {
    ("train",): {"seed": Setting("seed"), "param": Setting("assignments", many=True)},
    ("models", "list"): {"json": Setting("as_json")},
}


def test_defaults_are_nested_by_command_and_are_text(workdir, monkeypatch):
    LOCAL.write_text('seed = 1\nparam = ["a=1", 2]\n[models]\njson = true\n')
    assert load_defaults(OPTIONS, lambda: OPTIONS) == {
        "train": {"seed": "1", "assignments": ["a=1", "2"]},
        "models": {"list": {"as_json": "True"}},
    }
    LOCAL.write_text('param = "a=1"\n')
    assert load_defaults(OPTIONS, lambda: OPTIONS) == {"train": {"assignments": ["a=1"]}}
    monkeypatch.setenv("WATERFLOW_JSON", "1")
    assert load_defaults(OPTIONS, lambda: OPTIONS)["models"] == {"list": {"as_json": "1"}}


def test_no_file_and_no_variable_leave_the_options_own_defaults(workdir):
    assert load_defaults(OPTIONS, lambda: OPTIONS) == {}


def test_error_names_the_file_as_it_lies(workdir):
    LOCAL.write_text("sede = 1\n")
    with pytest.raises(
        UsageError, match=r"^waterflow\.toml: no option 'sede'\. Did you mean 'seed'"
    ):
        load_defaults(OPTIONS, lambda: OPTIONS)


def test_a_command_without_files_asks_for_no_other_command(workdir):
    def every():
        raise AssertionError("imports every command")

    assert load_defaults(OPTIONS, every) == {}
