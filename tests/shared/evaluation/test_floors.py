import numpy as np
from sklearn.neighbors import KNeighborsClassifier

from components.shared.evaluation import floors
from components.shared.evaluation.floors import metadata_scores, nearest_neighbour_scores


def test_nearest_neighbour_is_scikit_learns_whatever_the_block(dataset, split, monkeypatch):
    train, everything = split.part("train"), np.arange(len(dataset))
    flat = dataset.thumbnails.reshape(len(dataset), -1).astype(float)
    expected = KNeighborsClassifier(1).fit(flat[train], dataset.labels[train]).predict(flat)
    for block in (7, 8192):
        monkeypatch.setattr(floors, "_BLOCK", block)
        found = nearest_neighbour_scores(dataset, train, everything)
        np.testing.assert_array_equal(found, expected == 0)


def test_nearest_neighbour_remembers_training_images(dataset, split):
    train = split.part("train")
    found = nearest_neighbour_scores(dataset, train, train)
    np.testing.assert_array_equal(found == 1.0, dataset.labels[train] == 0)


def test_metadata_knows_sizes_and_repeats_by_seed(dataset, split):
    train, everything = split.part("train"), np.arange(len(dataset))
    found = metadata_scores(dataset, train, everything, seed=0)
    np.testing.assert_array_equal(found, metadata_scores(dataset, train, everything, seed=0))
    widths = np.array([record.width for record in dataset.manifest.images])
    assert found.min() >= 0
    assert found.max() <= 1
    assert found[widths == 512].mean() > found[widths == 225].mean()
    assert len(np.unique(found)) == len(np.unique(widths))  # nothing else tells images apart
