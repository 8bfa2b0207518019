"""ImageNet's Xception under the reference's head, trained as the reference implementation did."""

import keras
from keras import layers

from components.shared.errors import UserError, first_line
from components.shared.images.decode import SHAPE
from components.shared.networks.input_and_answer import images
from components.shared.networks.network import Network
from components.shared.networks.recipe import AS_PUBLISHED
from components.shared.networks.reference import head


def xception(dropout: float, dense: int, pretrained_weights: str) -> keras.Model:
    """Builds the ImageNet Xception, frozen, under the reference's head.

    Args:
        dropout: Share of units dropped after each hidden dense layer, 0..1.
        dense: Units of the first dense layer; the second has half as many.
        pretrained_weights: Weights file of `keras.applications.Xception(include_top=False)`;
            empty to get it from keras.applications.

    Returns:
        The model.

    Raises:
        UserError: The weights cannot be had, or are another network's.
    """
    try:
        backbone = keras.applications.Xception(
            include_top=False, weights=None if pretrained_weights else "imagenet", input_shape=SHAPE
        )
        if pretrained_weights:
            backbone.load_weights(pretrained_weights)
    except Exception as error:  # h5py, Keras and the network each have errors of their own
        reason = first_line(error).rstrip(".")
        where = pretrained_weights or "keras.applications"
        raise UserError(
            f"xception: cannot get ImageNet weights from {where}: {reason}; give "
            "pretrained_weights the file of Xception's weights without top"
        ) from error
    backbone.trainable = False
    return keras.Sequential(
        [
            images(),
            layers.Rescaling(1 / 127.5, offset=-1),
            backbone,
            layers.Flatten(),
            *head(dropout, dense),
        ],
        name="xception",
    )


NETWORK = Network(
    lambda values: xception(values.dropout, values.dense, values.pretrained_weights), AS_PUBLISHED
)
