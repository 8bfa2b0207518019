import numpy as np
import pytest
import tensorflow as tf

from components.shared.data.dataset import ImageDataset, Split
from components.shared.training.batches import Batches

SIZE = 32


def _pixels(batches: tf.data.Dataset) -> np.ndarray:
    return np.concatenate([pixels.numpy() for pixels, _, _ in batches])


def _alike(indices: np.ndarray) -> np.ndarray:
    return np.ones(len(indices), np.float32)


def _order(dataset: ImageDataset, pixels: np.ndarray) -> list[int]:
    known = {image.tobytes(): i for i, image in enumerate(dataset.read(range(len(dataset))))}
    return [known[image.tobytes()] for image in pixels]


@pytest.fixture
def train(split: Split) -> np.ndarray:
    return split.part("train")


def test_every_image_comes_once_an_epoch(dataset: ImageDataset, train: np.ndarray) -> None:
    order = _order(
        dataset, _pixels(Batches(dataset, SIZE).training(train, _alike(train), seed=3, epoch=0))
    )
    assert sorted(order) == train.tolist()
    assert order != train.tolist()


def test_the_order_depends_on_seed_and_epoch_alone(
    dataset: ImageDataset, train: np.ndarray
) -> None:
    def order(seed: int, epoch: int) -> list[int]:
        batches = Batches(dataset, SIZE).training(train, _alike(train), seed, epoch)
        return _order(dataset, _pixels(batches))

    first = order(3, 0)
    np.random.seed(99)
    assert order(3, 0) == first
    assert order(3, 1) != first
    assert order(4, 0) != first
    assert order(4, 0) != order(3, 1)


def test_labels_stand_with_their_images(dataset: ImageDataset, train: np.ndarray) -> None:
    batches = list(Batches(dataset, SIZE).training(train, _alike(train), seed=3, epoch=0))
    for pixels, labels, _ in batches:
        expected = dataset.labels[_order(dataset, pixels.numpy())]
        assert labels.shape == (len(pixels), 1)
        assert labels.dtype == "float32"
        assert labels.numpy()[:, 0].tolist() == expected.tolist()


@pytest.mark.parametrize("size", [32, 48])
@pytest.mark.parametrize("images", [1, 32, 33, 50, 65])
def test_no_batch_is_smaller_than_another_by_two(
    dataset: ImageDataset, images: int, size: int
) -> None:
    indices = np.arange(images) % len(dataset)
    batches = Batches(dataset, size).training(indices, _alike(indices), seed=0, epoch=0)
    sizes = [len(labels) for _, labels, _ in batches]
    assert sum(sizes) == images
    assert len(sizes) == batches.cardinality() == -(-images // size)
    assert max(sizes) - min(sizes) <= 1


def test_validation_keeps_the_order(dataset: ImageDataset, split: Split) -> None:
    indices = split.part("validation")
    batches = Batches(dataset, SIZE).validation(indices)
    assert _order(dataset, _pixels(batches)) == indices.tolist()
    assert batches.cardinality() == -(-len(indices) // SIZE)


def test_weights_stand_with_their_images(dataset: ImageDataset, train: np.ndarray) -> None:
    weights = np.arange(len(train), dtype=np.float32)
    for pixels, _, counted in Batches(dataset, SIZE).training(train, weights, seed=3, epoch=0):
        positions = [train.tolist().index(i) for i in _order(dataset, pixels.numpy())]
        assert counted.numpy().tolist() == positions


def test_images_that_devices_have_are_named_by_number(
    dataset: ImageDataset, train: np.ndarray
) -> None:
    there = np.sort(train)[1:]
    plain = Batches(dataset, SIZE).training(there, _alike(there), seed=3, epoch=0)
    named = Batches(dataset, SIZE, there).training(there, _alike(there), seed=3, epoch=0)
    for (pixels, labels, _), (numbers, same_labels, _) in zip(plain, named, strict=True):
        np.testing.assert_array_equal(dataset.read(there[numbers.numpy()]), pixels)
        np.testing.assert_array_equal(labels, same_labels)


def test_each_batch_is_varied_once_and_in_order(dataset: ImageDataset, train: np.ndarray) -> None:
    seen: list[np.ndarray] = []

    def darker(images: np.ndarray) -> tf.Tensor:
        seen.append(images)
        return tf.constant(images // 2)

    batches = Batches(dataset, 3).training(train, _alike(train), 3, 0, darker)
    varied = list(batches)
    assert _order(dataset, np.concatenate(seen)) == train[_permuted(len(train))].tolist()
    for images, (pixels, _, _) in zip(seen, varied, strict=True):
        np.testing.assert_array_equal(pixels, images // 2)


def _permuted(count: int) -> np.ndarray:
    return np.random.default_rng([3, 0]).permutation(count)
