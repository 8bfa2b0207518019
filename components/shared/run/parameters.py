"""Every parameter of a run: its name, type, default, range and description, each written once.

A group is a pydantic model; a pipeline's run is made of groups. What a person or KFP sees of a
parameter (the compiled pipeline's inputs and their texts, the command line's options, the check of
a configuration and the check step) is made from these models.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import get_annotations
from typing import Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from components.shared.errors import UserError
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.table import ARCHITECTURES, Architecture

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
ServiceName = Annotated[str, Field(pattern=r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$")]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]

_ARCHITECTURES = "|".join(ARCHITECTURES)
_DEFAULT: Any = Hyperparameters()  # Any: its architecture is any text


def _store_address(address: str) -> str:
    """Checks what an address begins with, where it is no path."""
    from components.shared.storage.location import STORES  # help and completion need none of it

    known = (*STORES, "file")
    scheme, found, _ = address.partition("://")
    if found and scheme.lower() not in known:
        raise ValueError(f"it should be a folder or begin with {'://, '.join(known)}://")
    return address


class Repeated:
    """Marks a parameter that may be given several times; its validator joins them to one text."""


def _sources(given: Any) -> Any:
    """Checks sources and what is said of each; several become one text."""
    from components.shared.data.sources import (
        read_sources,  # compiling needs none of what this imports
        sources_text,
    )

    texts = isinstance(given, list) and all(isinstance(text, str) for text in given)
    if not (texts or isinstance(given, str)):
        return given  # which is told as of no other type
    try:
        return sources_text(read_sources(given))
    except UserError as error:
        raise ValueError(str(error).removeprefix("source: ").removeprefix("source ")) from error


def _sources_or_none(given: Any) -> Any:
    """Checks sources, of which there may be none."""
    return "" if given in ("", []) else _sources(given)


def _class_names(given: str) -> str:
    """Checks what other folders and labels mean."""
    from components.shared.data.class_folders import (
        ClassNames,  # compiling needs none of what this imports
    )

    try:
        ClassNames(given)
    except UserError as error:
        raise ValueError(str(error).removeprefix("class_folders: ")) from error
    return given


@dataclass(frozen=True)
class Parameter:
    """What people and KFP see of a parameter.

    Attributes:
        name: Of the parameter.
        type: bool, int, float, str, dict or list.
        default: Of that type.
        description: For people.
        panel: Of the command line's help.
        choices: All values that it may have; empty where they are not listed.
        repeated: Whether it may be given several times.
    """

    name: str
    type: type
    default: Any
    description: str
    panel: str
    choices: tuple[str, ...] = ()
    repeated: bool = False


class Group(BaseModel):
    """Parameters that the command line's help shows in one panel."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    panel: ClassVar[str] = "Options"

    @classmethod
    def parameters(cls, defaults: Mapping[str, Any] | None = None) -> list[Parameter]:
        """Returns the parameters in their order.

        Args:
            defaults: Those that replace the models' own, by name.
        """
        own = defaults or {}
        found = []
        for name, field in cls.model_fields.items():
            kind: Any = field.annotation
            choices = get_args(kind) if get_origin(kind) is Literal else ()
            found.append(
                Parameter(
                    name=name,
                    type=str if choices else get_origin(kind) or kind,
                    default=own.get(name, field.get_default(call_default_factory=True)),
                    description=field.description or "",
                    panel=cls._group_of(name).panel,
                    choices=choices,
                    repeated=Repeated in field.metadata,
                )
            )
        return found

    @classmethod
    def _group_of(cls, name: str) -> "type[Group]":
        """Returns the group that a parameter is written in."""
        above = (base for base in cls.__mro__ if issubclass(base, Group))
        return next(base for base in above if name in get_annotations(base))

    def of(self, group: "type[Group]") -> dict[str, Any]:
        """Returns the values of one group, by name, to hand it on whole."""
        return {name: getattr(self, name) for name in group.model_fields}


class Data(Group):
    """Which images."""

    panel = "Data"

    source: Annotated[str, BeforeValidator(_sources), Repeated] = Field(
        "kaggle://preetviradiya/brian-tumor-dataset",
        description="kaggle://owner/dataset, s3://bucket/folder, gs://bucket/folder, a folder, a "
        "zip, or sample:// for made-up images. Several are a JSON list; what is said of one alone "
        "is written behind it, as in hospital#weight=2#labels=labels.csv.",
    )
    source_version: str = Field(
        "",
        description="Version of the Kaggle dataset, if it is the only source; empty for the "
        "newest. A change renews the cache.",
    )
    labels: str = Field(
        "",
        description="CSV with the columns path, label and, where known, patient, site, sequence, "
        "type and plane: a path in the source, an absolute path, s3:// or gs://. Of several "
        "sources, for each that names no other.",
    )
    class_folders: Annotated[str, AfterValidator(_class_names)] = Field(
        "",
        description="What folders and labels of other names mean, as in yes=Brain "
        "Tumor,no=Healthy,pred=none. Of several sources, for each that names no other.",
    )
    slices: Count = Field(
        16,
        description="Slices, at most, that are taken of a file that holds several: a DICOM of many "
        "frames or a NIfTI. They are spread over its middle half.",
    )
    max_bad_share: Bound = Field(
        0.05,
        description="Greatest share of unusable files, 0 to 1. Above it the run fails.",
    )


class Workers(Group):
    """Who reads the images."""

    panel = "Data"

    ingest_workers: int = Field(
        1,
        ge=1,
        le=100,
        description="Pods that share the decoding of the images, on a cluster; a local run needs "
        "no more than 1. The dataset is the same, byte for byte.",
    )


class HoldOut(Group):
    """How one part of the images is held out."""

    panel = "Split"

    split_strategy: Literal["grouped", "by-name"] = Field(
        "grouped",
        description="grouped keeps near-duplicates, and images of one patient, in one part. "
        "by-name is the reference's leaky split, for comparison.",
    )
    held_out_share: Share = Field(
        0.2, description="Share of the images, 0 to 1, on which nothing is ever chosen."
    )


class Folds(Group):
    """How every image is held out once."""

    panel = "Split"

    folds_by: Literal["group", "source"] = Field(
        "group",
        description="What a fold holds out: group for a share of the groups, or source for one of "
        "several sources, whole.",
    )
    folds: int = Field(
        5,
        ge=2,
        le=100,
        description="Parts that are held out in turn, near-duplicates and patients kept together. "
        "Each trains a network of its own. By source there are as many as sources.",
    )


class Labels(Group):
    """What is learned of labels that cannot both be right."""

    panel = "Split"

    contradicted: Literal["leave-out", "keep"] = Field(
        "leave-out",
        description="leave-out trains and chooses nothing on images whose picture is filed under "
        "the other class too; keep does. Figures are given with and without them in any case.",
    )


class Validation(Group):
    """What is chosen on images that are not learned."""

    panel = "Split"

    validation_share: Share = Field(
        0.2,
        description="Share of the rest, 0 to 1, on which values, epoch, temperature and threshold "
        "are chosen.",
    )


class Tune(Group):
    """The search for the network and its values."""

    panel = "Tune"

    architectures: str = Field(
        "compact",
        pattern=rf"^({_ARCHITECTURES})( *, *({_ARCHITECTURES}))*$",
        description="Networks, with commas between, that the search chooses among: "
        "compact, efficientnet, reference, xception.",
    )
    tuner: Literal["random", "bayesian", "hyperband", "grid"] = Field(
        "random", description="KerasTuner's algorithm: random, bayesian, hyperband or grid."
    )
    max_trials: Count = Field(8, description="Trials of the search. hyperband decides that itself.")
    tune_epochs: Count = Field(
        8, description="Epochs of each trial. For hyperband, of the longest."
    )
    executions_per_trial: Count = Field(
        1, description="Trainings of each trial, with different seeds. Their mean counts."
    )


class Network(Group):
    """The network and its values, where no search finds them."""

    panel = "Train"

    architecture: Architecture = Field(
        _DEFAULT.architecture,
        description="Network: compact, efficientnet, reference or xception. The values below suit "
        "compact.",
    )
    learning_rate: float = Field(
        _DEFAULT.learning_rate, gt=0, allow_inf_nan=False, description="Of the optimizer."
    )
    dropout: float = Field(
        _DEFAULT.dropout,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="Share of units dropped, 0 to 1.",
    )
    dense: int = Field(
        _DEFAULT.dense,
        ge=2,
        le=100_000,
        description="Units of the first dense layer, where a network has some.",
    )
    augmentation: bool = Field(_DEFAULT.augmentation, description="Vary the training images.")


class Train(Group):
    """A training; the steps that train get this group whole."""

    panel = "Train"

    pretrained_weights: str = Field(
        "",
        description="File of Xception's ImageNet weights without top. Empty to get them from "
        "keras.applications.",
    )
    epochs: Count = Field(16, description="Most epochs of the final training, or of each fold's.")
    patience: int = Field(
        0, ge=0, description="Stop after so many epochs without a better one. 0 trains them all."
    )
    ensemble: int = Field(
        1,
        ge=1,
        le=20,
        description="Networks to train, from different seeds, and average. Each costs its time "
        "again, in training and in serving.",
    )
    average_mirror_image: bool = Field(
        False,
        description="Average each answer with that to the mirror image, at twice the time in "
        "serving.",
    )
    from_model: str = Field(
        "",
        description="Registered version whose weights the training starts from: its folder, or "
        "REGISTRY#VERSION, as in s3://bucket/models#champion. Empty for none.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of everything random.")


class Evaluate(Group):
    """How a network is measured."""

    panel = "Evaluate"

    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="Resamples of the duplicate groups behind each interval.",
    )
    target_sensitivity: Bound = Field(
        0.0,
        description="Share of the validation part's tumours that the threshold has to find, 0 to "
        "1. 0 for the nearest to 0.5 that validation does not speak against.",
    )
    target_error: Share = Field(
        0.02,
        description='Share of the answers that may be wrong, 0 to 1. Images in doubt get "unsure" '
        "beside their class, as few as validation allows.",
    )


class Validate(Group):
    """By which other sources a model is judged."""

    panel = "Validate"

    validate_sources: Annotated[str, BeforeValidator(_sources_or_none), Repeated] = Field(
        "",
        description="Other sources that the model is measured on before the gate, and never "
        "trained on, each with what is said of it, as in other.zip#labels=labels.csv; #version=2 "
        "renews the cache. Several are a JSON list. Empty for none.",
    )
    min_external_sensitivity: Bound = Field(
        0.0,
        description="Least sensitivity of a registered model on each of these sources that has "
        "tumours, 0 to 1.",
    )
    min_external_specificity: Bound = Field(
        0.0,
        description="Least specificity of a registered model on each of these sources that has "
        "healthy images, 0 to 1.",
    )
    min_external_auroc: Bound = Field(
        0.0,
        description="Least AUROC of a registered model on each of these sources that has both, 0 "
        "to 1.",
    )


class Register(Group):
    """What a registered model has to reach, and where it goes."""

    panel = "Register"

    min_accuracy: Bound = Field(
        0.75, description="Least held-out accuracy of a registered model, 0 to 1."
    )
    min_sensitivity: Bound = Field(
        0.8, description="Least held-out sensitivity of a registered model, 0 to 1."
    )
    min_specificity: Bound = Field(
        0.7, description="Least held-out specificity of a registered model, 0 to 1."
    )
    champion_margin: Bound = Field(
        0.02, description="By how much a new model may be worse than the champion, 0 to 1."
    )
    registry: Annotated[str, AfterValidator(_store_address)] = Field(
        "",
        description="Folder of registered models, s3:// or gs://. Empty keeps the model as an "
        "artifact of the run only.",
    )
    kubeflow_model_registry: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        description="Address of a Kubeflow Model Registry, http:// or https://, that records each "
        "version too.",
    )


class Code(Group):
    """Which code ran."""

    panel = "Register"

    git_revision: str = Field(
        "", description="Revision of the code, for the model card or the record."
    )


class Deploy(Group):
    """How a registered model gets to serve."""

    panel = "Deploy"

    inference_service: ServiceName = Field(
        "",
        description="InferenceService to roll the registered model out to; made where missing. "
        "Empty deploys nothing.",
    )
    serving_namespace: str = Field(
        "",
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
        description="Namespace of the InferenceService. Empty for that of the run, or "
        "of the kubeconfig.",
    )
    served_from: str = Field(
        "",
        pattern=r"^((pvc|s3|gs)://.+)?$",
        description="The registry's address as KServe reads it, where the registry is a mounted "
        "folder, such as pvc://claim/registry.",
    )
    canary_percent: int = Field(
        0,
        ge=0,
        le=99,
        description="Share of the traffic that a new model gets first, 0 to 99. 0 replaces the "
        "former one at once.",
    )
    canary_soak_seconds: int = Field(
        300,
        ge=1,
        le=86_400,
        description="How long a canary has to do well before it gets all traffic.",
    )
    canary_max_error_rate: Bound = Field(
        0.01, description="Greatest share of a canary's answers that may fail, 0 to 1."
    )
    canary_max_latency_seconds: Seconds = Field(
        1.0, description="What 95 of 100 answers of a canary have to stay below."
    )
    deploy_force_conflicts: bool = Field(
        False, description="Take storageUri over from what else manages it, such as kubectl."
    )
    deploy_dry_run: bool = Field(False, description="Only show what deploying would change.")


class State(Group):
    """What outlives a step."""

    panel = "Cluster"

    state_root: str = Field(
        "",
        description="Folder that outlives a killed step, which then goes on where it was. Empty "
        "starts it again.",
    )


class Gpus(Group):
    """Where the steps that train run."""

    panel = "Cluster"

    gpu_count: str = Field(
        "0",
        pattern=r"^\d{1,2}$",
        description="GPUs of each step that trains. 0 runs them on CPUs.",
    )
    gpu_type: str = Field(
        "nvidia.com/gpu", pattern=r"^[\w.-]+/[\w.-]+$", description="Resource name of the GPUs."
    )
    gpu_node_selector: dict[str, str] = Field(
        {}, description="Labels of the nodes for the steps that train, as JSON."
    )
    gpu_tolerations: list[dict[str, Any]] = Field(
        [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        description="Tolerations of the steps that train, as JSON.",
    )


class DriftRule(Group):
    """What is asked now, against what the model was measured on; what of it is drift."""

    panel = "Drift"

    prometheus: str = Field(
        "http://prometheus-operated.monitoring.svc:9090",
        pattern=r"^https?://.+$",
        description="Address of the Prometheus that scrapes the predictors. A token for it is in "
        "PROMETHEUS_TOKEN.",
    )
    window_days: int = Field(7, ge=1, le=90, description="Days to look back.")
    psi_limit: float = Field(
        0.2,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="A smaller population stability index is no drift. Of usual limits, 0.1 is a "
        "little and 0.25 much.",
    )
    false_alarms: float = Field(
        0.01,
        ge=0.002,  # what 20,000 shuffles tell of 40 quantities
        le=0.5,
        description="Share of the comparisons, 0 to 1, that may find drift where nothing has "
        "changed.",
    )


class DriftResponse(Group):
    """Which model is watched, and what drift brings about."""

    panel = "Drift"

    served_model: str = Field(
        "champion",
        pattern=r"^(champion|candidate|latest|[1-9]\d{0,8})$",
        description="Version that serves: its number, champion, candidate or latest.",
    )
    retrain: bool = Field(
        False,
        description="Train again where there is drift. Otherwise the run fails, to tell of it.",
    )


# A run takes its groups' parameters from the last group to the first: so pydantic inherits.


class TrainingRun(
    Gpus,
    State,
    Deploy,
    Code,
    Register,
    Validate,
    Evaluate,
    Train,
    Tune,
    Validation,
    Labels,
    HoldOut,
    Workers,
    Data,
):
    """What the training pipeline can be told."""


class CrossValidationRun(
    Gpus, State, Code, Evaluate, Train, Network, Validation, Labels, Folds, Workers, Data
):
    """What the cross-validation pipeline can be told."""


class DriftRun(TrainingRun, DriftResponse, DriftRule):
    """What the drift pipeline can be told; it hands a training's parameters to the training."""


RUNS: tuple[type[Group], ...] = (TrainingRun, CrossValidationRun, DriftRun)
