"""The evaluate step's KFP interface."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Input, Metrics, Model, Output

from components.shared.run.kfp_component import component


@component
def evaluate(
    dataset: Input[Dataset],
    split: Input[Dataset],
    model: Input[Model],
    seed: int,
    bootstrap_samples: int,
    target_sensitivity: float,
    target_error: float,
    held_out_metrics: Output[Metrics],
    held_out_curves: Output[ClassificationMetrics],
    held_out_details: Output[Metrics],
    full_dataset_metrics: Output[Metrics],
    full_dataset_curves: Output[ClassificationMetrics],
    evaluation_report: Output[HTML],
    evaluation: Output[Artifact],
) -> NamedTuple(  # type: ignore[valid-type]
    "Outputs",
    [
        ("threshold", float),
        ("held_out_accuracy", float),
        ("held_out_sensitivity", float),
        ("held_out_specificity", float),
    ],
):
    """Calibrates the model, and measures it beside two baselines, held out and on all images.

    Args:
        dataset: What ingest wrote.
        split: What split wrote.
        model: What train wrote.
        seed: Seed of the bootstrap and of the metadata-only baseline.
        bootstrap_samples: Bootstrap resamples of the duplicate groups behind each interval.
        target_sensitivity: Sensitivity that the threshold has to reach on the validation part,
            0..1. 0 sets no target.
        target_error: Share of the answers that may be wrong. Doubtful images get "unsure".
        held_out_metrics: The eight measures on the held-out part, temperature and threshold.
        held_out_curves: Confusion matrix and ROC on the held-out part.
        held_out_details: Intervals, baselines, shortcuts and stability on the held-out part.
        full_dataset_metrics: All measures on the full dataset. The model was trained on most of it.
        full_dataset_curves: Confusion matrix and ROC on the full dataset.
        evaluation_report: Self-contained HTML.
        evaluation: Folder of evaluation.json, roc.json and predictions.csv.

    Returns:
        The decision threshold, and the model's held-out accuracy, sensitivity and specificity.
    """
    from components.shared.run.step import step

    with step(
        "evaluate",
        evaluation,
        held_out_metrics,
        held_out_details,
        full_dataset_metrics,
        held_out_curves,
        full_dataset_curves,
    ):
        from components.evaluate.logic import evaluate
        from components.shared.data.classes import CLASSES
        from components.shared.data.dataset import ImageDataset, Split
        from components.shared.evaluation.results import RocCurves
        from components.shared.evaluation.subgroups import min_by_subgroup

        images = ImageDataset(dataset.path)
        result = evaluate(
            images,
            Split.open(split.path, images),
            model.path,
            evaluation.path,
            evaluation_report.path,
            seed=seed,
            bootstrap_samples=bootstrap_samples,
            target_sensitivity=target_sensitivity,
            target_error=target_error,
        )
        for metrics, numbers in (
            (held_out_metrics, result.held_out_metrics()),
            (held_out_details, result.held_out_details() | min_by_subgroup(result)),
            (full_dataset_metrics, result.full_dataset_metrics()),
        ):
            for name, value in numbers.items():
                metrics.log_metric(name, float(value))
        curves = RocCurves.open(evaluation.path)
        for artifact, part, curve in (
            (held_out_curves, result.held_out, curves.held_out),
            (full_dataset_curves, result.full_dataset, curves.full_dataset),
        ):
            artifact.log_confusion_matrix(list(CLASSES), [list(row) for row in part.confusion])
            artifact.log_roc_curve(list(curve.fpr), list(curve.tpr), list(curve.threshold))
        scores = result.held_out.model
    return (
        float(result.threshold),
        float(scores.accuracy.value),
        float(scores.sensitivity.value),
        float(scores.specificity.value),
    )
