"""What a row of water measurements is: schemas, layouts of sources, cells, made-up samples.

It may import `tables` and below. Start at `load_schema` and `open_samples`, which gives a table
with one row for each sample, however its source laid it out.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.samples.opening import open_samples as open_samples
    from waterflow_cli.samples.schemas import load_schema as load_schema
    from waterflow_cli.samples.simulation import write_simulation as write_simulation
    from waterflow_cli.samples.table_schema import TableSchema as TableSchema

__getattr__ = lazy_names(
    __name__,
    schemas="load_schema",
    table_schema="TableSchema",
    opening="open_samples",
    simulation="write_simulation",
)
