"""Tables and queries of databases, as inputs and outputs.

It is a part of `tables`. Start at `open_database` and `write_table`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, reading="open_database", writing="write_table")
