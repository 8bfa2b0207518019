"""Files -> a part of a dataset, or a whole one on one machine; a killed run goes on."""

import shutil
from pathlib import Path

from components.ingest.assemble import assemble
from components.ingest.decode import decode_part
from components.ingest.parts import hand_over
from components.ingest.sources import Source
from components.shared.data.dataset import Manifest
from components.shared.images.slices import MAX_SLICES
from components.shared.run.work import work_folder
from components.shared.storage.files import write_atomically


def ingest_part(
    source: Source,
    output: str | Path,
    state: str | Path,
    *,
    worker: int,
    workers: int,
    slices: int = MAX_SLICES,
) -> None:
    """Writes what one worker decodes of a source.

    Args:
        source: An opened source.
        output: Folder of the part.
        state: Folder for unfinished work; outlives a killed run if it is to be resumed.
        worker: Which, from 1.
        workers: How many share the files.
        slices: To take, at most, of a file that holds several.

    Raises:
        UserError: A class is missing.
    """
    name = f"{source.fingerprint()[:16]}-{slices}-{worker}-of-{workers}"
    with work_folder(Path(state) / name) as work:
        decode_part(source, work, worker, workers, slices)
        hand_over(work, Path(output))
        shutil.rmtree(work)


def ingest(
    source: Source,
    output: str | Path,
    state: str | Path,
    max_bad_share: float = 0.05,
    slices: int = MAX_SLICES,
) -> Manifest:
    """Writes a dataset from a source, as the steps ingest and assemble do.

    Args:
        source: An opened source.
        output: Folder of the dataset.
        state: Folder for unfinished work; outlives a killed run if it is to be resumed.
        max_bad_share: Greatest share of unusable files, 0..1.
        slices: To take, at most, of a file that holds several.

    Returns:
        The manifest.

    Raises:
        UserError: A class is missing or empty, or too many files are unusable.
    """
    with work_folder(Path(state) / f"{source.fingerprint()[:16]}-{slices}") as work:
        decode_part(source, work, slices=slices)
        assemble([work], output, max_bad_share)
        shutil.rmtree(work)
    return Manifest.open(output)


def no_dataset(output: str | Path) -> None:
    """Writes what stands for a dataset where there is no source."""
    write_atomically(Path(output) / "nothing.txt", "No source was given.\n")
