"""KFP interface of the ingest steps."""

from typing import NamedTuple

from kfp.dsl import HTML, Artifact, Dataset, Input, Metrics, Output

from components.shared.run.kfp_component import component


@component
def ingest(
    decoded: Output[Dataset],
    source: str,
    source_version: str,
    labels: str,
    class_folders: str,
    slices: int,
    state_root: str,
    worker: int,
    workers: int,
) -> None:
    """Checks and decodes one worker's share of a source's images.

    Args:
        decoded: Pixels, thumbnails and what is known of the files.
        source: kaggle://owner/dataset, sample://, or a folder or zip, also in s3:// or gs://;
            or a JSON list of several.
        source_version: Version of the dataset, for Kaggle; elsewhere it only renews the cache.
        labels: CSV of labels and patients: a path in the source, an absolute path, s3://, gs://.
        class_folders: What other folders and labels mean.
        slices: To take, at most, of a file that holds several.
        state_root: Folder that outlives a killed step; empty for none.
        worker: Which, from 1.
        workers: How many share the files.
    """
    from components.shared.run.step import state_folder, step

    with step("ingest" if workers == 1 else f"ingest-{worker}-of-{workers}", decoded):
        from components.ingest.logic import ingest_part
        from components.ingest.several import open_sources

        with open_sources(source, source_version, labels, class_folders) as opened:
            state = state_folder(state_root, "ingest")
            ingest_part(opened, decoded.path, state, worker=worker, workers=workers, slices=slices)


@component
def ingest_other(
    other_dataset: Output[Dataset],
    source: str,
    slices: int,
    max_bad_share: float,
    state_root: str,
) -> None:
    """Makes a dataset of another source, which only judges a model.

    Args:
        other_dataset: Shards of pixels and a manifest; without images where there is no source.
        source: As ingest takes it, with its own labels, such as hospital#labels=labels.csv; empty
            where there is none.
        slices: To take, at most, of a file that holds several.
        max_bad_share: Greatest share of unusable files.
        state_root: Folder that outlives a killed step; empty for none.
    """
    from components.shared.run.step import state_folder, step

    with step("ingest-other", other_dataset):
        from components.ingest.logic import ingest, no_dataset
        from components.ingest.several import open_sources

        if source:
            with open_sources(source, judging=True) as opened:
                state = state_folder(state_root, "ingest-other")
                ingest(opened, other_dataset.path, state, max_bad_share, slices)
        else:
            no_dataset(other_dataset.path)


@component
def other_sources(listed: Output[Artifact], sources: str) -> list[str]:
    """Lists the other sources that a model is judged by.

    KFP collects nothing of a loop that never ran, and then fails. So where there are no sources
    there is one empty text, of which the loop's steps make nothing.

    Args:
        listed: The sources, as JSON.
        sources: One, a JSON list of several, or empty.

    Returns:
        Each source, or one empty text.
    """
    from components.shared.run.step import step

    with step("other-sources", listed):
        import json

        from components.shared.data.sources import read_sources
        from components.shared.storage.files import write_atomically

        found = [str(source) for source in read_sources(sources)] if sources else [""]
        write_atomically(listed.path, json.dumps(found))
    return found


@component
def assemble(
    decoded: Input[list[Dataset]],
    dataset: Output[Dataset],
    data_report: Output[HTML],
    data_metrics: Output[Metrics],
    max_bad_share: float,
    seed: int,
) -> NamedTuple("Outputs", [("images", int), ("dataset_digest", str)]):  # type: ignore[valid-type]
    """Makes a dataset of the workers' parts and groups its images.

    Args:
        decoded: What ingest wrote, of all workers.
        dataset: Shards of pixels and a manifest.
        data_report: What the data is like.
        data_metrics: Counts, and what metadata alone gives away.
        max_bad_share: Greatest share of unusable files.
        seed: Of the report's samples.

    Returns:
        Number of usable images and the digest of the data.
    """
    from components.shared.run.step import step

    with step("assemble", dataset, data_metrics):
        from components.ingest.assemble import assemble
        from components.ingest.report import write_data_report
        from components.shared.data.classes import CLASSES
        from components.shared.data.dataset import ImageDataset

        assemble([part.path for part in decoded], dataset.path, max_bad_share)
        images = ImageDataset(dataset.path)
        metadata = write_data_report(data_report.path, images, seed)
        dataset.metadata["source"] = images.manifest.source
        dataset.metadata["source_version"] = images.manifest.source_version
        dataset.metadata["digest"] = images.digest
        data_metrics.log_metric("images", len(images))
        for label, name in enumerate(CLASSES):
            data_metrics.log_metric(
                f"images_{name.lower().replace(' ', '_')}", int((images.labels == label).sum())
            )
        data_metrics.log_metric("duplicate_groups", int(images.duplicate_groups.max()) + 1)
        data_metrics.log_metric("mixed_groups", len(images.manifest.mixed_groups))
        data_metrics.log_metric("contradicted_images", len(images.manifest.contradicted))
        data_metrics.log_metric("quarantined_files", len(images.manifest.quarantined))
        if metadata:
            data_metrics.log_metric(
                "metadata_accuracy_random_folds", float(metadata.random_folds.value)
            )
            data_metrics.log_metric(
                "metadata_accuracy_grouped_folds", float(metadata.grouped_folds.value)
            )
        return (len(images), images.digest)
