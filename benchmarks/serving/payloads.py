"""The images that are sent: small, middling and large ones."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from components.ingest.listing import SourceFile
from components.ingest.sources import open_source
from components.shared.errors import UserError
from components.shared.images.decode import FORMATS, ImageError, decode

SIZES = {"12 KB": 12_000, "100 KB": 100_000, "700 KB": 700_000}
EACH = 8  # different images of each size
_NEAR = 0.25  # a file of the source counts as of a size within this share of it
_KINDS = {"JPEG": "image/jpeg", "PNG": "image/png"}
_NOISE = 12.0  # standard deviation, of 255


@dataclass(frozen=True)
class Payload:
    """An image file to send.

    Attributes:
        name: Of the file, with the extension of its format.
        data: Its bytes.
        content_type: Its media type.
        url: Where it can be fetched; empty until it is served.
    """

    name: str
    data: bytes
    content_type: str
    url: str = ""


def make_payloads(source: str) -> dict[str, list[Payload]]:
    """Chooses files of a source by size; sizes that it lacks are made from what it has.

    Args:
        source: A zip, a folder or `sample://`, as for `brain-tumor run --source`.

    Returns:
        Eight images for each of `SIZES`.

    Raises:
        UserError: The source has no usable JPEG or PNG image.
    """
    with open_source(source) as opened:
        files = [file for file in opened.files if file.problem is None]
        payloads = {}
        for label, size in SIZES.items():
            chosen = _of_size(files, size, label)
            if len(chosen) < EACH:
                originals = chosen or _of_size(files, 0, label)
                if not originals:
                    raise UserError(f"{source}: no usable JPEG or PNG image in it")
                chosen = [
                    _made(originals[number % len(originals)], size, label, number)
                    for number in range(EACH)
                ]
            payloads[label] = chosen
    return payloads


def lossless(payload: Payload) -> Payload:
    """Returns what the decoder makes of an image, as a PNG of 150x150.

    Whoever decodes that, resizing by whatever rule, gets the same pixels.
    """
    pixels = Image.fromarray(decode(payload.data).pixels)
    stem = payload.name.rpartition(".")[0]
    return Payload(f"{stem}-150.png", _encoded(pixels, "PNG"), _KINDS["PNG"])


def _of_size(files: list[SourceFile], size: int, label: str) -> list[Payload]:
    """Returns up to eight usable files, the nearest in size first; size 0 takes any."""
    near = [file for file in files if not size or abs(file.size - size) <= _NEAR * size]
    found: list[Payload] = []
    for file in sorted(near, key=lambda file: (abs(file.size - size), file.path)):
        data = file.read()
        try:
            kind = decode(data).format
        except ImageError:
            continue
        if kind in _KINDS:
            found.append(_payload(label, len(found), data, kind))
        if len(found) == EACH:
            break
    return found


def _made(original: Payload, size: int, label: str, number: int) -> Payload:
    """Enlarges an image, with the noise that a real one of that size has, to about `size` bytes.

    Large ones are PNG and JPEG in turn, small ones JPEG.
    """
    kind = "PNG" if size > SIZES["100 KB"] and number % 2 else "JPEG"
    rng = np.random.default_rng([size, number])
    image = Image.open(io.BytesIO(original.data), formats=FORMATS).convert("L")
    side, data = 256, b""
    for _ in range(5):  # bytes grow about as the area does
        enlarged = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC), np.float64)
        noisy = np.clip(enlarged + rng.normal(0, _NOISE, enlarged.shape), 0, 255)
        data = _encoded(Image.fromarray(noisy.astype(np.uint8)).convert("RGB"), kind)
        if abs(len(data) - size) <= 0.05 * size:
            break
        side = max(16, round(side * (size / len(data)) ** 0.5))
    return _payload(label, number, data, kind)


def _payload(label: str, number: int, data: bytes, kind: str) -> Payload:
    extension = "png" if kind == "PNG" else "jpg"
    return Payload(f"{label.replace(' ', '')}-{number}.{extension}", data, _KINDS[kind])


def _encoded(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **({"quality": 90} if kind == "JPEG" else {}))
    return buffer.getvalue()


def write_payloads(payloads: list[Payload], folder: Path) -> None:
    """Writes images as files into a folder."""
    for payload in payloads:
        (folder / payload.name).write_bytes(payload.data)
