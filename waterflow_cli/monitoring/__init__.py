"""Whether new data, predictions and labels still look like the training's.

It may import `registry`, `models`, `validation` and below. Start at `monitor_file`.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.monitoring.monitor import monitor_file as monitor_file

__getattr__ = lazy_names(__name__, monitor="monitor_file")
