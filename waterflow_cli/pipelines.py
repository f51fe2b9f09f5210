"""For plugin authors: build pipelines. See `waterflow_cli.models.pipelines`."""

from waterflow_cli.models.pipelines import (
    EstimatorPlugin,
    SampleWeighted,
    balanced_pipeline,
    make_sampler,
)

__all__ = ["EstimatorPlugin", "SampleWeighted", "balanced_pipeline", "make_sampler"]
