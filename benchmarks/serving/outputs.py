"""What servers have to answer, and whether they do."""

import http.client
import io
import json
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.serving.contenders import Contender, Form
from benchmarks.serving.payloads import Payload
from benchmarks.serving.servers.common import REFERENCE_SEED
from components.shared.images.decode import SIZE, decode
from components.shared.model_folder.contract import PROBABILITY, SERVING

TOLERANCE = 1e-4
_ANSWER_SECONDS = 30.0


class WrongAnswerError(Exception):
    """A server answers something else than the model says; the message is one line."""


def expected(model: Path, payloads: Sequence[Payload]) -> tuple[dict[str, float], dict[str, float]]:
    """Computes P(Brain Tumor) without any server, in a process of its own.

    Args:
        model: Folder of the SavedModel.
        payloads: The images.

    Returns:
        By name of the image, of the model as this project decodes, and of the reference's own
        network as the reference decodes.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
        files = [payload.data for payload in payloads]
        ours, reference = alone.submit(_expected, model, files).result()
    names = [payload.name for payload in payloads]
    return dict(zip(names, ours, strict=True)), dict(zip(names, reference, strict=True))


def _expected(model: Path, files: list[bytes]) -> tuple[list[float], list[float]]:
    import tensorflow as tf
    from keras.utils import load_img, set_random_seed

    from components.shared.networks.reference import reference_cnn

    loaded = tf.saved_model.load(str(model))
    signature = loaded.signatures[SERVING]

    def answer(image: np.ndarray) -> float:
        return 1.0 - float(signature(images=tf.constant(image[None]))[PROBABILITY][0])

    set_random_seed(REFERENCE_SEED)
    network = reference_cnn()

    def reference(file: bytes) -> float:
        image = np.asarray(load_img(io.BytesIO(file), target_size=(SIZE, SIZE)))
        return 1.0 - float(network.predict(image[None], verbose=0)[0, 0])

    return [answer(decode(file).pixels) for file in files], [reference(file) for file in files]


def ask(contender: Contender, form: Form, payload: Payload, port: int) -> float:
    """Asks a server about one image.

    Args:
        contender: Who is asked.
        form: How.
        payload: The image.
        port: Where it listens.

    Returns:
        P(Brain Tumor).

    Raises:
        WrongAnswerError: It does not answer, or with another status than 200, or with something
            else than a probability.
    """
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ANSWER_SECONDS)
    try:
        connection.request(
            "POST",
            form.path,
            form.body(payload),
            {"Content-Type": form.content_type or payload.content_type},
        )
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise WrongAnswerError(f"{payload.name}: no answer: {error!r}") from error
    finally:
        connection.close()
    said = body[:200].decode(errors="replace")
    if answer.status != 200:
        raise WrongAnswerError(f"{payload.name}: status {answer.status}: {said}")
    try:
        return float(contender.probability(json.loads(body)))
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise WrongAnswerError(f"{payload.name}: no probability in {said}") from error


def check(
    contender: Contender, form: Form, expected: dict[str, float], payloads: list[Payload], port: int
) -> float:
    """Asks a server about every image.

    Args:
        contender: Who is asked.
        form: How.
        expected: P(Brain Tumor) by name of the image.
        payloads: The images.
        port: Where it listens.

    Returns:
        The largest difference.

    Raises:
        WrongAnswerError: One is greater than 1e-4.
    """
    largest = 0.0
    for payload in payloads:
        found = ask(contender, form, payload, port)
        difference = abs(found - expected[payload.name])
        if not difference <= TOLERANCE:  # NaN is refused too
            raise WrongAnswerError(
                f"{payload.name}: P(Brain Tumor) {found:.6f} where "
                f"{expected[payload.name]:.6f} is expected"
            )
        largest = max(largest, difference)
    return largest
