"""The SavedModel in a model's folder, loaded and checked to have the signatures of the contract."""

from pathlib import Path
from typing import Any

import numpy as np

from components.shared.errors import UserError, first_line
from components.shared.model_folder.contract import EXPLAIN, HEATMAP, INPUT, PROBABILITY, SERVING


class Signature:
    """A signature of the SavedModel, from arrays to arrays.

    Its weights stay variables: frozen into the graph, oneDNN's convolutions took twice the time for
    a batch of eight, and the process twice the memory.

    Attributes:
        outputs: Names of what it answers with.
    """

    def __init__(self, loaded: Any, name: str) -> None:
        """Takes a signature that is there.

        Args:
            loaded: The SavedModel, as TensorFlow loads it.
            name: Of the signature.
        """
        import tensorflow as tf  # here, so that who only reads the folder does not wait seconds

        self._loaded = loaded  # a signature alone does not keep the variables alive
        self._signature = loaded.signatures[name]
        self._constant = tf.constant
        self.outputs = frozenset(self._signature.structured_outputs)

    def __call__(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the outputs by name, for uint8 [n, 150, 150, 3]."""
        outputs = self._signature(**{INPUT: self._constant(images)})
        return {name: output.numpy() for name, output in outputs.items()}


def load_saved_model(folder: str | Path) -> tuple[Signature, Signature]:
    """Loads a SavedModel; the folder has to be verified before.

    Args:
        folder: The model's folder.

    Returns:
        The signatures that answer and that explain.

    Raises:
        UserError: It cannot be loaded, or lacks a signature, an input or an output.
    """
    import tensorflow as tf

    try:
        loaded = tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        raise UserError(f"{folder}: cannot load the SavedModel: {first_line(error)}") from error
    signatures = loaded.signatures
    for name, outputs in ((SERVING, {PROBABILITY}), (EXPLAIN, {PROBABILITY, HEATMAP})):
        if name not in signatures:
            raise UserError(f"{folder}: has no signature {name}; register the model again")
        inputs = signatures[name].structured_input_signature[1]
        if INPUT not in inputs or not outputs <= signatures[name].structured_outputs.keys():
            raise UserError(
                f"{folder}: signature {name} does not map {INPUT} to "
                f"{' and '.join(sorted(outputs))}"
            )
    return Signature(loaded, SERVING), Signature(loaded, EXPLAIN)
