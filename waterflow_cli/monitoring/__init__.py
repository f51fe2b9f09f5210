"""Whether new data, predictions and labels still look like the training's.

It may import `registry`, `models`, `validation` and below. Start at `monitor_file`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, monitor="monitor_file")
