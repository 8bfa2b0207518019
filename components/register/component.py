"""KFP interface of the register step."""

from typing import NamedTuple

from kfp.dsl import Artifact, Dataset, Input, Markdown, Model, Output

from components.shared.run.kfp_component import component


@component
def register(
    dataset: Input[Dataset],
    split: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    validations: Input[list[Artifact]],
    registry: str,
    model_registry: str,
    min_accuracy: float,
    min_sensitivity: float,
    min_specificity: float,
    min_external_sensitivity: float,
    min_external_specificity: float,
    min_external_auroc: float,
    champion_margin: float,
    precision: str,
    git_revision: str,
    run_id: str,
    registered_model: Output[Model],
    registration: Output[Markdown],
) -> NamedTuple(  # type: ignore[valid-type]
    "Outputs", [("registered", bool), ("model_uri", str), ("version", int)]
):
    """Registers the model as a new version if it passes the gate; a refusal is no failure.

    Args:
        dataset: What the ingest step wrote.
        split: What the split step wrote.
        model: What the train step wrote.
        evaluation: What the evaluate step wrote.
        validations: What the validate step wrote of each other source.
        registry: The registry: a path, file://, s3:// or gs://. Empty keeps the model only as an
            artifact of the run.
        model_registry: Address of a Kubeflow Model Registry that also records the version. Empty
            records it in none.
        min_accuracy: Minimum accuracy on the held-out part, 0..1.
        min_sensitivity: Minimum sensitivity on the held-out part, 0..1. Brain Tumor is positive.
        min_specificity: Minimum specificity on the held-out part, 0..1.
        min_external_sensitivity: Minimum sensitivity on each other source with tumours, 0..1.
        min_external_specificity: Minimum specificity on each one with healthy images, 0..1.
        min_external_auroc: Minimum AUROC on each one with both classes, 0..1.
        champion_margin: How much worse than the champion accuracy and sensitivity may each be on
            the same held-out images, 0..1.
        precision: In which numbers it will be served, float32 or bfloat16.
        git_revision: Git revision of the code, for the model card.
        run_id: Id of the pipeline run, for the model card.
        registered_model: The registered version. Empty if the gate refused the model.
        registration: Whether the model was registered, and why.

    Returns:
        registered: Whether the model was registered.
        model_uri: The version's address in the registry, or the artifact's without a registry.
            Empty if the gate refused the model.
        version: Its number. 0 if the gate refused the model.
    """
    from components.shared.run.step import step

    with step("register", registration):
        from components.register.gate import Gate
        from components.register.logic import register as register_model
        from components.register.precision import precision_named
        from components.shared.evaluation.external import read_results
        from components.shared.storage.files import write_atomically

        result = register_model(
            dataset_folder=dataset.path,
            split_folder=split.path,
            model_folder=model.path,
            evaluation_folder=evaluation.path,
            external=read_results([validation.path for validation in validations]),
            registered_folder=registered_model.path,
            registry_uri=registry,
            gate=Gate(
                min_accuracy=min_accuracy,
                min_sensitivity=min_sensitivity,
                min_specificity=min_specificity,
                min_external_sensitivity=min_external_sensitivity,
                min_external_specificity=min_external_specificity,
                min_external_auroc=min_external_auroc,
                champion_margin=champion_margin,
            ),
            precision=precision_named(precision),
            git_revision=git_revision,
            run_id=run_id,
            model_registry=model_registry,
        )
        # Without a registry the artifact of the run is the only place of the model.
        uri = result.uri or (registered_model.uri if result.registered else "")
        write_atomically(registration.path, result.summary)
        registered_model.framework = "tensorflow"
        registered_model.metadata["registry_uri"] = uri
        registered_model.metadata["version"] = result.version
        registration.metadata["reasons"] = list(result.reasons)
        if result.registered:
            print(f"registered as version {result.version}: {uri}")
        else:
            print("NOT registered: the model did not pass the gate")
        for reason in result.reasons:
            print(f"- {reason}")
    return bool(result.registered), str(uri), int(result.version)
