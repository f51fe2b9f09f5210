"""What a model is: plugins, thresholds, calibration, guarantees, metrics and the stored files.

It may import `samples` and below. Start at `DecisionModel`; `load_plugin` finds what builds one,
and `load_payload` reads a stored one, without pickle.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.models.decision import DecisionModel as DecisionModel
    from waterflow_cli.models.decision import Policy as Policy
    from waterflow_cli.models.discovery import load_plugin as load_plugin
    from waterflow_cli.models.files import load_payload as load_payload
    from waterflow_cli.models.files import verify_folder as verify_folder

__getattr__ = lazy_names(
    __name__,
    decision="DecisionModel Policy",
    discovery="load_plugin",
    files="load_payload verify_folder",
)
