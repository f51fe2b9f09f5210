"""Everything that talks to MLflow: stores, runs, versions, aliases, archives, history.

It may import `models` and below. Start at `fetch_model`: a reference such as ``@champion``
becomes a verified, loaded model. `tracked_run` opens a run.
"""

from typing import TYPE_CHECKING

from waterflow_cli.common.faces import lazy_names

if TYPE_CHECKING:
    from waterflow_cli.registry.location import fetch_model as fetch_model
    from waterflow_cli.registry.lookup import locate as locate
    from waterflow_cli.registry.runs import tracked_run as tracked_run
    from waterflow_cli.registry.stores import connect as connect

__getattr__ = lazy_names(
    __name__, location="fetch_model", lookup="locate", runs="tracked_run", stores="connect"
)
