"""KFP interface of the ingest step."""

from typing import NamedTuple

from kfp.dsl import HTML, Dataset, Metrics, Output

from components.base import component


@component
def ingest(
    dataset: Output[Dataset],
    data_report: Output[HTML],
    data_metrics: Output[Metrics],
    source: str,
    source_version: str,
    max_bad_share: float,
    seed: int,
    state_root: str,
) -> NamedTuple("Outputs", [("images", int), ("dataset_digest", str)]):  # type: ignore[valid-type]
    """Checks, decodes and groups the images of a source.

    Args:
        dataset: Shards of pixels and a manifest.
        data_report: What the data is like.
        data_metrics: Counts, and what metadata alone gives away.
        source: kaggle://owner/dataset, sample://, or a folder or zip, also in s3:// or gs://.
        source_version: Version of the dataset, for Kaggle; elsewhere it only renews the cache.
        max_bad_share: Greatest share of unusable files.
        seed: Of the report's samples.
        state_root: Folder that outlives a killed step; empty for none.

    Returns:
        Number of usable images and the digest of the data.
    """
    from components.step import state_folder, step

    with step("ingest", data_metrics):
        from components.dataset import CLASSES, ImageDataset
        from components.ingest.ingest import ingest as ingest_images
        from components.ingest.report import write_data_report
        from components.ingest.sources import open_source

        with open_source(source, source_version) as opened:
            manifest = ingest_images(
                opened, dataset.path, state_folder(state_root, "ingest"), max_bad_share
            )
        images = ImageDataset(dataset.path)
        metadata = write_data_report(data_report.path, images, seed)
        dataset.metadata["source"] = source
        dataset.metadata["source_version"] = manifest.source_version
        dataset.metadata["digest"] = images.digest
        data_metrics.log_metric("images", len(images))
        for label, name in enumerate(CLASSES):
            data_metrics.log_metric(
                f"images_{name.lower().replace(' ', '_')}", int((images.labels == label).sum())
            )
        data_metrics.log_metric("duplicate_groups", int(images.duplicate_groups.max()) + 1)
        data_metrics.log_metric("mixed_groups", len(manifest.mixed_groups))
        data_metrics.log_metric("quarantined_files", len(manifest.quarantined))
        if metadata:
            data_metrics.log_metric(
                "metadata_accuracy_random_folds", float(metadata.random_folds.value)
            )
            data_metrics.log_metric(
                "metadata_accuracy_grouped_folds", float(metadata.grouped_folds.value)
            )
        return (len(images), images.digest)
