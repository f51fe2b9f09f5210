"""What is in a data set before any model: a report and a page.

It may import `training` (designs and folds), `validation` and below. Start at `explore`.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, report="explore")
