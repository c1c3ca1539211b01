"""What every request to the server passes: who may ask, how long, and how much at once."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from uvicorn.protocols.http.h11_impl import H11Protocol

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "sarcast-token"
POLICY = (
    "default-src 'self'; img-src 'self' data: blob:{images}; "
    "style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy; ``images``: where else images may come from."""
HEADERS = {
    "content-security-policy": POLICY.format(images=""),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
}
"""Headers of every answer."""
PATIENCE_S = 30.0
"""Seconds that a client may take to ask, or to read a part of its answer."""


class Guard:
    """Lets pass what may be asked: from a page of this server, or with its token.

    Parameters
    ----------
    app
        What answers.
    names
        Names by which the server is asked, with the port, as in a Host header; empty for any, if
        the token is needed anyway.
    token
        Token without which nothing is answered; None: none is needed.
    """

    def __init__(self, app: App, names: frozenset[str], token: str | None) -> None:
        self._app, self._names, self._token = app, names, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
                return
            await receive()
            await send({"type": "websocket.close", "code": 1008})
            return
        send = _with_headers(send)
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        if self._names and headers.get("host", "").lower() not in self._names:
            await _refuse(send, 421, "this server answers to its own name and port alone")
        elif _is_foreign(scope, headers):
            await _refuse(send, 403, "asked by a page of another site")
        elif self._token is not None and not self._is_known(headers):
            await self._admit(scope, send)
        else:
            await self._app(scope, receive, send)

    def _is_known(self, headers: dict[str, str]) -> bool:
        """Whether a request has the cookie that was given for the token."""
        cookies = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
        given = [value for name, _, value in cookies if name == COOKIE]
        return any(_is_equal(value, self._token or "") for value in given)

    async def _admit(self, scope: Scope, send: Send) -> None:
        """Give the cookie for the token in an address, and ask for the address without it."""
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"), max_num_fields=16)
        given = query.pop("token", [""])[0]
        if not _is_equal(given, self._token or ""):
            await _refuse(send, 401, "open the address with its token, as sarcast view shows it")
            return
        rest = urlencode(query, doseq=True)
        await send(
            {
                "type": "http.response.start",
                "status": 303,
                "headers": [
                    (b"location", f"./{'?' + rest if rest else ''}".encode()),
                    (
                        b"set-cookie",
                        f"{COOKIE}={given}; HttpOnly; SameSite=Strict; Path=/".encode(),
                    ),
                    (b"cache-control", b"no-store"),
                    (b"content-length", b"0"),
                ],
            }
        )
        await send({"type": "http.response.body", "body": b""})


def _is_equal(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode(), token.encode())


def _is_foreign(scope: Scope, headers: dict[str, str]) -> bool:
    """Whether a page of another site asks for anything but the page itself."""
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower():
        return True
    site = headers.get("sec-fetch-site", "none")
    return site in ("cross-site", "same-site") and scope["path"] != "/"


def _with_headers(send: Send) -> Send:
    """Add the headers of every answer."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [
                (k.encode(), v.encode()) for k, v in HEADERS.items() if k.encode() not in present
            ]
            if b"cache-control" not in present:
                added.append((b"cache-control", b"no-cache"))
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await send(message)

    return sending


async def _refuse(send: Send, status: int, line: str) -> None:
    body = f'{{"error":"{line}"}}'.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class PatientProtocol(H11Protocol):
    """HTTP that closes the connection of a client that asks nothing, or reads nothing, for long."""

    patience_s = PATIENCE_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to watch a connection."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._watch = self.loop.call_later(self.patience_s / 4, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """End with it."""
        self._watch.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        """Close the connection if its client has been waited for too long."""
        is_asked = self.cycle is not None and not self.cycle.response_complete
        if is_asked and not self.flow.write_paused:
            self._waiting_since = self.loop.time()
        if self.loop.time() - self._waiting_since > self.patience_s:
            self.transport.abort()
        else:
            self._watch = self.loop.call_later(self.patience_s / 4, self._look)


class Busy(Exception):
    """Too many requests wait already."""


class Lane:
    """A bounded number of requests that are worked on at once, and that wait.

    Parameters
    ----------
    workers
        Requests that are worked on at once.
    waiting
        Requests that wait, at most.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        self._free = asyncio.Semaphore(workers)
        self._threads = ThreadPoolExecutor(workers, "sarcast-view")
        self._room = workers + waiting
        self._inside = 0

    async def run(self, work: Callable[[], Any], is_gone: Callable[[], bool]) -> Any:
        """Do work in a thread when it is its turn; None if the client has gone by then.

        Raises
        ------
        Busy
            If too many wait.
        """
        if self._inside >= self._room:
            raise Busy
        self._inside += 1
        try:
            async with self._free:
                if is_gone():
                    return None
                return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._inside -= 1
