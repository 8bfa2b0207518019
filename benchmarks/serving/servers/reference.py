"""The reference implementation's service, written again after its description.

A Flask application under gunicorn with one worker: it fetches `image_url`, resizes with Keras
(nearest neighbour) and calls `model.predict` for each request. Two things are kinder to it than
the original is known to be: `predict` draws no progress bar, and the network is built as
`components.model` does, which computes the same with fewer operations. The probability stands
beside the label so that answers can be compared.
"""

import io
import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
import requests
import tensorflow as tf
from flask import Flask, request  # type: ignore[import-not-found]

from components.images import SIZE
from components.model import reference_cnn


def load(folder: str) -> keras.Model:
    """Rebuilds the Keras model from the variables of its SavedModel."""
    loaded = tf.saved_model.load(folder)
    variables = loaded.signatures["serving_default"].variables
    stored = _by_role((variable.name, variable) for variable in variables)
    if any(len(stored.get((layer, "kernel"), [])) != 2 for layer in ("conv", "dense")):
        sys.exit(
            f"{folder}: not the reference CNN, which this server serves; "
            "make one with brain-tumor run --architectures reference"
        )
    model = reference_cnn(dense=stored["dense", "kernel"][0].shape[1])
    for role, weights in _by_role((weight.path, weight) for weight in model.weights).items():
        for weight, variable in zip(weights, stored[role], strict=True):
            weight.assign(variable.numpy())
    return model


def _by_role(named: Iterable[tuple[str, Any]]) -> dict[tuple[str, str], list[Any]]:
    """Groups `.../dense_2/kernel:0` under `("dense", "kernel")`, in the order of the numbers."""
    numbered = defaultdict(list)
    for name, variable in named:
        layer, kind = name.split(":")[0].split("/")[-2:]
        found = re.fullmatch(r"(.+?)(?:_(\d+))?", layer)
        assert found
        numbered[found[1], kind].append((int(found[2] or 0), variable))
    return {
        role: [variable for _, variable in sorted(pairs, key=lambda pair: pair[0])]
        for role, pairs in numbered.items()
    }


application = Flask(__name__)
_model = load(os.environ["BENCHMARK_MODEL"])


@application.post("/predict")
def predict() -> dict[str, Any]:
    """Returns the label of the image at `image_url`."""
    response = requests.get(request.get_json()["image_url"], timeout=10)
    image = keras.utils.load_img(io.BytesIO(response.content), target_size=(SIZE, SIZE))
    tumor = 1.0 - float(_model.predict(np.asarray(image)[None], verbose=0)[0, 0])
    label = "Brain Tumor" if tumor >= 0.5 else "Healthy"
    return {"prediction": label, "probability": tumor}
