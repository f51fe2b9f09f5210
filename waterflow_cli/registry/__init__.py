"""Everything that talks to MLflow: stores, runs, versions, aliases, archives, history.

It may import `models` and below. Start at `fetch_model`: a reference such as ``@champion``
becomes a verified, loaded model. `tracked_run` opens a run.
"""

from waterflow_cli.common.faces import lazy_names

__getattr__ = lazy_names(
    __name__, location="fetch_model", lookup="locate", runs="tracked_run", stores="connect"
)
