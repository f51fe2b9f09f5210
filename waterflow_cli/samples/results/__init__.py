"""How a table with one row for each result becomes one with a row for each sample.

A part of `samples`. Start at `ResultTable`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, tables="ResultTable")
