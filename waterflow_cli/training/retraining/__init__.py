"""A challenger from new rows, and whether it replaces the champion.

It may import `training.runs` and below. Start at `retrain`; `judge_challenger` is the gate.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(__name__, gate="judge_challenger", retrainer="retrain")
