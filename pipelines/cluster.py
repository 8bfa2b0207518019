"""What a cluster gives the pipeline's pods and KFP cannot take as a run parameter."""

import re
from typing import Annotated

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from components.shared.errors import UserError
from components.shared.run.parameters import Group
from components.shared.run.scheduling import SUBDOMAIN
from pipelines.image_reference import check_image

VOLUME = "/mnt/brain-tumor"
# Keys of the store's secret, which are the environment variables that they become.
STORE_VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_ENDPOINT_URL",
    "AWS_DEFAULT_REGION",
    "S3_VERIFY_SSL",
)
# Secret with the predictor's token, its key, and the environment variable that it becomes.
TOKEN_SECRET, TOKEN_KEY, TOKEN_VARIABLE = "predictor-token", "token", "BRAIN_TUMOR_TOKEN"
# Likewise for Prometheus.
PROMETHEUS_SECRET, PROMETHEUS_TOKEN = "prometheus-token", "PROMETHEUS_TOKEN"
# Names of Kubernetes objects, and those that are the value of a label as well.
Name = Annotated[str, Field(pattern=f"^{SUBDOMAIN}$", max_length=253)]
NameOrNone = Annotated[
    str, Field(pattern=f"^({SUBDOMAIN})?$", max_length=253, examples=["registry.example"])
]
# KFP calls the volume of a claim, a Secret or a ConfigMap as that is called; volumes have no dots.
VolumeOrNone = Annotated[
    str, Field(pattern=r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$", examples=["brain-tumor"])
]
LabelOrNone = Annotated[
    str, Field(pattern=f"^({SUBDOMAIN})?$", max_length=63, examples=["brain-tumor"])
]
UserId = Annotated[int, Field(ge=0, lt=2**31)]
# Kubernetes quantities.
_CPU = r"^([1-9]\d{0,5}m|[1-9]\d{0,2}(\.\d{1,3})?|0\.\d{1,3})$"
_MEMORY = r"^[1-9]\d*[MG]i$"
GCS_KEY_FOLDER = "/var/run/secrets/gcs"
GCS_KEY = f"{GCS_KEY_FOLDER}/gcloud-application-credentials.json"  # as KServe names the key
# Keys of the signer's Secret, and of the ConfigMap with the signer to trust.
SIGNING_FOLDER, SIGNING_KEY = "/var/run/secrets/signing", "signing-key.pem"
TRUST_FOLDER, PUBLIC_KEY = "/etc/brain-tumor-signer", "public-key.pem"


class Cluster(Group):
    """Settings that are compiled into the pipeline.

    KFP takes the size of /dev/shm, labels of pods, users, volumes of which there may be none, and
    caching only when a pipeline is compiled. It takes CPU and memory with a run as well, but then
    they count as inputs of a step: more memory for a step that ran out of it would repeat all steps
    before it.
    What else it can take with a run is a parameter of the pipeline.
    """

    panel = "Compiled in"

    image: Annotated[str, AfterValidator(check_image)] = Field(
        "brain-tumor-train:0.1.0",
        description="Image of all steps, built from Dockerfile.train. Use a digest or a tag that "
        "never moves: KFP's cache compares the name.",
    )
    cpu: str = Field(
        "250m",
        pattern=_CPU,
        examples=["2", "250m"],
        description="CPUs that a step requests, for example 2 or 250m. It may use more.",
    )
    memory: str = Field(
        "2Gi",
        pattern=_MEMORY,
        description="Memory request and limit of a step, for example 512Mi.",
    )
    training_cpu: str = Field(
        "250m",
        pattern=_CPU,
        examples=["2", "250m"],
        description="CPUs that a step that trains requests.",
    )
    training_memory: str = Field(
        "3Gi", pattern=_MEMORY, description="Memory request and limit of a step that trains."
    )
    shared_memory: str = Field(
        "2Gi", pattern=_MEMORY, description="Size of /dev/shm for the steps that train."
    )
    queue: LabelOrNone = Field(
        "",
        description="Kueue's LocalQueue of every step's pod. Empty uses none.",
    )
    priority_class: LabelOrNone = Field(
        "",
        description="Kueue's WorkloadPriorityClass of these pods. Empty uses none.",
    )
    run_as_user: UserId = Field(
        65532,
        description="User id of every step, never root. 0 takes the image's user, or the one that "
        "OpenShift assigns.",
    )
    run_as_group: UserId = Field(65532, description="Group id of every step. 0 as for the user.")
    image_pull_secret: NameOrNone = Field(
        "",
        description="Secret to pull the image with. Empty uses none.",
    )
    volume_claim: VolumeOrNone = Field(
        "",
        description=f"PersistentVolumeClaim to mount at {VOLUME}: killed steps resume from it and "
        "models are registered on it.",
    )
    kaggle_secret: Name = Field(
        "kaggle-credentials",
        description="Secret with the keys username and key. A public dataset needs none.",
    )
    store_secret: Name = Field(
        "store-credentials",
        description=f"Secret with the keys {', '.join(STORE_VARIABLES)}, as far as an S3 store "
        "needs them. It may be missing.",
    )
    gcs_secret: VolumeOrNone = Field(
        "",
        description="Secret with the key gcloud-application-credentials.json, for Google Cloud "
        "Storage without workload identity.",
    )
    signing_secret: VolumeOrNone = Field(
        "",
        description=f"Secret with the key {SIGNING_KEY}, which signs registered versions.",
    )
    public_key_config_map: VolumeOrNone = Field(
        "",
        description=f"ConfigMap with the key {PUBLIC_KEY}: steps refuse versions that are not "
        "signed with its private key.",
    )
    parallelism: int = Field(
        0,
        ge=0,
        le=100,
        description="Maximum number of folds, or of other sources, at a time. 0 runs all at once.",
    )
    caching: bool = Field(True, description="Reuse finished steps of earlier runs.")

    @field_validator("priority_class")
    @classmethod
    def _in_a_queue(cls, name: str, settings: ValidationInfo) -> str:
        """Checks that what only Kueue reads goes to a queue of Kueue's."""
        if name and not settings.data.get("queue"):
            raise ValueError("only Kueue reads it; set queue too")
        return name

    @property
    def defaults(self) -> dict[str, str]:
        """What the volume makes of the defaults of a run's parameters, by name."""
        if not self.volume_claim:
            return {}
        return {
            "registry": f"{VOLUME}/registry",
            "served_from": f"pvc://{self.volume_claim}/registry",
            "state_root": f"{VOLUME}/state",
        }


def check_namespace(name: str) -> None:
    """Checks the name of a namespace.

    Raises:
        UserError: No namespace can have it.
    """
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", name):
        raise UserError(f"{name!r} is not the name of a namespace; give one such as kubeflow")
