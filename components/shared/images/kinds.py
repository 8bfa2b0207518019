"""What a file is that is no image to be read, in words for people."""

import re
import zlib

from PIL import TiffImagePlugin

from components.shared.images import jpeg, tiff

_JPEG = b"\xff\xd8"
_GZIP = b"\x1f\x8b"
_READ = "send a JPEG, PNG, TIFF, DICOM or NIfTI"
_OTHERS = {
    rb"GIF8": "a GIF",
    rb"BM.{4}\0{4}": "a BMP",
    rb"RIFF.{4}WEBP": "a WebP",
    rb".{4}ftyp(hei|hev|mif1|msf1)": "a HEIC",
    rb".{4}ftypavi[fs]": "an AVIF",
    rb"\0\0\0\x0cjP  |\xff\x4f\xff\x51": "a JPEG 2000",
    rb"\0\0\0\x0cJXL |\xff\x0a": "a JPEG XL",
    rb"\x5c\x01\0\0.{36}[\x01-\x07]\0|\0\0\x01\x5c.{36}\0[\x01-\x07]": "an ANALYZE image's header",
    rb"\0\0\0\x01(\0\0..){4}\0\0\0[\0-\x05]": "an MGH volume",
    rb"\x1f\x8b": "a gzip file",
    rb"PK\x03\x04": "a zip",
    rb"%PDF-": "a PDF",
    rb"%!PS": "a PostScript file",
    rb"8BPS": "a Photoshop file",
    rb"P[1-7][ \t\r\n]": "a PNM",
    rb"\s*<(!doctype\s+)?html": "an HTML page",
    rb"\s*(<\?xml.*)?<svg": "an SVG",
    rb"\s*<\?xml": "an XML file",
    rb"\s*[{\[]": "JSON",
    rb"[A-Za-z0-9+/_-]{64}": "base64 text, not decoded",
}
_HEAD = 512  # bytes that tell one of these from the others
_PACKED_HEAD = 4096  # of a gzip file, which hold more than that
# With the magic, or without the first 132 bytes: a tag of group 2 or 8, then a type or a length.
_DICOM = re.compile(
    rb".{128}DICM|[\x02\x08]\0[\0-\x20]\0([A-Z]{2}|.\0\0\0)|\0\x08\0[\0-\x20][A-Z]{2}", re.DOTALL
)
_PATTERNS = [
    (re.compile(pattern, re.DOTALL | re.IGNORECASE if b"<" in pattern else re.DOTALL), name)
    for pattern, name in _OTHERS.items()
]
_TEXT = re.compile(rb"[\t\r\n -~]+\Z")  # such as another field of a form
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_HIERARCHICAL = (0xC5, 0xC6, 0xCD, 0xCE)
_LS = 0xF7
_JPEG_IN_TIFF = 7
_NUMBERS = {2: " (signed)", 3: " (float)", 5: " (complex)", 6: " (complex)"}
_PHOTOMETRICS = {
    3: "palette ",
    4: "transparency mask ",
    5: "CMYK ",
    6: "YCbCr ",
    8: "CIELab ",
    9: "Lab ",
    10: "Lab ",
    32803: "colour filter array ",
    32844: "LogL ",
    32845: "LogLuv ",
    34892: "linear raw ",
    51177: "depth map ",
}
# What Pillow's packages do not read, or read though a part is missing.
_COMPRESSIONS = {
    6: "old-style JPEG",
    33003: "JPEG 2000",
    33005: "JPEG 2000",
    34676: "SGI Log",
    34677: "SGI Log",
    34712: "JPEG 2000",
    34887: "LERC",
    34892: "lossy DNG JPEG",
    34933: "PNG",
    34934: "JPEG XR",
    48124: "Jetraw",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}


def is_dicom(data: bytes) -> bool:
    """Tells whether a file is a DICOM, as far as its first bytes tell.

    Args:
        data: The file's bytes.
    """
    return _DICOM.match(data[:_HEAD]) is not None


def described(data: bytes) -> str:
    """Says what a file is that no decoder opens, and what to do.

    Args:
        data: The file's bytes.

    Returns:
        One line.
    """
    if data.startswith(_JPEG):
        return unsupported_kind(data) or "a JPEG that is broken or cut off"
    if data.startswith(b"\x89PNG"):
        return "a PNG that is broken or cut off"
    if data.startswith(tiff.MAGIC):
        return unsupported_kind(data) or layout(data) or "a TIFF that is broken or cut off"
    if data.startswith(_GZIP) and (inside := _name(_unpacked_head(data))):
        return f"{inside} in a gzip file; {_READ}"
    if name := _name(data[:_HEAD]):
        return f"{name}; {_READ}"
    return (
        f"not a JPEG, PNG, TIFF, DICOM or NIfTI{', but text' if _TEXT.match(data[:_HEAD]) else ''}"
    )


def _name(head: bytes) -> str | None:
    return next((name for pattern, name in _PATTERNS if pattern.match(head)), None)


def _unpacked_head(packed: bytes) -> bytes:
    """Returns the first bytes that a gzip file holds, as far as it can be unpacked."""
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(packed[:_PACKED_HEAD], _HEAD)
    except zlib.error:
        return b""


def unsupported_kind(data: bytes) -> str | None:
    """Says of what kind a JPEG or TIFF is, if it is one that is not read.

    Args:
        data: The file's bytes; tags of a TIFF have been checked.

    Returns:
        One line, or None.
    """
    if data.startswith(_JPEG):
        return _frame(data)
    if data.startswith(tiff.MAGIC):
        return _compression(data)
    return None


def _frame(data: bytes) -> str | None:
    """Looks at the segment of a JPEG that holds bits, height, width and channels."""
    for marker, start, end in jpeg.segments(data):
        content = data[start:end]
        if marker == _LS:
            return f"a JPEG-LS; {_READ}"
        if marker in jpeg.FRAMES and len(content) > 5:
            bits, channels = content[0], content[5]
            if marker in _HIERARCHICAL:
                kind = "a hierarchical JPEG"
            elif marker in jpeg.ARITHMETIC:
                kind = "a JPEG with arithmetic coding"
            elif bits != 8:
                kind = f"a {'lossless ' if marker in _LOSSLESS else ''}JPEG of {bits} bits"
            elif channels not in (1, 3, 4):
                kind = f"a JPEG of {channels} channels"
            else:
                return None
            return f"{kind}, which is not read; save it as a baseline JPEG, PNG or TIFF"
    return None


def _compression(data: bytes) -> str | None:
    method = tiff.tags(data).get(tiff.COMPRESSION, 1)
    if method in TiffImagePlugin.COMPRESSION_INFO and method not in _COMPRESSIONS:
        return None
    name = _COMPRESSIONS.get(method, f"method {method}")
    return f"a TIFF compressed with {name}, which is not read; save it with LZW, or as PNG"


def layout(data: bytes) -> str | None:
    """Says what samples a TIFF has that are not read, if it says so itself.

    Args:
        data: The file's bytes; its tags have been checked.

    Returns:
        One line, or None.
    """
    tags = tiff.tags(data)
    if not any(tag in tags for tag in tiff.LENGTHS):  # which come behind the others: it is cut off
        return None
    if data.startswith(b"MM\0+") and not tiff.is_deep(data):
        return f"a big-endian BigTIFF that is neither grey nor RGB, or of JPEGs; {_READ}"
    if tags.get(tiff.PREDICTOR, 1) not in (1, 2, 3):
        return f"a TIFF with predictor {tags[tiff.PREDICTOR]}, which is not read; save it with LZW"
    bits = tags.get(tiff.BITS, (1,))[0]
    if tags.get(tiff.COMPRESSION) == _JPEG_IN_TIFF and bits > 8:
        return f"a TIFF of JPEGs of {bits} bits, which is not read; save it with LZW, or as PNG"
    numbers = _NUMBERS.get(tags.get(tiff.FORMAT, (1,))[0], "")
    planes = "in planes " if tags.get(tiff.PLANAR, 1) == 2 else ""
    colours = _PHOTOMETRICS.get(tags.get(tiff.PHOTOMETRIC, 0), "")
    return (
        f"a {colours}TIFF {planes}with {tags.get(tiff.SAMPLES, 1)} x {bits} bits{numbers} a pixel, "
        "which is not read; save it as grey or RGB of 8 or 16 bits"
    )
