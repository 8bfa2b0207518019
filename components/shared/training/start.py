"""Starting a training from a registered version: found, checked, and its weights taken."""

from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np

from components.shared.data.dataset import ImageDataset, Split
from components.shared.errors import UserError
from components.shared.model_folder.known_images import ImagesOfDataset
from components.shared.model_folder.metadata import read_metadata
from components.shared.model_folder.reader import open_model_folder, settled
from components.shared.model_folder.signing import Trust
from components.shared.model_folder.weights import read_weights
from components.shared.networks.start import Start
from components.shared.registry.reference import version_folder


@contextmanager
def starting_from(from_model: str) -> Iterator[Start | None]:
    """Lends the version that a run names.

    Args:
        from_model: As `version_folder` takes it; empty for none.

    Yields:
        The version, checked; None where none is named.

    Raises:
        UserError: There is no such version, it has changed, or nobody who is trusted signed it.
    """
    if not from_model:
        yield None
        return
    with (
        version_folder(from_model) as given,
        settled(given, Trust.from_environment()) as folder,
    ):
        opened, metadata = open_model_folder(folder), read_metadata(folder)
        architecture, dense = (metadata.training.get(name) for name in ("architecture", "dense"))
        yield Start(
            version=f"{opened.name} {opened.version}",
            digest=opened.digest,
            split_digest=metadata.data.split_digest,
            architecture=str(architecture),
            dense=dense if isinstance(dense, int) else 0,
            folder=opened.path,
        )


def take_weights(model: keras.Model, start: Start) -> None:
    """Gives a network the weights of a version.

    Args:
        model: As the table of networks builds it.
        start: The version.

    Raises:
        UserError: Its weights cannot be used, or are of a network of another size.
    """
    shapes = [tuple(weights.shape) for weights in model.weights]
    try:
        model.set_weights(read_weights(start.folder, shapes))
    except UserError as error:
        raise UserError(f"from_model {start.version}: {error}") from error


def held_out_seen(dataset: ImageDataset, split: Split, start: Start) -> int | None:
    """Counts the held-out images that a version may have learned, so that they are not unseen.

    Args:
        dataset: The images.
        split: Which of them are held out.
        start: The version.

    Returns:
        Images of the held-out part whose group has a copy in the version's own dataset: 0 where the
        version was trained under this very split; None where it keeps nothing to find copies by.

    Raises:
        UserError: What it keeps is malformed.
    """
    if start.split_digest == split.digest():
        return 0
    known = ImagesOfDataset.open(start.folder)
    if known is None:
        return None
    identical, near = known.find(dataset)
    seen = np.isin(dataset.groups, dataset.groups[identical | near])
    return int(seen[split.part("held_out")].sum())
