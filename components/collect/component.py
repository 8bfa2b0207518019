"""KFP interface of the collect step."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def collect(
    dataset: Input[Dataset],
    folds: Input[list[Artifact]],
    cross_validation_report: Output[HTML],
    suspicious_labels: Output[HTML],
    cross_validation_metrics: Output[Metrics],
    cross_validation: Output[Artifact],
    seed: int,
    bootstrap_samples: int,
    git_revision: str,
) -> None:
    """Measures the folds' predictions beside two baselines, and lists labels in doubt.

    Args:
        dataset: What ingest wrote.
        folds: What cross_validate wrote for each fold.
        cross_validation_report: Self-contained HTML with the figures.
        suspicious_labels: Gallery of the labels that a radiologist should look at.
        cross_validation_metrics: Every number. Its name has the images, the predictor, the measure.
        cross_validation: Folder of cross_validation.json, predictions.csv, suspicious_labels.csv.
        seed: Seed of the bootstrap.
        bootstrap_samples: Bootstrap resamples of the duplicate groups behind each interval.
        git_revision: Git revision of the code.
    """
    from components.shared.run.step import step

    with step("collect", cross_validation, cross_validation_metrics):
        from components.collect.logic import collect
        from components.shared.data.dataset import ImageDataset

        result = collect(
            ImageDataset(dataset.path),
            [fold.path for fold in folds],
            cross_validation.path,
            cross_validation_report.path,
            suspicious_labels.path,
            seed=seed,
            bootstrap_samples=bootstrap_samples,
            git_revision=git_revision,
        )
        for name, number in result.flat().items():
            cross_validation_metrics.log_metric(name, float(number))
