"""A model and a file become a scored file that can be resumed, explained and replayed.

It may import `models`, `validation` and below. Start at `Scorer`, which judges one batch for
every engine; `score_files` is the local one.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, scorer="Scorer", job="score_files", task="ScoringOptions")
