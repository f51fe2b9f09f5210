"""The plugin keeps waterflow's contract."""

from waterflow_cli.testing import check_model_plugin


def test_plugin_keeps_the_contract():
    assert list(check_model_plugin("qda"))
