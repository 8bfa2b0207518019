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
from typing_extensions import is_typeddict

from components.shared.errors import UserError, did_you_mean
from components.shared.networks.hyperparameters import BATCH_SIZE, Hyperparameters
from components.shared.networks.table import ARCHITECTURES, Architecture
from components.shared.run.scheduling import NodeAffinity, NodeSelector, Toleration

Share = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
Bound = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, le=100_000)]
ServiceName = Annotated[
    str, Field(pattern=r"^([a-z]([-a-z0-9]{0,38}[a-z0-9])?)?$", examples=["brain-tumor"])
]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]

_DEFAULT: Any = Hyperparameters()  # Any: its architecture is any text


def _store_address(address: str) -> str:
    """Checks what an address begins with, where it is no path."""
    from components.shared.storage.location import (  # help and completion need none of it
        STORES,
        read_location,
    )

    if address:
        read_location(address)  # raises ValueError, for example for s3:/bucket
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


def _networks(given: str) -> str:
    """Checks names of networks, separated by commas."""
    for name in map(str.strip, given.split(",")):
        if name not in ARCHITECTURES:
            raise ValueError(f"{name!r} is not a network; {did_you_mean(name, ARCHITECTURES)}")
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


def _plain_type(kind: Any) -> type:
    """Returns what KFP calls a field's type: a Literal is a str, a TypedDict a dict."""
    if get_origin(kind) is Literal:
        return str
    return dict if is_typeddict(kind) else get_origin(kind) or kind


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
                    type=_plain_type(kind),
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
        description="Where the images are: kaggle://owner/dataset, s3://bucket/folder, "
        "gs://bucket/folder, a folder, a zip, or sample:// for made-up images. Write several as a "
        "JSON list, or repeat the option. Options of one source follow it, for example "
        "hospital#weight=2#labels=labels.csv.",
    )
    source_version: str = Field(
        "",
        description="Version of the Kaggle dataset, for example 1. Empty takes the newest. For "
        "any other single source, a new value makes KFP read the source again.",
    )
    labels: str = Field(
        "",
        description="CSV file of labels, for example labels.csv: a path in the source, an absolute "
        "path, s3:// or gs://. It needs the column path, and at least one of label, patient, site, "
        "sequence, type and plane. It applies to every source that names no other.",
    )
    class_folders: Annotated[str, AfterValidator(_class_names)] = Field(
        "",
        description="What other names of folders and labels mean, for example yes=Brain "
        "Tumor,no=Healthy,pred=none; none leaves a folder out. It applies to every source that "
        "names no other.",
    )
    slices: Count = Field(
        16,
        description="Maximum number of slices to take from a volume: a NIfTI file, or a DICOM file "
        "with several frames. The slices are spread evenly over its middle half.",
    )
    max_bad_share: Bound = Field(
        0.05,
        description="Maximum share of unusable files, 0 to 1. The run fails if more are unusable.",
    )


class Workers(Group):
    """Who reads the images."""

    panel = "Data"

    ingest_workers: int = Field(
        1,
        ge=1,
        le=100,
        description="Number of pods that decode the images in parallel on a cluster. A local run "
        "needs only 1. The dataset is identical, byte for byte, whatever the number.",
    )


class TrainWorkers(Group):
    """Who trains the networks of an ensemble."""

    panel = "Train"

    train_workers: int = Field(
        1,
        ge=1,
        le=20,
        description="Number of pods that train the networks of an ensemble in parallel, each with "
        "all of gpu_count. They keep them in state_root, which all pods have to share. A local run "
        "trains them one after another.",
    )


class HoldOut(Group):
    """How one part of the images is held out."""

    panel = "Split"

    split_strategy: Literal["grouped", "by-name"] = Field(
        "grouped",
        description="How to hold images out. grouped keeps near-duplicates and all images of a "
        "patient in one part. by-name reproduces the reference's split, which leaks, for "
        "comparison.",
    )
    held_out_share: Share = Field(
        0.2,
        description="Share of the images, 0 to 1, to hold out for the evaluation. Nothing is "
        "chosen on them.",
    )


class Folds(Group):
    """How every image is held out once."""

    panel = "Split"

    folds_by: Literal["group", "source"] = Field(
        "group",
        description="What each fold holds out. group: a share of the duplicate groups. source: one "
        "whole source, which needs several sources.",
    )
    folds: int = Field(
        5,
        ge=2,
        le=100,
        description="Number of folds. Each fold trains a network and holds a different part out; "
        "near-duplicates and patients stay together. With folds_by=source there is one fold per "
        "source.",
    )


class Labels(Group):
    """What is learned of labels that cannot both be right."""

    panel = "Split"

    contradicted: Literal["leave-out", "keep"] = Field(
        "leave-out",
        description="What to do with a picture that has both labels. leave-out: neither train on "
        "it nor choose on it. keep: use it. The reports give the figures with and without such "
        "pictures.",
    )


class Validation(Group):
    """What is chosen on images that are not learned."""

    panel = "Split"

    validation_share: Share = Field(
        0.2,
        description="Share of the images that are not held out, 0 to 1, to choose hyperparameters, "
        "epoch, temperature and threshold on.",
    )


class Tune(Group):
    """The search for the network and its values."""

    panel = "Tune"

    architectures: Annotated[str, AfterValidator(_networks)] = Field(
        "compact",
        description="Networks to search, separated by commas: compact, efficientnet, reference, "
        "xception.",
    )
    tuner: Literal["random", "bayesian", "hyperband", "grid"] = Field(
        "random", description="KerasTuner's search: random, bayesian, hyperband or grid."
    )
    max_trials: Count = Field(8, description="Number of trials. hyperband sets its own number.")
    tune_epochs: Count = Field(
        8, description="Epochs of each trial. With hyperband, epochs of the longest trial."
    )
    executions_per_trial: Count = Field(
        1, description="Trainings per trial, each with its own seed. The search compares means."
    )
    tune_workers: int = Field(
        1,
        ge=1,
        le=1000,
        description="Number of trials to train at the same time, each in its own pod with all of "
        "gpu_count. All pods need the same state_root. A local run uses as many processes.",
    )


class Network(Group):
    """The network and its values, where no search finds them."""

    panel = "Train"

    architecture: Architecture = Field(
        _DEFAULT.architecture,
        description="Network to train: compact, efficientnet, reference or xception. The defaults "
        "below suit compact.",
    )
    learning_rate: float = Field(
        _DEFAULT.learning_rate, gt=0, allow_inf_nan=False, description="Learning rate."
    )
    dropout: float = Field(
        _DEFAULT.dropout,
        ge=0,
        lt=1,
        allow_inf_nan=False,
        description="Dropout rate, 0 to 1.",
    )
    dense: int = Field(
        _DEFAULT.dense,
        ge=2,
        le=100_000,
        description="Units of the first dense layer. Networks without one ignore it.",
    )
    augmentation: bool = Field(_DEFAULT.augmentation, description="Augment the training images.")


class Train(Group):
    """A training; the steps that train get this group whole."""

    panel = "Train"

    pretrained_weights: str = Field(
        "",
        description="File of Xception's ImageNet weights without the top layer. Empty downloads "
        "them through keras.applications.",
    )
    epochs: Count = Field(16, description="Maximum number of epochs to train.")
    patience: int = Field(
        0, ge=0, description="Stop after this many epochs without improvement. 0 never stops early."
    )
    batch_size: int = Field(
        BATCH_SIZE,
        ge=1,
        le=65_536,
        description="Images of a batch, shared by all GPUs of a step. The learning rate is given "
        "for 32 images and grows with the square root of the batch size.",
    )
    ensemble: int = Field(
        1,
        ge=1,
        le=20,
        description="Number of networks to train with different seeds. The model averages their "
        "answers. Each one multiplies the time of training and of serving.",
    )
    average_mirror_image: bool = Field(
        False,
        description="Average the answers for an image and its mirror image. Serving takes twice as "
        "long.",
    )
    from_model: str = Field(
        "",
        description="Registered version to start training from: its folder, or REGISTRY#VERSION, "
        "for example s3://bucket/models#champion. Empty starts from the network's own weights.",
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of every random choice.")


class Evaluate(Group):
    """How a network is measured."""

    panel = "Evaluate"

    bootstrap_samples: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="Bootstrap resamples behind each confidence interval. Each draws whole groups: "
        "near-duplicates and a patient's images stay together.",
    )
    target_sensitivity: Bound = Field(
        0.0,
        description="Sensitivity that the threshold has to reach on the images that choose it, "
        "0 to 1: the validation part, or a site's own images for recalibrate. 0 keeps the "
        "threshold near 0.5 unless these images clearly favour another.",
    )
    target_error: Share = Field(
        0.02,
        description="Share of the answers that may be wrong, 0 to 1. The model answers unsure "
        "where it doubts, for as few images as this limit allows.",
    )


class Validate(Group):
    """By which other sources a model is judged."""

    panel = "Validate"

    validate_sources: Annotated[str, BeforeValidator(_sources_or_none), Repeated] = Field(
        "",
        description="Other sources to measure the model on before the gate. It never trains on "
        "them. Options follow a source, for example other.zip#labels=labels.csv; a new #version=2 "
        "makes KFP read it again. Write several as a JSON list, or repeat the option. Empty "
        "measures on none.",
    )
    min_external_sensitivity: Bound = Field(
        0.0,
        description="Minimum sensitivity on each of these sources that has tumours, 0 to 1. The "
        "gate refuses a model below it.",
    )
    min_external_specificity: Bound = Field(
        0.0,
        description="Minimum specificity on each of these sources that has healthy images, 0 to 1. "
        "The gate refuses a model below it.",
    )
    min_external_auroc: Bound = Field(
        0.0,
        description="Minimum AUROC on each of these sources that has both classes, 0 to 1. The "
        "gate refuses a model below it.",
    )


class Register(Group):
    """What a registered model has to reach, and where it goes."""

    panel = "Register"

    min_accuracy: Bound = Field(
        0.75, description="Minimum held-out accuracy to register a model, 0 to 1."
    )
    min_sensitivity: Bound = Field(
        0.8, description="Minimum held-out sensitivity to register a model, 0 to 1."
    )
    min_specificity: Bound = Field(
        0.7, description="Minimum held-out specificity to register a model, 0 to 1."
    )
    champion_margin: Bound = Field(
        0.02,
        description="How much worse than the champion a new model may be, 0 to 1, in accuracy and "
        "in sensitivity.",
    )
    serving_precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Number format of a predictor on CPUs. bfloat16 is faster on CPUs that "
        "multiply it. The gate then also measures the model in bfloat16.",
    )
    registry: Annotated[str, AfterValidator(_store_address)] = Field(
        "",
        description="Registry for the model: a folder, s3://bucket/folder or gs://bucket/folder. "
        "Empty keeps the model of a run on a cluster as its artifact only; a run on this machine "
        "takes the registry in the folder of --runs.",
    )
    kubeflow_model_registry: str = Field(
        "",
        pattern=r"^(https?://.+)?$",
        examples=["http://model-registry-service:8080"],
        description="Address of a Kubeflow Model Registry that also records each version, for "
        "example http://model-registry-service:8080. Empty records it in none.",
    )


class Code(Group):
    """Which code ran."""

    panel = "Register"

    git_revision: str = Field("", description="Git revision of the code. The model card shows it.")


class Deploy(Group):
    """How a registered model gets to serve."""

    panel = "Deploy"

    inference_service: ServiceName = Field(
        "",
        description="InferenceService that serves the registered model. The step creates it if it "
        "is missing. Empty deploys nothing.",
    )
    serving_namespace: str = Field(
        "",
        pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$",
        examples=["kubeflow"],
        description="Namespace of the InferenceService. Empty takes the namespace of the run, or "
        "of the kubeconfig.",
    )
    served_from: str = Field(
        "",
        pattern=r"^((pvc|s3|gs)://.+)?$",
        examples=["pvc://claim/registry"],
        description="Address of the registry for KServe, if the pipeline sees it as a mounted "
        "folder, for example pvc://claim/registry.",
    )
    canary_percent: int = Field(
        0,
        ge=0,
        le=99,
        description="Percentage of the traffic that a new model gets first, 0 to 99. 0 sends it "
        "all traffic at once.",
    )
    canary_soak_seconds: int = Field(
        300,
        ge=1,
        le=86_400,
        description="Seconds that a canary has to do well before it gets all traffic.",
    )
    canary_max_error_rate: Bound = Field(
        0.01, description="Maximum share of a canary's answers that may fail, 0 to 1."
    )
    canary_max_latency_seconds: Seconds = Field(
        1.0, description="Maximum latency of a canary in seconds, at the 95th percentile."
    )
    deploy_force_conflicts: bool = Field(
        False,
        description="Take over the field storageUri from another manager, such as kubectl.",
    )
    deploy_dry_run: bool = Field(
        False, description="Dry run: show what would change, and change nothing."
    )


class State(Group):
    """What outlives a step."""

    panel = "Cluster"

    state_root: str = Field(
        "",
        description="Folder for the state of unfinished steps. A step that was killed resumes from "
        "it. Empty starts such a step from the beginning.",
    )


class Gpus(Group):
    """Where the steps that train run."""

    panel = "Cluster"

    gpu_count: str = Field(
        "0",
        pattern=r"^\d{1,2}$",
        description="Number of GPUs for each step that trains. 0 trains on CPUs.",
    )
    gpu_type: str = Field(
        "nvidia.com/gpu", pattern=r"^[\w.-]+/[\w.-]+$", description="Resource name of the GPUs."
    )
    gpu_node_selector: NodeSelector = Field(
        {},
        description="Labels of the nodes for the steps that train, as JSON, for example "
        '{"gpu": "a100"}.',
    )
    gpu_node_affinity: NodeAffinity = Field(
        NodeAffinity(),
        description="Kubernetes' nodeAffinity of the steps that train, as JSON: which nodes they "
        "need or prefer, such as spot nodes.",
    )
    gpu_tolerations: list[Toleration] = Field(
        [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        description="Tolerations of the steps that train, as JSON.",
    )


class DriftRule(Group):
    """What is asked now, against what the model was measured on; what of it is drift."""

    panel = "Drift"

    prometheus: str = Field(
        "http://prometheus-operated.monitoring.svc:9090",
        pattern=r"^https?://.+$",
        description="Address of the Prometheus that scrapes the predictors. If it needs a token, "
        "put it into the environment variable PROMETHEUS_TOKEN.",
    )
    window_days: int = Field(7, ge=1, le=90, description="Days to look back.")
    psi_limit: float = Field(
        0.2,
        ge=0,
        le=100,
        allow_inf_nan=False,
        description="Minimum population stability index (PSI) to call drift. By convention 0.1 is "
        "a small shift and 0.25 a large one.",
    )
    false_alarms: float = Field(
        0.01,
        ge=0.002,  # what 20,000 shuffles tell of 40 quantities
        le=0.5,
        description="False alarm rate, 0 to 1: the share of comparisons that may find drift though "
        "nothing has changed.",
    )


class DriftResponse(Group):
    """Which model is watched, and what drift brings about."""

    panel = "Drift"

    served_model: str = Field(
        "champion",
        pattern=r"^(champion|candidate|latest|[1-9]\d{0,8})$",
        description="Registered version that serves: a number, champion, candidate or latest.",
    )
    retrain: bool = Field(
        False,
        description="Retrain if there is drift. Without it, drift makes the run fail, so that "
        "whoever watches the runs sees it.",
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
    TrainWorkers,
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
