"""The project's pipelines. What they can be told needs no KFP; what defines them imports it."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from components.shared.run.parameters import CrossValidationRun, DriftRun, Group, TrainingRun
from pipelines.cluster import Cluster

if TYPE_CHECKING:
    from kfp.dsl.graph_component import GraphComponent
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineInfo


class Pipeline(StrEnum):
    """A pipeline, by the name that the command line has for it."""

    training = "training"
    cross_validation = "cross-validation"
    drift = "drift"

    @property
    def run(self) -> type[Group]:
        """The model of its run's parameters."""
        runs: dict[Pipeline, type[Group]] = {
            Pipeline.training: TrainingRun,
            Pipeline.cross_validation: CrossValidationRun,
            Pipeline.drift: DriftRun,
        }
        return runs[self]

    @property
    def define(self) -> "Callable[..., GraphComponent]":
        """What makes it for a cluster and, where it is known before it starts, a run's id."""
        from pipelines import cross_validation, drift, training

        return {
            Pipeline.training: training.training_pipeline,
            Pipeline.cross_validation: cross_validation.cross_validation_pipeline,
            Pipeline.drift: drift.drift_pipeline,
        }[self]

    @property
    def info(self) -> "PipelineInfo":
        """Its name, display name and description in KFP."""
        return self.define(Cluster()).pipeline_spec.pipeline_info

    @property
    def committed(self) -> Path:
        """The file that holds what it compiles to."""
        return Path(__file__).with_name(f"{self.name}.yaml")
