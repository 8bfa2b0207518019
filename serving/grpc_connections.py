"""The gRPC port's connections: where too many are open, those that are idle for longest are closed.

gRPC's core can only refuse new ones, so that idle clients would keep all others out. The kernel
knows which connections there are, and how long each has sent nothing.
"""

import asyncio
import os
import socket
import struct

_LOOK_SECONDS = 0.2
_ESTABLISHED = 1
_LAST_DATA_RECEIVED = 52  # where tcp_info has it, ms ago


async def close_longest_idle(port: int, max_open: int) -> None:
    """Looks after them, for as long as it is not cancelled.

    Args:
        port: That they came to.
        max_open: That may be open.
    """
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        await asyncio.to_thread(make_room, port, max_open)


def make_room(port: int, max_open: int) -> None:
    """Closes those that are too many.

    Args:
        port: See `close_longest_idle`.
        max_open: See there.
    """
    try:
        descriptors = [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:  # not Linux
        return
    if len(descriptors) <= max_open:
        return
    idle = {fd: ms for fd in descriptors if (ms := _idle_ms(fd, port)) is not None}
    longest = sorted(idle, key=lambda fd: idle[fd], reverse=True)
    for descriptor in longest[: max(0, len(idle) - max_open)]:
        _shut_down(descriptor, port)


def _idle_ms(descriptor: int, port: int) -> int | None:
    """Returns for how long a connection to the port has sent nothing; None for anything else."""
    try:
        connection = socket.socket(fileno=descriptor)
    except OSError:  # no socket, or closed meanwhile
        return None
    try:
        if connection.family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if connection.type != socket.SOCK_STREAM or connection.getsockname()[1] != port:
            return None
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        if info[0] != _ESTABLISHED:
            return None
        return int(struct.unpack_from("I", info, _LAST_DATA_RECEIVED)[0])
    except OSError:
        return None
    finally:
        connection.detach()  # it stays gRPC's


def _shut_down(descriptor: int, port: int) -> None:
    """Ends a connection for both sides; gRPC notices and closes it."""
    try:
        own = os.dup(descriptor)  # so that the number cannot become another connection's
    except OSError:
        return
    with socket.socket(fileno=own) as connection:
        try:
            if _idle_ms(own, port) is not None:
                connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
