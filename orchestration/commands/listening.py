"""The port that a server listens on, and its URL."""

from __future__ import annotations

import socket


class PortTaken(OSError):
    """A port cannot be listened on; the message says why and what to do."""


def listen(port: int, address: str, command: str) -> socket.socket:
    """A socket that listens on a port of an address; 0 for any port that is free.

    Args:
        port: number.
        address: IPv4 or IPv6.
        command: an example that takes another port, for the message.

    Raises:
        PortTaken: it is in use, or is not possible.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        listener.listen()
    except (OSError, OverflowError) as error:
        listener.close()
        raise PortTaken(
            f"port {port} of {address} cannot be used ({getattr(error, 'strerror', None) or error}): end the program "
            f"that uses it, or choose another, as in {command}"
        ) from error
    return listener


def url_of(address: str, port: int) -> str:
    """What a browser opens to reach a port of an address; an IPv6 address stands in brackets there."""
    return f"http://[{address}]:{port}" if ":" in address else f"http://{address}:{port}"
