"""How a network is trained: the reference's way, and the one that does well on unseen images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from components.shared.networks.augment import StrongAugmentation, reference_augmentation
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.optimizer import AdamW, FusedAdam


@dataclass(frozen=True)
class Recipe:
    """What a training does beside the hyperparameters, and which of those are worth a search.

    Attributes:
        augmentation: Makes the layer that varies training images, from a seed.
        space: Values to search among, by hyperparameter. A grid varies the last one fastest, so
            that a short one tries every learning rate.
        weight_decay: Of AdamW, each step in shares of the learning rate; 0 trains with Adam.
        clip_norm: Greatest length of the gradient of all weights together; 0 sets none. One odd
            batch can else undo epochs.
        warm_up: Epochs in which the learning rate rises; it then falls along a cosine. 0 keeps it
            as it is, as both recipes do; the ablation has one that falls.
        label_smoothing: How far labels are drawn to 0.5, 0..1.
        group_power: An image weighs 1 / (size of its duplicate group) to this power; 0 weighs all
            alike.
        averaged_epochs: Share of the epochs, the last ones, whose weights are averaged; 0 keeps
            the epoch that validated best.
        refit_head: Whether the last layer is fitted again after training, with a strong penalty,
            and its bias on validation.
        bfloat16_on_cpu: Whether CPUs that have bfloat16 train this kind of network faster in it.
    """

    augmentation: Callable[[int], keras.layers.Layer]
    space: Mapping[str, Sequence[Any]]
    weight_decay: float = 0.0
    clip_norm: float = 0.0
    warm_up: int = 0
    label_smoothing: float = 0.0
    group_power: float = 0.0
    averaged_epochs: float = 0.0
    refit_head: bool = False
    bfloat16_on_cpu: bool = True

    def optimizer(
        self, values: Hyperparameters, epochs: int, steps: int
    ) -> keras.optimizers.Optimizer:
        """Makes the optimizer of one training.

        Args:
            values: Learning rate.
            epochs: Of the whole training.
            steps: Batches an epoch.
        """
        rate = self._learning_rate(values.learning_rate, epochs, steps)
        clip = self.clip_norm or None
        if not self.weight_decay:
            return FusedAdam(rate, global_clipnorm=clip)
        optimizer = AdamW(rate, weight_decay=self.weight_decay, global_clipnorm=clip)
        # Biases and the scales of normalization are no reason for a large network.
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
        return optimizer

    def _learning_rate(
        self, greatest: float, epochs: int, steps: int
    ) -> float | keras.optimizers.schedules.LearningRateSchedule:
        if not self.warm_up:
            return greatest
        rising = min(self.warm_up * steps, epochs * steps // 5)
        return keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=greatest / 20,
            warmup_target=greatest,
            warmup_steps=rising,
            decay_steps=epochs * steps - rising,
            alpha=0.005,
        )


AS_PUBLISHED = Recipe(
    reference_augmentation,
    space={
        "dropout": [0.2, 0.3, 0.4, 0.5],
        "dense": [64, 128, 256],
        "augmentation": [False, True],
        "learning_rate": [0.1, 0.01, 0.001, 0.0001],
    },
)
FOR_UNSEEN = Recipe(
    StrongAugmentation,
    # Augmentation stays on: it does its work in more epochs than a trial has.
    space={"dropout": [0.2, 0.3, 0.4], "learning_rate": [0.00025, 0.00018, 0.000125]},
    weight_decay=0.01,
    clip_norm=1.0,
    label_smoothing=0.05,
    group_power=0.5,
    averaged_epochs=0.5,
    refit_head=True,
    bfloat16_on_cpu=False,
)
