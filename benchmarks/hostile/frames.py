"""Just enough of HTTP/2 to break its rules: frames, written by hand."""

import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, CONTINUATION = 0, 1, 3, 4, 9
END_HEADERS = 4
_INFER = b"/inference.GRPCInferenceService/ModelInfer"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Returns one frame (RFC 9113, 4.1).

    Args:
        kind: Its type.
        flags: Of the type.
        stream: 0 is the connection itself.
        payload: At most 16 KiB.
    """
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def opening() -> bytes:
    """Returns what a client says first."""
    return PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0)


def literal(name: bytes, value: bytes, indexed: bool = False) -> bytes:
    """Returns a header as HPACK writes it, uncompressed (RFC 7541, 6.2).

    Args:
        name: At most 126 bytes.
        value: The same.
        indexed: Whether the server has to remember it.
    """
    first = b"\x40" if indexed else b"\x00"
    return first + bytes([len(name)]) + name + bytes([len(value)]) + value


def call(stream: int) -> bytes:
    """Returns the head of an inference call, its message still to come."""
    head = b"".join(
        literal(name, value)
        for name, value in (
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", _INFER),
            (b":authority", b"x"),
            (b"te", b"trailers"),
            (b"content-type", b"application/grpc"),
        )
    )
    return frame(HEADERS, END_HEADERS, stream, head)
