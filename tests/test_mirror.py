"""Each module has a test of its name, or is named here with the file that covers it."""

from __future__ import annotations

from pathlib import Path

import pytest
from paths import ROOT

PACKAGE, TESTS = ROOT / "waterflow_cli", ROOT / "tests"
COVERED = {
    "__main__": "test_main",
    "contract": "models/test_pipelines",
    "pipelines": "models/test_pipelines",
    "commands/compare": "training/test_comparison",
    "commands/demo": "cli/test_commands",
    "commands/doctor": "test_health",
    "commands/engine_options": "spark/test_engine",
    "commands/evaluate": "training/runs/test_model_evaluation",
    "commands/explore": "cli/test_explore_command",
    "commands/families": "cli/test_commands",
    "commands/limits": "validation/test_limits",
    "commands/models": "registry/test_versions",
    "commands/monitor": "cli/test_monitor_command",
    "commands/notes": "cli/test_lab_files",
    "commands/options": "cli/test_commands",
    "commands/plugins": "models/test_discovery",
    "commands/profiles": "validation/test_profile_drafts",
    "commands/replay": "scoring/test_replay",
    "commands/reproduce": "training/runs/test_reproduction",
    "commands/retrain": "training/retraining/test_retrainer",
    "commands/schemas": "samples/test_schemas",
    "commands/score": "scoring/test_job",
    "commands/serve": "cli/test_serve_command",
    "commands/simulate": "cli/test_commands",
    "commands/train": "cli/test_train_command",
    "commands/ui": "cli/test_ui",
    "commands/validate": "validation/test_report",
    "common/arrays": "tables/test_numbers",
    "common/charts": "exploration/test_page",
    "common/credentials": "registry/test_stores",
    "common/effects": "cli/test_disturbed_commands",
    "common/interrupts": "test_main",
    "common/number_formats": "training/runs/test_page",
    "common/pages": "exploration/test_page",
    "common/toml": "validation/test_limits",
    "exploration/headlines": "exploration/test_report",
    "exploration/missing": "exploration/test_report",
    "exploration/samples": "exploration/test_report",
    "exploration/sections": "exploration/test_report",
    "scoring/refusals": "scoring/test_scorer",
    "models/contract": "models/test_pipelines",
    "models/portable/masks": "models/portable/test_compiled",
    "models/portable/tree_structure": "models/test_soundness",
    "monitoring/checks": "monitoring/test_monitor",
    "monitoring/groups": "monitoring/test_monitor",
    "monitoring/labels": "monitoring/test_monitor",
    "monitoring/log": "cli/test_monitor_command",
    "monitoring/page": "monitoring/test_monitor",
    "monitoring/report": "monitoring/test_monitor",
    "models/manifest": "models/test_files",
    "monitoring/samples": "monitoring/test_monitor",
    "registry/experiment_layout": "cli/test_ui",
    "registry/mlflow_ui": "cli/test_ui",
    "registry/references": "registry/test_location",
    "registry/runs": "training/runs/test_log",
    "registry/sqlite_tables": "registry/test_location",
    "samples/columns": "samples/test_schemas",
    "samples/results/layout": "samples/results/test_tables",
    "samples/results/values": "samples/results/test_tables",
    "samples/table_schema": "samples/test_schemas",
    "scoring/flips": "scoring/test_replay",
    "scoring/past_results": "scoring/test_replay",
    "scoring/frames": "scoring/test_scorer",
    "serving/judging": "serving/test_app",
    "serving/metrics": "serving/test_app",
    "serving/options": "serving/test_app",
    "serving/problems": "serving/test_app",
    "serving/samples": "serving/test_app",
    "serving/served_model": "serving/test_app",
    "spark/environment": "spark/test_session",
    "spark/formats": "spark/test_engine",
    "spark/health": "test_health",
    "spark/inputs": "spark/test_engine",
    "spark/jobs": "spark/test_engine",
    "spark/outputs": "spark/test_engine",
    "spark/remote": "spark/test_session",
    "spark/settings": "spark/test_session",
    "spark/worker": "spark/test_engine",
    "tables/json_records": "tables/test_json_files",
    "tables/reading_options": "tables/test_dialect",
    "tables/table": "tables/test_reading",
    "training/options": "training/test_trainer",
    "training/summary": "training/runs/test_log",
    "training/retraining/options": "training/retraining/test_retrainer",
    "training/runs/combined_data": "training/retraining/test_row_matching",
    "training/runs/compared_runs": "training/test_comparison",
    "training/runs/record": "training/runs/test_reproduction",
    "validation/batches": "validation/test_row_checker",
    "validation/diagnosis": "validation/test_row_checker",
}
MODULES = {
    path.relative_to(PACKAGE).with_suffix("").as_posix()
    for path in PACKAGE.rglob("*.py")
    if path.name != "__init__.py"
}


def own_test(module: str) -> Path:
    """Give the place of a module's test of its name.

    >>> own_test("tables/units").relative_to(TESTS).as_posix()
    'tables/test_units.py'
    """
    folder, _, name = module.rpartition("/")
    return TESTS / folder / f"test_{name}.py"


def test_each_module_has_its_test_or_is_named_with_the_file_that_covers_it():
    without = {module for module in MODULES if not own_test(module).is_file()}
    assert without - set(COVERED) == set(), "no test has their name, and no file is named here"
    assert set(COVERED) - without == set(), "they are no more, or have a test of their name"


@pytest.mark.parametrize("test", sorted(set(COVERED.values())))
def test_each_file_that_is_named_is_there(test):
    assert (TESTS / f"{test}.py").is_file()
