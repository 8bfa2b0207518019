"""Ray Serve with `serve.batch`.

The environment turns on what its guide to high throughput names: HAProxy in front instead of the
Python proxy, and the optimisations for throughput, among them user code on the event loop of the
replica and buffered logs. There is one replica, so that batches fill and the model has all cores;
it runs in a thread. The image is the raw body of the request.
"""

import asyncio
import signal
import threading

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.servers.common import LARGEST_BATCH, WAIT_SECONDS, Model, cores, port


class Tumor:
    """Answers batches."""

    def __init__(self) -> None:
        """Loads the model."""
        self._model = Model()

    @serve.batch(max_batch_size=LARGEST_BATCH, batch_wait_timeout_s=WAIT_SECONDS)
    async def answer(self, files: list[bytes]) -> list[float]:
        """Returns P(Brain Tumor) of each."""
        return await asyncio.to_thread(self._answer, files)

    def _answer(self, files: list[bytes]) -> list[float]:
        return self._model.answer(self._model.decode(files))

    async def __call__(self, request: Request) -> dict[str, float]:
        """Returns the body."""
        return {"probability": await self.answer(await request.body())}


def main() -> None:
    """Serves until it is told to stop."""
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    ray.init(num_cpus=cores(), include_dashboard=False, configure_logging=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port()})
    deployment = serve.deployment(
        max_ongoing_requests=1000,
        ray_actor_options={"num_cpus": 1},
        logging_config={"enable_access_log": False},
    )(Tumor)
    serve.run(deployment.bind(), route_prefix="/predict")
    told.wait()
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
