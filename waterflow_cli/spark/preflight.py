"""What is refused before Spark is started: all that this machine knows to be wrong.

The engine checks the same once more where Spark runs, for what a URI names is known only there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waterflow_cli.models.files import StoredModel
from waterflow_cli.registry.location import FetchedModel
from waterflow_cli.samples.opening import open_samples
from waterflow_cli.samples.table_schema import TableSchema
from waterflow_cli.scoring.task import ScoringOptions
from waterflow_cli.spark.engine import columns_of, refuse_unique
from waterflow_cli.spark.files import InputFile, LocalFiles
from waterflow_cli.spark.formats import check_keys
from waterflow_cli.spark.inputs import refuse_names
from waterflow_cli.spark.jobs import ScoringJob, ValidationJob, held_model
from waterflow_cli.spark.outputs import check_folder, check_named, check_single
from waterflow_cli.spark.settings import OutputLayout
from waterflow_cli.spark.worker import Job
from waterflow_cli.tables.outputs import STDOUT
from waterflow_cli.tables.sources import is_uri, open_source
from waterflow_cli.validation.report import ValidationOptions


def check_scoring(
    fetched: FetchedModel,
    model: StoredModel,
    paths: Sequence[str],
    output: str,
    options: ScoringOptions,
    layout: OutputLayout,
) -> None:
    """Refuse what `SparkEngine.score` would refuse, and raise what it would raise."""
    refuse_unique(model.schema)
    files = _readable(paths)
    named = {"-o": output, "--rejects": options.rejects, "--manifest": options.manifest}
    _check_outputs(named, "--manifest", files, layout, options)
    shown = held_model(fetched, model)
    several = len(files) > 1
    job = ScoringJob(
        schema=model.schema, options=options, model=shown, is_several=several, n_rows=0
    )
    _look_at_first(paths, files, job, layout)


def check_validation(
    paths: Sequence[str],
    schema: TableSchema,
    options: ValidationOptions,
    findings: str,
    layout: OutputLayout,
) -> None:
    """Refuse what `SparkEngine.validate` would refuse, and raise what it would raise."""
    refuse_unique(schema)
    files = _readable(paths)
    options.refuse_several(files)
    named = {"-o": findings, "--good": options.good, "--bad": options.bad}
    _check_outputs(named, "-o", files, layout, options)
    _look_at_first(paths, files, ValidationJob(schema=schema, options=options), layout)


def _readable(paths: Sequence[str]) -> list[InputFile]:
    """Find the inputs on this machine, and open each."""
    files = LocalFiles().list_inputs(paths)
    refuse_names(files)
    for file in files:
        with open_source(file.name):
            pass
    return files


def _check_outputs(
    named: Mapping[str, str | None],
    told: str,
    inputs: Sequence[InputFile],
    layout: OutputLayout,
    options: ValidationOptions | ScoringOptions,
) -> None:
    files, force = LocalFiles(), options.force
    read = [*inputs, *files.list_inputs(options.reading.samplings)]
    for path in check_named(files, named, told, read, layout, force=force).values():
        check = check_single if layout.is_single or path == STDOUT else check_folder
        check(path, files, force=force, inputs=read)


def _look_at_first(
    paths: Sequence[str], files: Sequence[InputFile], job: Job, layout: OutputLayout
) -> None:
    """Do the work with the first rows, where the first input is one of this machine."""
    if is_uri(paths[0]):
        return
    with open_samples(files[0].name, job.schema, job.options.reading) as table:
        columns = columns_of(job, table)
    if isinstance(job, ScoringJob):
        check_keys(layout.keys, columns.names)
