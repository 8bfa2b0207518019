"""The custom KServe predictor: images in, answers out, on every protocol that KServe speaks."""

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from typing import Any, TypeVar

import numpy as np
from grpc import StatusCode
from kserve.model import InferenceVerb, Model
from kserve.protocol.infer_type import InferOutput, InferRequest, InferResponse

from components.shared.images.decode import SHAPE
from components.shared.model_folder.contract import UNSURE
from serving import metrics, tracing
from serving.batching import Batcher
from serving.bodies import v1_payload
from serving.classifier import Classifier, Prediction
from serving.codecs import (
    ENCODED,
    PIXELS,
    Item,
    Loaded,
    Url,
    check_count,
    is_columnar,
    v1_items,
    v2_items,
    v2_request,
)
from serving.decoding import Decoders, Slices
from serving.drift import DriftCounts
from serving.errors import PredictorError
from serving.explain import Explanation, explanation
from serving.fetch import Fetcher
from serving.intake import Intake
from serving.settings import Settings

_log = logging.getLogger("brain_tumor")
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read.

    Attributes:
        items: Its images.
        request: Where it came as v2, KServe's own form of it.
        columnar: It came in the column form of v1, and is answered so.
    """

    items: list[Item]
    request: InferRequest | None = None
    columnar: bool = False


@dataclass(frozen=True, slots=True)
class Answered:
    """A request with its answers, in the order of its images."""

    call: Call
    answers: Sequence[Prediction | Explanation]


class Predictor(Model):
    """Serves a registered model.

    Reading a request, answering it and writing the answer are KServe's `preprocess`, `predict` (or
    `explain`) and `postprocess`. Nothing here blocks the event loop: files are decoded in a few
    processes, and the model runs in threads.
    """

    def __init__(
        self, name: str, classifier: Classifier, intake: Intake, settings: Settings
    ) -> None:
        """Takes a loaded model, so that it is ready from the start.

        Args:
            name: Under which it is served.
            classifier: The model, not yet warm.
            intake: Shared with whatever takes requests in.
            settings: Limits.
        """
        super().__init__(name)
        self.classifier = classifier
        self.draining = False
        self._intake = intake
        self._settings = settings
        self._fetcher = Fetcher(settings)
        self.drift = DriftCounts(classifier.model)
        self.decoders = Decoders(settings)
        self._batcher = Batcher(
            classifier.classify,
            min(settings.largest_batch, classifier.runtime.largest_batch),
            settings.batch_wait_seconds,
            settings.queue_length,
            classifier.runtime.batches_at_once,
        )
        self._batcher.in_each_thread(partial(classifier.warm, settings.largest_batch))
        self.ready = True

    def load(self) -> bool:
        """Does nothing: KServe calls this when a request comes while readiness is down."""
        return True

    async def healthy(self) -> bool:
        """Returns whether new requests are welcome."""
        return self.ready and not self.draining

    async def __call__(
        self,
        body: Any,
        headers: dict[str, str] | None = None,
        verb: InferenceVerb = InferenceVerb.PREDICT,
    ) -> Any:
        """Answers a request; what goes wrong inside is logged and told as no more than that.

        Args:
            body: As for `preprocess`.
            headers: Not looked at.
            verb: KServe's word for predict or explain.

        Returns:
            The answer and headers for it, of which there are none.

        Raises:
            PredictorError: The request is not answered.
        """
        over_grpc = isinstance(body, InferRequest) and body.from_grpc is True
        code = StatusCode.OK
        try:
            return await super().__call__(body, headers, verb)
        except PredictorError as error:
            code = error.status_code
            if over_grpc:
                metrics.REJECTED.labels(error.reason).inc()
            raise
        except Exception as error:
            code = StatusCode.INTERNAL
            _log.exception("%s failed", verb.name.lower())
            raise PredictorError("internal", "internal error") from error
        finally:
            if over_grpc:
                metrics.RESPONSES.labels("grpc", "infer", code.name).inc()

    def check_served(self, name: str, version: str) -> None:
        """Refuses what is asked of another model.

        Args:
            name: That a request names.
            version: Likewise; empty for whichever is served.

        Raises:
            PredictorError: Another name, or another version.
        """
        if name != self.name:
            raise PredictorError("not-found", f"no model of that name; {self.name} is served")
        served = str(self.classifier.model.version)
        if version not in ("", served):
            raise PredictorError("not-found", f"no such version; {served} is served")

    def get_input_types(self) -> list[dict[str, Any]]:
        """Returns the v2 inputs; a request sends one of them."""
        return [
            {"name": PIXELS, "datatype": "UINT8", "shape": [-1, *SHAPE]},
            {"name": ENCODED, "datatype": "BYTES", "shape": [-1]},
        ]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Returns the v2 outputs."""
        return [
            {"name": output.name, "datatype": output.datatype, "shape": [-1, *output.extent]}
            for output in self._outputs()
        ]

    async def read_v1(self, body: bytes, content_type: str) -> Call:
        """Reads a body of v1.

        Args:
            body: As received.
            content_type: Its header; empty where there was none.

        Returns:
            The request, its images not yet decoded.

        Raises:
            PredictorError: It is malformed.
        """
        items = []
        async with self._intake.parsing(len(body)) as pause:
            max_instances = self._settings.max_instances
            payload = v1_payload(body, content_type, self._settings.max_json_values, max_instances)
            await pause()
            for item in v1_items(payload, max_instances):
                items.append(item)
                await pause()
        return Call(items, columnar=is_columnar(payload))

    async def read_v2(self, body: bytes, json_length: str | None) -> Call:
        """Reads a body of v2.

        Args:
            body: As received.
            json_length: The header `Inference-Header-Content-Length`, or None.

        Returns:
            The request, its images not yet decoded.

        Raises:
            PredictorError: It is malformed.
        """
        async with self._intake.parsing(len(body)) as pause:
            request = v2_request(body, json_length, self.name, self._settings.max_json_values)
            await pause()
            return Call(v2_items(request, self._settings.max_instances), request)

    async def preprocess(self, payload: Any, headers: dict[str, str] | None = None) -> Call:
        """Reads what has not been read yet.

        Args:
            payload: A request, read by this predictor's routes or not: a JSON value of v1 or an
                `InferRequest`.
            headers: Not looked at.

        Returns:
            The request, its images not yet decoded.

        Raises:
            PredictorError: It is malformed.
        """
        if isinstance(payload, Call):
            return payload
        max_instances = self._settings.max_instances
        if isinstance(payload, InferRequest):
            return Call(v2_items(payload, max_instances), payload)
        return Call(list(v1_items(payload, max_instances)), columnar=is_columnar(payload))

    async def predict(
        self,
        payload: Call,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> Answered:
        """Classifies the images of a request.

        Args:
            payload: The request, read.
            headers: Not looked at.
            response_headers: Left alone.

        Returns:
            The answers.

        Raises:
            PredictorError: An image is not usable, or too many are waiting.
        """
        async with self._read(payload.items) as files:
            answers = await self._answers(files)
        for answer in answers:
            _count(answer, self.classifier)
            self.drift.add(answer)
        return Answered(payload, answers)

    async def explain(self, payload: Call, headers: dict[str, str] | None = None) -> Answered:
        """Classifies, and shows where in the images the evidence lies.

        Args:
            payload: The request, read.
            headers: Not looked at.

        Returns:
            The answers with their heat maps.

        Raises:
            PredictorError: As for `predict`.
        """
        async with self._read(payload.items) as files:
            with metrics.STAGE["explain"].time(), tracing.stage("explain"):
                # One by one: predictions get their turn between.
                answers = [await self._explained(file) for file in files]
        return Answered(payload, answers)

    async def postprocess(
        self,
        result: Answered,
        headers: dict[str, str] | None = None,
        response_headers: dict[str, str] | None = None,
    ) -> dict[str, Any] | InferResponse:
        """Writes the answers in the protocol of the request.

        Args:
            result: The answers.
            headers: Not looked at.
            response_headers: Left alone.

        Returns:
            JSON for v1, an `InferResponse` for v2.

        Raises:
            PredictorError: An output is requested that there is not.
        """
        if result.call.request is not None:
            return self._v2_response(result.call.request, result.answers)
        rows = [answer.as_json() for answer in result.answers]
        if result.call.columnar:
            names = dict.fromkeys(chain.from_iterable(rows))  # of an image and a volume: of both
            return {"outputs": {name: [row.get(name) for row in rows] for name in names}}
        return {"predictions": rows}

    @asynccontextmanager
    async def _fetched(self, items: Sequence[Item]) -> AsyncIterator[Sequence[Loaded]]:
        """Fetches what lies elsewhere, before it takes a place in the model's queue.

        Its bytes are held, as those of bodies are, until the request is answered.
        """
        held = 0

        def hold(size: int) -> None:
            nonlocal held
            held += size
            self._intake.hold(size)

        async def load(item: Item) -> Loaded:
            if not isinstance(item, Url):
                return item
            with metrics.STAGE["fetch"].time(), tracing.stage("fetch"):
                return await self._fetcher.fetch(item.address, hold)

        try:
            with self._fetcher.accept(sum(isinstance(item, Url) for item in items)):
                loaded = await _each(load, items)
            yield loaded
        finally:
            self._intake.release(held)

    @asynccontextmanager
    async def _read(self, items: Sequence[Item]) -> AsyncIterator[Sequence[Slices]]:
        """Fetches and decodes, with a place in the model's queue for each image and slice."""
        async with self._fetched(items) as loaded:
            with self._batcher.accept(len(loaded)):
                files = await _each(self._slices, loaded)
                total = sum(len(file.pixels) for file in files)
                check_count(total, self._settings.max_instances)
                with self._batcher.accept(total - len(files)):
                    yield files

    async def _slices(self, item: Loaded) -> Slices:
        return (
            Slices(item[None]) if isinstance(item, np.ndarray) else await self.decoders.decode(item)
        )

    async def _answers(self, files: Sequence[Slices]) -> list[Prediction]:
        """Returns the answer for each file."""
        images = chain.from_iterable(file.pixels for file in files)
        answers = iter(await asyncio.gather(*map(self._batcher.submit, images)))
        return [
            self.classifier.of_file(list(islice(answers, len(file.pixels))), file.numbers)
            for file in files
        ]

    async def _explained(self, file: Slices) -> Explanation:
        """Explains an image, or that slice of a volume whose tumour is the most probable."""
        answer, number, image = None, None, file.pixels[0]
        if file.numbers is not None:
            (answer,) = await self._answers([file])
            suspicions = [self.classifier.suspicion(slice) for _, slice in answer.slices]
            likeliest = suspicions.index(max(suspicions))
            number, image = file.numbers[likeliest], file.pixels[likeliest]
        found = await self._batcher.alone(self.classifier.explain, image[None])
        prediction, heatmap = found[0]
        return await asyncio.to_thread(explanation, image, answer or prediction, heatmap, number)

    def _outputs(self) -> list["_Output"]:
        lacking = set()
        if not self.classifier.has_in_distribution_check:
            lacking |= {"in_distribution", "in_distribution_score"}
        if self.classifier.model.unsure is None:
            lacking.add("outcome")
        return [output for output in _OUTPUTS if output.name not in lacking]

    def _v2_response(
        self, request: InferRequest, answers: Sequence[Prediction | Explanation]
    ) -> InferResponse:
        outputs = self._outputs()
        asked = {output.name for output in request.request_outputs or ()}
        unknown = asked - {output.name for output in outputs}
        if unknown:
            raise PredictorError("malformed", f"no such output: {', '.join(sorted(unknown))}")
        predictions = [a.prediction if isinstance(a, Explanation) else a for a in answers]
        written = []
        for output in outputs:
            if not asked or output.name in asked:
                values = np.array([output.value(p) for p in predictions], dtype=output.dtype)
                tensor = InferOutput(output.name, list(values.shape), output.datatype, values)
                if request.from_grpc is True:  # which KServe can send of tensors only as raw bytes
                    tensor.set_data_from_numpy(values, binary_data=True)
                written.append(tensor)
        return InferResponse(
            response_id=request.id or str(uuid.uuid4()),
            model_name=self.name,
            model_version=str(self.classifier.model.version),
            infer_outputs=written,
            use_binary_outputs=request.use_binary_outputs,
            requested_outputs=request.request_outputs,
        )


@dataclass(frozen=True)
class _Output:
    """A v2 output: its name, KServe datatype, NumPy dtype, further axes, and where it is found."""

    name: str
    datatype: str
    dtype: Any
    extent: tuple[int, ...]
    value: Callable[[Prediction], Any]


_OUTPUTS = (
    _Output("label", "BYTES", np.object_, (), lambda p: p.label),
    _Output("probability", "FP32", np.float32, (), lambda p: p.probability),
    _Output("probabilities", "FP32", np.float32, (2,), lambda p: list(p.probabilities.values())),
    _Output("threshold", "FP32", np.float32, (), lambda p: p.threshold),
    _Output("in_distribution", "BOOL", np.bool_, (), lambda p: p.in_distribution),
    _Output("in_distribution_score", "FP32", np.float32, (), lambda p: p.in_distribution_score),
    _Output("outcome", "BYTES", np.object_, (), lambda p: p.outcome),
)


async def _each(function: Callable[[T], Awaitable[R]], items: Sequence[T]) -> list[R]:
    """Calls a function for all items at once, or raises the error of the first bad one."""
    if len(items) == 1:
        return [await function(items[0])]
    results = await asyncio.gather(*map(function, items), return_exceptions=True)
    good = []
    for index, result in enumerate(results):
        if isinstance(result, PredictorError):
            raise result.of_instance(index) from result
        if isinstance(result, BaseException):
            raise result
        good.append(result)
    return good


def _count(answer: Prediction, classifier: Classifier) -> None:
    metrics.PREDICTIONS.labels(answer.label).inc()
    model = classifier.model
    metrics.SCORE.observe(answer.probabilities[model.classes[model.positive]])
    if answer.outcome == UNSURE:
        metrics.UNSURE.inc()
    if answer.in_distribution is False:
        metrics.OUT_OF_DISTRIBUTION.inc()
