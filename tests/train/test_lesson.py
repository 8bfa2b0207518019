import keras
import numpy as np
import pytest
from keras import layers

from components.images import SHAPE
from components.train.augment import StrongAugmentation, reference_augmentation
from components.train.lesson import TAUGHT, Lesson

RNG = np.random.default_rng(3)
IMAGES = RNG.integers(0, 256, (6, *SHAPE), dtype=np.uint8)
LABELS = np.array([[0], [1], [1], [0], [1], [0]], np.float32)
WEIGHTS = np.ones(6, np.float32)


def _network(bias: float) -> keras.Model:
    """Answers sigmoid(bias + mean brightness)."""
    network = keras.Sequential(
        [
            keras.Input(SHAPE, dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.GlobalAveragePooling2D(),
            layers.Dense(1, activation="sigmoid", kernel_initializer="ones"),
        ]
    )
    network.layers[-1].bias.assign([bias])
    return network


def _compiled(*arguments: object) -> Lesson:
    lesson = Lesson(*arguments)
    lesson.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    return lesson


def _entropy(target: np.ndarray, answer: np.ndarray) -> float:
    return float(-np.mean(target * np.log(answer) + (1 - target) * np.log(1 - answer)))


@pytest.mark.parametrize("make", [StrongAugmentation, reference_augmentation])
def test_images_are_varied_in_training_alone(make) -> None:
    seen: list[np.ndarray] = []

    class Seeing(layers.Layer):
        def call(self, images):
            seen.append(np.asarray(images))
            return images

    network = keras.Sequential([keras.Input(SHAPE, dtype="uint8"), Seeing(), *_network(0.0).layers])
    lesson = _compiled(network, make(2))
    lesson.run_eagerly = True
    seen.clear()
    lesson(IMAGES)
    lesson.test_on_batch(IMAGES, LABELS)
    assert all(np.array_equal(images, IMAGES) for images in seen)
    seen.clear()
    lesson.train_on_batch(IMAGES, LABELS, WEIGHTS)
    assert seen[0].shape == IMAGES.shape
    assert not np.array_equal(seen[0], IMAGES)
    assert seen[0].min() >= 0
    assert seen[0].max() <= 255


def test_what_it_learns_is_labels_and_the_mean_of_its_teachers() -> None:
    teachers = [_network(2.0), _network(-1.0)]
    told = np.mean([teacher.predict(IMAGES, verbose=0) for teacher in teachers], axis=0)
    network = _network(0.5)
    answers = network.predict(IMAGES, verbose=0)
    logs = _compiled(network, None, teachers).train_on_batch(
        IMAGES, LABELS, WEIGHTS, return_dict=True
    )
    wanted = _entropy((1 - TAUGHT) * LABELS + TAUGHT * told, answers)
    assert logs["loss"] == pytest.approx(wanted, rel=1e-5)
    # Accuracy stays one of labels.
    assert logs["accuracy"] == pytest.approx(np.mean((answers > 0.5) == LABELS))


def test_without_teachers_it_learns_labels() -> None:
    network = _network(0.5)
    answers = network.predict(IMAGES, verbose=0)
    loss, _ = _compiled(network).train_on_batch(IMAGES, LABELS, WEIGHTS)
    assert loss == pytest.approx(_entropy(LABELS, answers), rel=1e-5)


def test_it_is_judged_by_labels_alone() -> None:
    network = _network(0.5)
    answers = network.predict(IMAGES, verbose=0)
    loss, _ = _compiled(network, None, [_network(3.0)]).test_on_batch(IMAGES, LABELS)
    assert loss == pytest.approx(_entropy(LABELS, answers), rel=1e-5)


def test_teachers_do_not_learn_and_are_no_part_of_it() -> None:
    teacher = _network(2.0)
    before = [weights.copy() for weights in teacher.get_weights()]
    network = _network(0.5)
    lesson = _compiled(network, StrongAugmentation(1), [teacher])
    lesson.train_on_batch(IMAGES, LABELS, WEIGHTS)
    assert [v.path for v in lesson.trainable_variables] == [
        v.path for v in network.trainable_variables
    ]
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
