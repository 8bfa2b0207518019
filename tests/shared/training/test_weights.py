"""What a training image counts for; the expected numbers are worked out by hand."""

import numpy as np

from components.shared.data.dataset import ImageDataset, SourceRecord
from components.shared.training.weights import image_weights

ROWS = np.array([0, 1, 2, 5, 7])  # of the groups 0, 0, 1, 2 and 3


def test_an_image_counts_for_its_groups_size_and_its_source(dataset: ImageDataset) -> None:
    copy = ImageDataset(dataset.folder)
    copy.source_weights = np.where(np.arange(len(dataset)) < 5, 1.0, 3.0)  # type: ignore[misc]
    by_hand = np.array([2**-0.5, 2**-0.5, 1, 3, 3])
    weights = image_weights(copy, ROWS, group_power=0.5)
    np.testing.assert_allclose(weights, by_hand / by_hand.mean(), rtol=1e-6)
    assert weights.dtype == np.float32
    # As if each image of the second source were there three times.
    loss = np.array([0.1, 0.7, 0.2, 1.3, 0.4])
    alike = image_weights(copy, ROWS, group_power=0)
    assert np.isclose((alike * loss).mean(), np.repeat(loss, [1, 1, 1, 3, 3]).mean())


def test_a_weight_is_that_of_the_images_source(dataset: ImageDataset) -> None:
    copy = ImageDataset(dataset.folder)
    copy.manifest = copy.manifest.model_copy(
        update={
            "sources": tuple(
                SourceRecord(name=name, address=name, version="", weight=weight, files=1)
                for name, weight in (("a", 0.5), ("b", 4.0))
            )
        }
    )
    for number, record in enumerate(copy.manifest.images):
        object.__setattr__(record, "source", "ab"[number % 2])
    assert copy.source_weights[:4].tolist() == [0.5, 4.0, 0.5, 4.0]
