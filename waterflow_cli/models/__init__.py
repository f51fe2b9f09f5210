"""What a model is: plugins, thresholds, calibration, guarantees, metrics and the stored files.

It may import `samples` and below. Start at `DecisionModel`; `load_plugin` finds what builds one,
and `load_payload` reads a stored one, without pickle.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__,
    decision="DecisionModel Policy",
    discovery="load_plugin",
    files="load_payload",
    manifest="read_verified",
)
