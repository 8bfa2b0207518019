"""LitServe, as its guide on speed advises.

Batches are on, the files of a batch are decoded by a thread a core in `batch`, the queue is the
fast one (ZeroMQ), and images come as base64 in JSON, the form of its image examples. One worker:
a second one took twice the memory and was no faster on two cores, where the model uses both.
"""

import base64
from collections.abc import Sequence

import litserve  # type: ignore[import-not-found]
import numpy as np

from benchmarks.serving.servers.common import LARGEST_BATCH, WAIT_SECONDS, Model, port


class Api(litserve.LitAPI):
    """Answers batches."""

    def setup(self, device: str) -> None:
        """Loads the model, in the process that will run it."""
        self._model = Model()

    def decode_request(self, request: dict[str, str]) -> bytes:
        """Returns the file."""
        return base64.b64decode(request["image"])

    def batch(self, inputs: Sequence[bytes]) -> np.ndarray:
        """Returns the files' pixels."""
        return self._model.decode(inputs)

    def predict(self, x: np.ndarray) -> list[float]:
        """Returns P(Brain Tumor) of each."""
        return self._model.answer(x)

    def unbatch(self, output: list[float]) -> list[float]:
        """Returns an answer a request."""
        return output

    def encode_response(self, output: float) -> dict[str, float]:
        """Returns the body."""
        return {"probability": output}


if __name__ == "__main__":
    litserve.LitServer(
        Api(max_batch_size=LARGEST_BATCH, batch_timeout=WAIT_SECONDS),
        accelerator="cpu",
        fast_queue=True,
    ).run(host="127.0.0.1", port=port(), generate_client_file=False, log_level="warning")
