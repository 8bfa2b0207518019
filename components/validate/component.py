"""KFP interface of the validate step."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Model, Output

from components.shared.run.kfp_component import component


@component
def validate(
    other: Input[Dataset],
    dataset: Input[Dataset],
    split: Input[Dataset],
    model: Input[Model],
    evaluation: Input[Artifact],
    source: str,
    seed: int,
    bootstrap_samples: int,
    validation: Output[Artifact],
    validation_report: Output[HTML],
    validation_metrics: Output[Metrics],
) -> None:
    """Measures the model on another source than its own dataset.

    Args:
        other: What ingest_other wrote of the source.
        dataset: The model's own dataset, as ingest wrote it.
        split: What split wrote.
        model: What train wrote.
        evaluation: What evaluate wrote.
        source: The other source. Empty measures nothing.
        seed: Seed of the bootstrap.
        bootstrap_samples: Resamples behind each interval.
        validation: Folder of external.json and predictions.csv. Without a source it has neither.
        validation_report: Self-contained HTML.
        validation_metrics: The measures, and how many images were flagged and left out.
    """
    from components.shared.run.step import step

    with step("validate", validation, validation_metrics):
        from components.validate.logic import nothing, validate
        from components.validate.model import trained_model

        if source:
            from components.shared.data.dataset import ImageDataset
            from components.shared.data.sources import source_title
            from components.shared.model_folder.known_images import learned_images

            result = validate(
                ImageDataset(other.path),
                trained_model(model.path, evaluation.path),
                learned_images(ImageDataset(dataset.path), model.path),
                validation.path,
                validation_report.path,
                name=source_title(source),
                seed=seed,
                bootstrap_samples=bootstrap_samples,
            )
            print(f"{result.sentence()}; the report: {validation_report.path}")
            for name, value in result.numbers().items():
                validation_metrics.log_metric(name, float(value))
        else:
            nothing(validation.path, validation_report.path)
