"""What stays of a training: log, record, page, plots, and the reproduction of it all.

It may import `training`, `registry` and below. Start at `run_training`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, log="run_training")
