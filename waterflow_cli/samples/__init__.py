"""What a row of water measurements is: schemas, layouts of sources, cells, made-up samples.

It may import `tables` and below. Start at `load_schema` and `open_samples`, which gives a table
with one row for each sample, however its source laid it out.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__,
    schemas="load_schema",
    table_schema="TableSchema",
    opening="open_samples",
    simulation="write_simulation",
)
