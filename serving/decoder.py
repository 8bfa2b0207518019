"""A process that reads image files and volumes, one after another, as the server asks.

Decoding is where hostile bytes meet C code, so it happens where it can be killed, has an end to its
memory, and cannot harm the server. `serving.decoding` starts these processes and speaks to them.
"""

import resource
import signal
import socket
import struct
import sys

from components.shared.images.decode import ImageError
from components.shared.images.slices import read

# From the server: the length of a file and the most pixels it may have, then the file. To it:
# whether that went well, the length of what follows, then how many slices the file holds, the
# number of each that is read, and their pixels; or a reason, a zero byte and one line for people.
# The first answer, of length 0, says that the process is ready.
REQUEST, ANSWER, NUMBER = struct.Struct("<II"), struct.Struct("<?I"), struct.Struct("<I")
_BYTES_PER_PIXEL = 24  # six copies of RGBA; the greatest that Pillow takes is five


def main(server: int, max_bytes: int, max_pixels: int, max_slices: int) -> None:
    """Decodes until the server has gone.

    Args:
        server: File descriptor of a socket to it.
        max_bytes: Of a file.
        max_pixels: Of an image, or of all slices that are read of a volume.
        max_slices: Of a volume.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the server tells when to end
    _limit_memory(max_bytes + max_pixels * _BYTES_PER_PIXEL)
    with socket.socket(fileno=server) as connection, connection.makefile("rb") as source:
        connection.sendall(ANSWER.pack(True, 0))
        while request := source.read(REQUEST.size):
            length, pixels = REQUEST.unpack(request)
            good, content = _decoded(source.read(length), max_bytes, pixels, max_slices)
            connection.sendall(ANSWER.pack(good, len(content)) + content)


def _decoded(data: bytes, max_bytes: int, max_pixels: int, max_slices: int) -> tuple[bool, bytes]:
    try:
        slices = read(data, max_bytes, max_pixels, max_slices)
        numbers = map(NUMBER.pack, (slices.of, *slices.numbers))
        return True, b"".join((*numbers, *(image.pixels.tobytes() for image in slices.images)))
    except ImageError as error:
        return False, f"{error.reason}\0{error}".encode("utf-8", "replace")


def _limit_memory(more: int) -> None:
    """Lets the process take so many bytes more than it has now."""
    try:
        with open("/proc/self/statm") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # not Linux
        return
    resource.setrlimit(resource.RLIMIT_AS, (now + more, now + more))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
