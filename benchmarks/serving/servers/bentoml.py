"""BentoML with a batchable API.

One service with one worker, so that the dispatcher sees all requests and the model has all cores;
the dispatcher sizes batches by itself. A batchable API takes a list; each client sends one image.
"""

import base64

import bentoml  # type: ignore[import-not-found]

from benchmarks.serving.servers.common import LARGEST_BATCH, Model


@bentoml.service(workers=1, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Tumor:
    """Answers batches."""

    def __init__(self) -> None:
        """Loads the model."""
        self._model = Model()

    @bentoml.api(batchable=True, max_batch_size=LARGEST_BATCH, max_latency_ms=10_000)
    def predict(self, images: list[str]) -> list[float]:
        """Returns P(Brain Tumor) of each."""
        return self._model.answer(self._model.decode([base64.b64decode(text) for text in images]))
