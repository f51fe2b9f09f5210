"""A model and a file become a scored file that can be resumed, explained and replayed.

It may import `models`, `validation` and below. Start at `Scorer`, which judges one batch for
every engine; `score_files` is the local one.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.scoring.job import score_files as score_files
    from waterflow_cli.scoring.scorer import Scorer as Scorer
    from waterflow_cli.scoring.task import ScoringOptions as ScoringOptions

__getattr__ = lazy_names(__name__, scorer="Scorer", job="score_files", task="ScoringOptions")
