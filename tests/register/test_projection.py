"""The features that a registered model gives for drift: principal components, as scikit-learn's."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from components.shared.data.dataset import ImageDataset, Split


@pytest.fixture
def late() -> np.ndarray:
    """Late features of unlike spread, some of them always 0."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(200, 12)) @ rng.normal(size=(12, 30)) * np.linspace(0.1, 9, 30) + 5
    return np.hstack([mixed, np.zeros((200, 3))]).astype(np.float32)


def test_the_components_are_those_of_another_library(late: np.ndarray) -> None:
    from components.register.projection import principal_components

    found = principal_components(late).project(late).numpy()
    expected = PCA(8, whiten=True, svd_solver="full").fit_transform(late.astype(np.float64))
    assert found.dtype == np.float32
    expected *= np.sign((expected * found).sum(axis=0))  # a component has no sign
    np.testing.assert_allclose(found, expected, atol=0.02)
    np.testing.assert_allclose(found.var(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("shape", [(200, 3), (5, 33), (1, 33)])
def test_what_the_images_do_not_fill_is_0(late: np.ndarray, shape: tuple[int, int]) -> None:
    from components.register.projection import principal_components

    images, wide = shape
    few = late[:images, :wide]
    found = principal_components(few).project(few).numpy()
    filled = min(wide, images - 1, 8)
    assert found.shape == (images, 8)
    np.testing.assert_allclose(found.var(axis=0)[:filled], 1, atol=1e-3)
    assert not found[:, filled:].any()


def test_it_is_of_the_train_part_and_the_same_each_time(
    model_folder: Path, dataset: ImageDataset, split: Split
) -> None:
    from components.register.projection import fit_projection
    from components.shared.evaluation.predictor import open_model
    from components.shared.networks.features import with_features

    model = open_model(model_folder)
    first, again = (fit_projection(model, dataset, split) for _ in range(2))
    np.testing.assert_array_equal(first.weights, again.weights)
    _, late, _ = with_features(model)(dataset.read(split.part("train")), training=False)
    features = first.project(late).numpy()
    assert features.shape == (20, 8)
    np.testing.assert_allclose(features.mean(axis=0), 0, atol=1e-2)
    np.testing.assert_allclose(features.var(axis=0)[0], 1, atol=1e-2)
