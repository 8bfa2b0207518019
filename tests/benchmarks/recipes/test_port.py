"""The port to JAX computes what the product's network computes, and what it packs comes back."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.recipes.packed import FILE, Packed
from benchmarks.recipes.plan import Plan, record_of
from benchmarks.recipes.recipes import KNOBS, RECIPES


def _images(count: int) -> np.ndarray:
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (count, 10, 10), dtype=np.uint8)
    return np.kron(coarse, np.ones((1, 15, 15), np.uint8))


def test_what_is_packed_comes_back(tmp_path: Path) -> None:
    images, rows = _images(4), np.arange(4)
    packed = Packed(
        images[:3],
        np.array([0, 1, 1]),
        np.array([0, 1, 2]),
        [{"train": rows[:1], "validation": rows[1:2], "held_out": rows[2:3]}],
        [np.ones((2, 2), np.float32), np.zeros(3, np.float32)],
        np.array([1, 2]),
        images[3:],
        {name: rows[3:] for name in ("labels", "groups", "folder", "sequence")},
    )
    packed.save(tmp_path / FILE)
    read = Packed.open(tmp_path / FILE)
    for name in ("images", "labels", "groups", "strides"):
        np.testing.assert_array_equal(getattr(read, name), getattr(packed, name))
    np.testing.assert_allclose(read.external, packed.external.astype(int), atol=12)
    assert [array.tolist() for array in read.weights] == [[[1, 1], [1, 1]], [0, 0, 0]]
    assert read.folds[0]["validation"].tolist() == [1]
    assert read.external_facts["groups"].tolist() == [3]


def test_scores_are_those_of_the_recipe_and_the_plan(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"images")
    plan = Plan((0,), seeds=2, epochs=16)
    files = {record_of(tmp_path, plan, name) for name in RECIPES}
    files |= {record_of(tmp_path, plan._replace(epochs=8), name) for name in RECIPES}
    assert len(files) == 2 * len(RECIPES)


def test_recipes_change_what_there_is() -> None:
    for name, recipe in RECIPES.items():
        assert recipe.knobs.keys() <= KNOBS.keys(), name
        assert not recipe.teachers or RECIPES[recipe.teachers], name


def test_features_are_those_of_the_product() -> None:
    pytest.importorskip("jax")
    import keras

    from benchmarks.recipes.network import features, initial
    from benchmarks.recipes.pack import weights_of
    from benchmarks.recipes.recipes import BLOCKS, SEVEN_BLOCKS
    from components.shared.networks.compact import compact_cnn

    images = _images(4)
    packed, strides = weights_of(compact_cnn())
    for blocks in (BLOCKS, SEVEN_BLOCKS):
        model = compact_cnn(blocks=blocks)
        expected = keras.Model(model.inputs[0], model.layers[-1].input)(
            np.repeat(images[..., None], 3, axis=-1), training=False
        )
        one = initial(packed, blocks)
        models = {part: {k: v[None] for k, v in one[part].items()} for part in one}
        found = features(models, images[None].astype(np.float32), dict(enumerate(strides.tolist())))
        np.testing.assert_allclose(found[0], expected, atol=1e-4, rtol=1e-4)
