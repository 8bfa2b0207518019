"""Ports, taken before the model is loaded, so that one that is taken is said at once."""

import errno
import socket
from ipaddress import IPv4Address, IPv6Address

from components.shared.errors import UserError

Address = IPv4Address | IPv6Address
EVERYWHERE = IPv6Address("::")
_NO_IPV6 = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def take(host: Address, port: int) -> socket.socket:
    """Binds a socket; nobody can connect until it listens.

    Args:
        host: An address of this machine. `::` is all of them, those of IPv4 too.
        port: 0 for any that is free.

    Returns:
        The socket.

    Raises:
        UserError: The port is taken, or not for this user, or the address is of another machine.
    """
    try:
        return _bound(host, port)
    except OSError as error:
        if host == EVERYWHERE and error.errno in _NO_IPV6:
            return take(IPv4Address(0), port)
        raise bind_error(host, port, error) from error


def bind_error(host: Address, port: int, error: OSError) -> UserError:
    """Returns the error that says so.

    Args:
        host: See `take`.
        port: See `take`.
        error: Why.
    """
    reason = (error.strerror or str(error)).lower()
    advice = "choose another one with --port or --grpc-port"
    if error.errno == errno.EADDRINUSE:
        advice += ", or stop what has it"
    if error.errno == errno.EADDRNOTAVAIL:
        advice = "give an address of this machine as --host"
    return UserError(f"port {port} at {host}: {reason}; {advice}")


def _bound(host: Address, port: int) -> socket.socket:
    family = socket.AF_INET if host.version == 4 else socket.AF_INET6
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Connections of an earlier process that linger are no reason to refuse.
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(host != EVERYWHERE))
        found.bind((str(host), port))
    except OSError:
        found.close()
        raise
    return found
