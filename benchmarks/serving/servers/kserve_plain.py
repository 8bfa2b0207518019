"""KServe's own sample of a custom predictor, filled in.

As the documentation shows it: `load` in the constructor, a synchronous `predict` that takes
`{"instances": [{"image": {"b64": ...}}]}`, opens each image and calls the model for it, and the
`ModelServer` with its defaults. The sample has no batching.
"""

import base64
from typing import Any

from kserve import Model as KServeModel
from kserve import ModelServer

from benchmarks.serving.servers.common import NAME, Model, port


class Plain(KServeModel):
    """Answers one instance after the other, on the event loop as KServe runs it."""

    def __init__(self, name: str) -> None:
        """Args: name: to serve under."""
        super().__init__(name)
        self.load()

    def load(self) -> bool:
        """Loads the model."""
        self._model = Model()
        self.ready = True
        return self.ready

    def predict(
        self,
        payload: dict[str, Any],
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any]:
        """Returns P(Brain Tumor) of every instance."""
        return {
            "predictions": [
                probability
                for instance in payload["instances"]
                for probability in self._model.answer(
                    self._model.decode([base64.b64decode(instance["image"]["b64"])])
                )
            ]
        }


if __name__ == "__main__":
    ModelServer(http_port=port(), grpc_port=port() + 1).start([Plain(NAME)])
