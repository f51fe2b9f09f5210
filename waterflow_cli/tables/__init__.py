"""A file of any encoding, separator and decimal mark becomes batches; batches become a file.

It may import `common`. Start at `open_table`: a path becomes a `Table`, whose batches keep the
text of each cell. `OutputGroup` publishes outputs whole or not at all.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__,
    reading="open_table",
    table="Table Batch",
    reading_options="ReadingOptions",
    outputs="OutputGroup",
    writing="open_table_writer",
)
