"""Files -> a dataset, on one machine."""

import shutil
from pathlib import Path

from components.dataset import Manifest
from components.ingest.assemble import assemble
from components.ingest.decode import decode_part
from components.ingest.sources import Source
from components.work import work_folder


def ingest(
    source: Source, output: str | Path, state: str | Path, max_bad_share: float = 0.05
) -> Manifest:
    """Writes a dataset from a source: what the pipeline does in two steps.

    Args:
        source: An opened source.
        output: Folder of the dataset.
        state: Folder for unfinished work; outlives a killed run if it is to be resumed.
        max_bad_share: Greatest share of unusable files, 0..1.

    Returns:
        The manifest.

    Raises:
        UserError: A class is missing or empty, or too many files are unusable.
    """
    with work_folder(Path(state) / source.fingerprint()[:16]) as work:
        decode_part(source, work)
        assemble([work], output, max_bad_share)
        shutil.rmtree(work)
    return Manifest.open(output)
