"""The project's pipelines."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path

from kfp.dsl.graph_component import GraphComponent
from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineInfo

from pipelines import cross_validation, training
from pipelines.cluster import Cluster


class Pipeline(StrEnum):
    """A pipeline, by the name that the command line has for it."""

    training = "training"
    cross_validation = "cross-validation"

    @property
    def kfp_name(self) -> str:
        """Its name in KFP."""
        return {
            Pipeline.training: training.NAME,
            Pipeline.cross_validation: cross_validation.NAME,
        }[self]

    @property
    def define(self) -> Callable[..., GraphComponent]:
        """What makes it for a cluster and, where it is known before it starts, a run's id."""
        return {
            Pipeline.training: training.training_pipeline,
            Pipeline.cross_validation: cross_validation.cross_validation_pipeline,
        }[self]

    @property
    def info(self) -> PipelineInfo:
        """Its name, display name and description in KFP."""
        return self.define(Cluster()).pipeline_spec.pipeline_info

    @property
    def committed(self) -> Path:
        """The file that holds what it compiles to."""
        return Path(__file__).with_name(f"{self.name}.yaml")
