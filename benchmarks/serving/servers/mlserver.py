"""MLServer with a custom runtime and adaptive batching.

Images come as the Open Inference protocol has them over REST: BYTES with the content type
`base64`. MLServer merges the requests of a batch into one. The model runs in one inference worker,
the default: none at all, or two, were no faster on two cores.
"""

import asyncio

from mlserver import MLModel, MLServer, ModelSettings, Settings  # type: ignore[import-not-found]
from mlserver.codecs import Base64Codec  # type: ignore[import-not-found]
from mlserver.types import (  # type: ignore[import-not-found]
    InferenceRequest,
    InferenceResponse,
    ResponseOutput,
)
from mlserver.utils import install_uvloop_event_loop  # type: ignore[import-not-found]

from benchmarks.serving.servers.common import LARGEST_BATCH, NAME, WAIT_SECONDS, Model, port


class Runtime(MLModel):
    """Answers batches."""

    async def load(self) -> bool:
        """Loads the model, in the process that will run it."""
        self._model = Model()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Returns P(Brain Tumor) of every image of the batch."""
        files = Base64Codec.decode_input(payload.inputs[0])
        answers = self._model.answer(self._model.decode(files))
        return InferenceResponse(
            model_name=self.name,
            outputs=[
                ResponseOutput(
                    name="probability", shape=[len(answers), 1], datatype="FP64", data=answers
                )
            ],
        )


async def serve() -> None:
    """Serves until it is told to stop."""
    settings = Settings(
        host="127.0.0.1",
        http_port=port(),
        grpc_port=port() + 1,
        metrics_port=port() + 2,
        parallel_workers=1,
        debug=False,
    )
    model = ModelSettings(
        name=NAME,
        implementation=Runtime,
        max_batch_size=LARGEST_BATCH,
        max_batch_time=WAIT_SECONDS,
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":  # as `mlserver start` does, with the settings above
    install_uvloop_event_loop()
    asyncio.run(serve())
