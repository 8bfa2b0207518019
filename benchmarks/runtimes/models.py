"""The networks, untrained, in the format of each runtime."""

from pathlib import Path

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

from benchmarks.runtimes.contenders import LITERT_MODEL, ONNX_MODEL, SAVED_MODEL
from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import INPUT, PROBABILITY, SERVING
from components.shared.networks.hyperparameters import Hyperparameters
from components.shared.networks.reference import REFERENCE
from components.shared.networks.table import network

NETWORKS = {
    "compact": Hyperparameters("compact"),
    "reference": REFERENCE,
    "efficientnet": Hyperparameters("efficientnet"),
}


def write_models(name: str, folder: Path, formats: set[str]) -> keras.Model:
    """Writes a network in some formats.

    Args:
        name: Of the network.
        folder: Where to write.
        formats: Files and folders of `benchmarks.runtimes.contenders`.

    Returns:
        The network.
    """
    keras.utils.set_random_seed(0)
    model = network(name).build(NETWORKS[name])
    signature = [tf.TensorSpec((None, *SHAPE), tf.uint8, name=INPUT)]

    @tf.function(input_signature=signature)
    def answer(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    if SAVED_MODEL in formats:
        archive = keras.export.ExportArchive()
        archive.track(model)
        archive.add_endpoint(
            SERVING,
            lambda images: {PROBABILITY: model(images, training=False)[:, 0]},
            input_signature=signature,
        )
        archive.write_out(str(folder / SAVED_MODEL), verbose=False)
    if LITERT_MODEL in formats:
        # The converter itself would leave variables of large weights that nobody fills.
        frozen = convert_variables_to_constants_v2(answer.get_concrete_function())
        converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
        (folder / LITERT_MODEL).write_bytes(converter.convert())
    if ONNX_MODEL in formats:
        import tf2onnx

        tf2onnx.convert.from_function(
            answer, signature, opset=17, output_path=str(folder / ONNX_MODEL)
        )
    return model
