"""Where a step runs and what it may reach: what KFP is told of each task."""

from kfp import kubernetes
from kfp.dsl import PipelineTask

from components.shared.model_folder import signing
from components.shared.run.parameters import Gpus
from pipelines.cluster import (
    GCS_KEY,
    GCS_KEY_FOLDER,
    PROMETHEUS_SECRET,
    PROMETHEUS_TOKEN,
    PUBLIC_KEY,
    SIGNING_FOLDER,
    SIGNING_KEY,
    STORE_VARIABLES,
    TOKEN_KEY,
    TOKEN_SECRET,
    TOKEN_VARIABLE,
    TRUST_FOLDER,
    VOLUME,
    Cluster,
)

# Kueue's labels of a pod.
QUEUE, PRIORITY = "kueue.x-k8s.io/queue-name", "kueue.x-k8s.io/priority-class"
LIGHT = ("100m", "512Mi")  # CPU and memory of a step that computes nothing


def place(
    task: PipelineTask,
    cluster: Cluster,
    cpu: str,
    memory: str,
    cached: bool = True,
) -> None:
    """Gives a task the image, its share of a node, its user and its place in a queue.

    Args:
        task: The task.
        cluster: What is compiled in.
        cpu: Request; TensorFlow takes the CPUs that are free.
        memory: Request and limit.
        cached: Whether what an earlier run's step made may be taken.
    """
    task.set_container_image(cluster.image)
    task.set_cpu_request(cpu)
    task.set_memory_request(memory)
    task.set_memory_limit(memory)
    task.set_caching_options(cluster.caching and cached)
    # 0 is no number of theirs: KFP is then told of none.
    kubernetes.set_security_context(
        task, cluster.run_as_user or None, cluster.run_as_group or None, run_as_non_root=True
    )
    if cluster.image_pull_secret:
        kubernetes.set_image_pull_secrets(task, [cluster.image_pull_secret])
    for label, name in ((QUEUE, cluster.queue), (PRIORITY, cluster.priority_class)):
        if name:
            kubernetes.add_pod_label(task, label, name)


def place_on_gpus(
    task: PipelineTask,
    cluster: Cluster,
    run: Gpus,
) -> None:
    """Lets a run's parameters say on which GPUs a task runs.

    Args:
        task: The task.
        cluster: What is compiled in.
        run: Its parameters; in place of their values stand KFP's channels.
    """
    task.set_accelerator_type(run.gpu_type)
    task.set_accelerator_limit(run.gpu_count)
    # KFP forgets to hand these two into a loop.
    task.register_pipeline_channels([run.gpu_type, run.gpu_count])
    kubernetes.add_node_selector_json(task, run.gpu_node_selector)
    kubernetes.add_node_affinity_json(task, run.gpu_node_affinity)
    kubernetes.add_toleration_json(task, run.gpu_tolerations)
    kubernetes.empty_dir_mount(task, "dshm", "/dev/shm", "Memory", cluster.shared_memory)


def place_training(task: PipelineTask, cluster: Cluster, run: Gpus) -> None:
    """Gives a task that trains networks all that such a task needs.

    Args:
        task: The task.
        cluster: What is compiled in.
        run: Its parameters; in place of their values stand KFP's channels.
    """
    place(task, cluster, cluster.training_cpu, cluster.training_memory)
    place_on_gpus(task, cluster, run)
    connect_store(task, cluster)
    let_verify(task, cluster)
    mount_volume(task, cluster)


def connect_kaggle(task: PipelineTask, cluster: Cluster) -> None:
    """Gives a task the Kaggle account, if there is one."""
    kubernetes.use_secret_as_env(
        task,
        cluster.kaggle_secret,
        {"username": "KAGGLE_USERNAME", "key": "KAGGLE_KEY"},
        optional=True,
    )


def connect_store(task: PipelineTask, cluster: Cluster) -> None:
    """Gives a task the store's keys; where it needs none, or a pod has an identity, no secret."""
    kubernetes.use_secret_as_env(
        task,
        cluster.store_secret,
        {variable: variable for variable in STORE_VARIABLES},
        optional=True,
    )
    if cluster.gcs_secret:
        kubernetes.use_secret_as_volume(task, cluster.gcs_secret, GCS_KEY_FOLDER)
        task.set_env_variable("GOOGLE_APPLICATION_CREDENTIALS", GCS_KEY)


def connect_predictor(task: PipelineTask) -> None:
    """Gives a task the predictor's token, if there is one."""
    kubernetes.use_secret_as_env(task, TOKEN_SECRET, {TOKEN_KEY: TOKEN_VARIABLE}, optional=True)


def connect_prometheus(task: PipelineTask) -> None:
    """Gives a task the token for Prometheus, if there is one."""
    kubernetes.use_secret_as_env(
        task, PROMETHEUS_SECRET, {TOKEN_KEY: PROMETHEUS_TOKEN}, optional=True
    )


def let_sign(task: PipelineTask, cluster: Cluster) -> None:
    """Mounts the key by which a task signs versions, if there is one."""
    if cluster.signing_secret:
        kubernetes.use_secret_as_volume(task, cluster.signing_secret, SIGNING_FOLDER)
        task.set_env_variable(signing.SIGNING_KEY, f"{SIGNING_FOLDER}/{SIGNING_KEY}")


def let_verify(task: PipelineTask, cluster: Cluster) -> None:
    """Mounts the key by which versions have to be signed that a task reads, if there is one."""
    if cluster.public_key_config_map:
        kubernetes.use_config_map_as_volume(task, cluster.public_key_config_map, TRUST_FOLDER)
        task.set_env_variable(signing.PUBLIC_KEY, f"{TRUST_FOLDER}/{PUBLIC_KEY}")


def mount_volume(task: PipelineTask, cluster: Cluster) -> None:
    """Mounts the cluster's volume, if it has one."""
    if cluster.volume_claim:
        kubernetes.mount_pvc(task, cluster.volume_claim, VOLUME)
