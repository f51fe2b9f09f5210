"""A sheet of a workbook, and a table that lies on its side, become a table like any other.

It may import `tables`, and what that may. Start at `open_file`: any path
becomes a `Table`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, opening="open_file")
