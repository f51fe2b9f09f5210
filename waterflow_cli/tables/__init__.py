"""A file of any encoding, separator and decimal mark becomes batches; batches become a file.

It may import `common`. Start at `open_table`: a path becomes a `Table`, whose batches keep the
text of each cell. `OutputGroup` publishes outputs whole or not at all.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.tables.outputs import OutputGroup as OutputGroup
    from waterflow_cli.tables.reading import open_table as open_table
    from waterflow_cli.tables.reading_options import ReadingOptions as ReadingOptions
    from waterflow_cli.tables.table import Batch as Batch
    from waterflow_cli.tables.table import Table as Table
    from waterflow_cli.tables.writing import open_table_writer as open_table_writer

__getattr__ = lazy_names(
    __name__,
    reading="open_table",
    table="Table Batch",
    reading_options="ReadingOptions",
    outputs="OutputGroup",
    writing="open_table_writer",
)
