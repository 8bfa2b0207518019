"""Bodies of requests in gzip or deflate (RFC 9110, 8.4.1), decoded piece by piece."""

import zlib
from collections.abc import Iterator

from serving.errors import PredictorError

PIECE = 64 * 2**10
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS
_NAMES = {"gzip": "gzip", "x-gzip": "gzip", "deflate": "deflate"}
_ZLIB_METHOD = 8  # the low half of the first byte, in zlib's format


def coding_of(header: str) -> str | None:
    """Reads the header `Content-Encoding`.

    Args:
        header: Its value, of several lines joined by commas; empty where there was none.

    Returns:
        "gzip", "deflate", or None where the body is as it is.

    Raises:
        PredictorError: It names another coding, or more than one.
    """
    named = [name.strip().lower() for name in header.split(",")]
    codings = [name for name in named if name not in ("", "identity")]
    if not codings:
        return None
    if len(codings) > 1 or codings[0] not in _NAMES:
        raise PredictorError("coding", "Content-Encoding has to be gzip or deflate, and one alone")
    return _NAMES[codings[0]]


class Inflater:
    """Decodes one body, in steps that are short whatever it holds."""

    def __init__(self, coding: str) -> None:
        """Args: coding: "gzip" or "deflate", which some clients send without zlib's header."""
        self._coding = coding
        self._stream: zlib._Decompress | None = None

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Decodes what has come.

        Args:
            data: The next bytes of the body, of any number.

        Yields:
            At most 64 KiB each time; each is made when it is asked for.

        Raises:
            PredictorError: It is not in that coding, or goes on after its end.
        """
        if not data:
            return
        if self._stream is None:
            self._stream = zlib.decompressobj(self._format(data[0]))
        stream, full = self._stream, False
        while (data or full) and not stream.eof:
            try:
                piece = stream.decompress(data, PIECE)
            except zlib.error as error:
                raise PredictorError("malformed", f"the body is not {self._coding}") from error
            data, full = stream.unconsumed_tail or stream.unused_data, len(piece) == PIECE
            if piece:
                yield piece
        if data:
            raise PredictorError("malformed", f"the {self._coding} body goes on after its end")

    def finish(self) -> None:
        """Checks that the body has come to its end.

        Raises:
            PredictorError: It is cut off.
        """
        if self._stream and not self._stream.eof:
            raise PredictorError("malformed", f"the {self._coding} body is cut off")

    def _format(self, first: int) -> int:
        if self._coding == "gzip":
            return _GZIP
        return _ZLIB if first & 15 == _ZLIB_METHOD else _RAW
