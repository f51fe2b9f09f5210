"""For plugin authors: build pipelines. See `waterflow_cli.models.pipelines`.

A plugin that imports this for its one line of description does not import scikit-learn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waterflow_cli.models.contract import EstimatorPlugin

if TYPE_CHECKING:
    from waterflow_cli.models.pipelines import SampleWeighted, balanced_pipeline, make_sampler

__all__ = ["EstimatorPlugin", "SampleWeighted", "balanced_pipeline", "make_sampler"]


def __getattr__(name: str) -> Any:
    """Import what builds pipelines when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from waterflow_cli.models import pipelines

    return getattr(pipelines, name)
