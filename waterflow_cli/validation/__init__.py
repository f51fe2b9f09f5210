"""Which rows break which rule, and which values lie beyond which limit, in one pass over a file.

It may import `samples` and below. Start at `validate_files`, and at the module `pass_over`
for what is done with each file; `RowChecker` checks one batch.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__, report="validate_files", row_checker="RowChecker", limits="load_limits"
)
