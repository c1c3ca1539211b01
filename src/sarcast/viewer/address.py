"""Where the viewer listens: at an address that can be opened while the server is being loaded.

Whoever opens it waits until the server takes the connection, so that a browser starts meanwhile.
"""

import errno
import secrets
import socket
import threading
import webbrowser
from dataclasses import dataclass

from pydantic import BaseModel

from sarcast.errors import SarcastError

DEFAULT_PORT = 8642
LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names and addresses of this machine alone."""
_BACKLOG = 128
"""Connections that wait until the server takes them."""


class Address(BaseModel):
    """Where the server listens."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    @property
    def is_loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        return self.host in LOOPBACK

    def names(self) -> frozenset[str]:
        """Names by which it may be asked, as in a Host header; empty for any."""
        if not self.is_loopback:
            return frozenset()
        shown = (f"[{name}]" if ":" in name else name for name in LOOPBACK)
        return frozenset(f"{name}:{self.port}" for name in shown)


@dataclass(frozen=True)
class Listening:
    """A socket that listens.

    Attributes
    ----------
    socket
        The socket.
    address
        Where it listens.
    token
        Token without which nothing is answered; None: none is needed.
    """

    socket: socket.socket
    address: Address
    token: str | None

    @classmethod
    def at(cls, address: Address) -> "Listening":
        """Listen at an address; a port of 0 takes any that is free, one that is taken the next.

        Raises
        ------
        SarcastError
            If the address cannot be listened at.
        """
        listening = _listen(address)
        address = address.model_copy(update={"port": listening.getsockname()[1]})
        return cls(listening, address, None if address.is_loopback else secrets.token_urlsafe(24))

    @property
    def url(self) -> str:
        """Address of the page, with the token that it needs, if any."""
        host = f"[{self.address.host}]" if ":" in self.address.host else self.address.host
        query = "" if self.token is None else f"?token={self.token}"
        return f"http://{host}:{self.address.port}/{query}"


def show(url: str) -> None:
    """Open a page in the browser of this machine, which may take a while."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


def _listen(address: Address) -> socket.socket:
    """A socket that listens at an address, or at the next free port."""
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    ports = range(address.port, address.port + 20) if address.port else (0,)
    problem: OSError | None = None
    for port in ports:
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((address.host, port))
            listening.listen(_BACKLOG)
            return listening
        except OSError as error:
            listening.close()
            problem = error
            if error.errno != errno.EADDRINUSE:
                break
    raise SarcastError(
        f"cannot listen at {address.host} port {address.port} "
        f"({problem.strerror if problem else 'in use'}); name another with --host and --port"
    )
