"""The reference implementation's service, written again after its description.

A Flask application under gunicorn with one worker: it fetches `image_url`, resizes with Keras
(nearest neighbour) and calls `model.predict` for each request. Two things are kinder to it than
the original is known to be: `predict` draws no progress bar, and the network is built as
`components.shared.networks.reference` does, which computes the same with fewer operations. The
network is untrained, which changes no operation; its seed is fixed, so that answers can be
compared. The probability stands beside the label for the same reason.
"""

import io
from typing import Any

import keras
import numpy as np
import requests
from flask import Flask, request  # type: ignore[import-not-found]

from benchmarks.serving.servers.common import REFERENCE_SEED
from components.shared.images.decode import SIZE
from components.shared.networks.reference import reference_cnn


def untrained() -> keras.Model:
    """Builds the reference's CNN with the same weights each time."""
    keras.utils.set_random_seed(REFERENCE_SEED)
    return reference_cnn()


application = Flask(__name__)
_model = untrained()


@application.post("/predict")
def predict() -> dict[str, Any]:
    """Returns the label of the image at `image_url`."""
    response = requests.get(request.get_json()["image_url"], timeout=10)
    image = keras.utils.load_img(io.BytesIO(response.content), target_size=(SIZE, SIZE))
    tumor = 1.0 - float(_model.predict(np.asarray(image)[None], verbose=0)[0, 0])
    label = "Brain Tumor" if tumor >= 0.5 else "Healthy"
    return {"prediction": label, "probability": tumor}
