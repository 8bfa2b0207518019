"""How the images of a training get to what computes: from disk, or once for all to the GPUs."""

import math
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from components.shared.data.dataset import ImageDataset
from components.shared.images.decode import SHAPE
from components.shared.training import hardware
from components.shared.training.batches import Batches, Vary
from components.shared.training.on_device import IMAGE_BYTES, OnDevice
from components.shared.training.parts import InParts, OfWholeBatch, of_whole_batches

# Of a GPU's free memory; the rest is for what the network computes.
_MOST_FOR_IMAGES = 0.5


@dataclass(frozen=True)
class Feed:
    """What trains, and its batches.

    Attributes:
        batches: Of the images.
        devices: How many share each batch.
        varies: Whether the devices vary images too, as GPUs do; else the CPU does, while it trains
            on another batch.
        strategy: Of the devices: TensorFlow's default one for a CPU or a GPU, else a mirrored one.
        on_device: Holds the images, where the devices do.
    """

    batches: Batches
    devices: int
    varies: bool
    strategy: tf.distribute.Strategy
    on_device: OnDevice | None

    @classmethod
    def of(
        cls, dataset: ImageDataset, train: np.ndarray, validation: np.ndarray, size: int
    ) -> "Feed":
        """Chooses the devices, and puts the images on them where they fit.

        Args:
            dataset: The images.
            train: Positions of the training images, int64 [n].
            validation: Of the validation images.
            size: Images of a batch, of all devices together.
        """
        # No device is without an image of a batch.
        least = min(len(rows) // math.ceil(len(rows) / size) for rows in (train, validation))
        devices = hardware.devices()[:least]
        rows = np.union1d(train, validation)
        room = min(map(hardware.free_memory, devices), default=0) * _MOST_FOR_IMAGES
        on_device = OnDevice(dataset, rows, devices) if len(rows) * IMAGE_BYTES <= room else None
        return cls(
            Batches(dataset, size, rows if on_device else None),
            max(1, len(devices)),
            bool(devices),
            tf.distribute.MirroredStrategy(devices)
            if len(devices) > 1
            else tf.distribute.get_strategy(),
            on_device,
        )

    def trained(self, model: keras.Model, augmentation: layers.Layer | None) -> keras.Model:
        """Puts before a model what makes its input of the batches.

        Args:
            model: From uint8 [n, 150, 150, 3]; the result shares its weights.
            augmentation: From such images to varied ones, in training only; None for none.

        Returns:
            A model that takes the batches.
        """
        shared = self.devices > 1
        if shared:
            model = of_whole_batches(model)
            augmentation = augmentation and OfWholeBatch(augmentation)
        varying = augmentation if self.varies else None
        before = [layer for layer in (self.on_device, varying) if layer is not None]
        if not before and not shared:
            return model
        entry = (
            keras.Input(SHAPE, dtype="uint8")
            if self.on_device is None
            else keras.Input((), dtype="int32")
        )
        kind = InParts if shared else keras.Sequential
        return kind([entry, *before, model], name=f"trained_{model.name}")

    def vary(self, augmentation: layers.Layer | None) -> Vary | None:
        """Returns what varies a batch before it gets to the model; None where nothing does.

        Args:
            augmentation: As for `trained`.
        """
        if augmentation is None or self.varies:
            return None

        @tf.function(input_signature=[tf.TensorSpec((None, *SHAPE), tf.uint8)])
        def varied(images: tf.Tensor) -> tf.Tensor:
            return tf.cast(augmentation(images, training=True), tf.uint8)  # as a network does

        return varied

    def steps_per_execution(self, steps: int) -> int:
        """Returns how many of an epoch's steps run before Python looks again.

        Keras cannot run several on several devices.
        """
        return steps if self.on_device and self.devices == 1 else 1

    def steps(self, indices: np.ndarray) -> int | None:
        """Returns how many batches some images make; None where Keras can tell by itself."""
        return None if self.devices == 1 else math.ceil(len(indices) / self.batches.size)

    def training(
        self,
        indices: np.ndarray,
        weights: np.ndarray,
        seed: int,
        epoch: int,
        vary: Vary | None,
    ) -> tf.data.Dataset:
        """Returns an epoch as `Batches.training` does, for the devices."""
        return self._distributed(self.batches.training(indices, weights, seed, epoch, vary))

    def validation(self, indices: np.ndarray) -> tf.data.Dataset:
        """Returns images as `Batches.validation` does, for the devices."""
        return self._distributed(self.batches.validation(indices))

    def _distributed(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        if self.devices == 1:
            return batches
        # The devices take an element each.
        repeated = batches.flat_map(
            lambda *batch: tf.data.Dataset.from_tensors(batch).repeat(self.devices)
        )
        return self.strategy.distribute_datasets_from_function(lambda _: repeated)
