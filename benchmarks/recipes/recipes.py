"""The recipes by name; each changes the first, which is the default's, as its name says."""

from collections.abc import Mapping
from typing import NamedTuple

BLOCKS = tuple(range(11))  # the default network's
SEVEN_BLOCKS = (0, 1, 3, 5, 6, 8, 9)

# What a recipe can set, a number for each model, and what the default has.
KNOBS: dict[str, float] = {
    "learning_rate": 2.5e-4,
    "weight_decay": 0.01,
    "dropout": 0.3,
    "label_smoothing": 0.05,
    "any_angle": 0.15,  # share of images turned by any angle, the others by up to 20 degrees
    "zoom": 0.25,
    "smaller": 0.25,  # how much smaller a head may be beyond that
    "stretch": 0.1,  # logarithm of the greatest stretch of one side against the other
    "shift": 0.12,
    "upside_down": 0.0,  # share of images
    "bend": 0.0,  # deviation of an elastic shift, pixels
    "fourier": 0.0,  # most of another image's low amplitudes in half of the images
    "inverted": 0.0,  # share of images
    "curve": 0.0,  # deviation of the logarithms of eight slopes
    "waves": 0.0,  # height of what makes a curve of tones that is not monotonic
    "gamma": 0.35,
    "bias_field": 0.0,  # deviation of its logarithm
    "dim": 0.0,  # most that three in ten images lose of their brightness
    "contrast": 0.3,
    "brightness": 0.06,
    "blurred": 0.0,  # share of images
    "blur": 1.5,  # greatest deviation, pixels
    "noise": 0.05,
    "mixed_statistics": 0.0,  # share of batches
    "imagenet": 0.0,  # share of ImageNet's weights in the mean that is kept
    "taught": 0.0,  # weight of the teachers' answers beside the labels
}


class Recipe(NamedTuple):
    """A way to train.

    Attributes:
        knobs: What differs from the default.
        blocks: Of the network.
        refit_head: Whether the last layer is fitted again after training.
        teachers: The recipe whose networks of the same fold teach, all seeds averaged; empty for
            none. It has to come before this one.
    """

    knobs: Mapping[str, float] = {}
    blocks: tuple[int, ...] = BLOCKS
    teachers: str = ""
    refit_head: bool = True


def _with(**knobs: float) -> Recipe:
    return Recipe(knobs)


_NARROW = {"smaller": 0.0, "stretch": 0.0, "shift": 0.08}

RECIPES: dict[str, Recipe] = {
    "the default": Recipe(),
    "blur": _with(blurred=0.3),
    "last layer as trained": Recipe(refit_head=False),
    "more blur": _with(blurred=0.5, blur=2.5),
    "no smaller heads": _with(**_NARROW),
    "amplitudes mixed": _with(fourier=1.0),
    "statistics mixed": _with(mixed_statistics=0.5),
    "some inverted": _with(inverted=0.1),
    "some dim, bias fields": _with(dim=0.7, bias_field=0.2),
    "bent": _with(bend=2.5),
    "other tones": _with(waves=0.2, bias_field=0.15, contrast=0.4),
    "some upside down": _with(upside_down=0.3, any_angle=0.3),
    "a seventh of ImageNet's weights": _with(imagenet=0.15),
    "three tenths of ImageNet's weights": _with(imagenet=0.3),
    "dropout of 0.5": _with(dropout=0.5),
    "five times the weight decay": _with(weight_decay=0.05),
    "seven blocks": Recipe(blocks=SEVEN_BLOCKS),
    "seven blocks, taught by the default": Recipe(
        {"taught": 0.7}, SEVEN_BLOCKS, teachers="the default"
    ),
}
