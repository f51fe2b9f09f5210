"""A challenger from new rows, and whether it replaces the champion.

It may import `training.runs` and below. Start at `retrain`; `judge_challenger` is the gate.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.training.retraining.gate import judge_challenger as judge_challenger
    from waterflow_cli.training.retraining.retrainer import retrain as retrain

__getattr__ = lazy_names(__name__, gate="judge_challenger", retrainer="retrain")
