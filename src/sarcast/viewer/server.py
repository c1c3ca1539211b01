"""The server of the viewer: pages, tiles and series over HTTP, on this machine alone by default.

It listens before anything is opened: the page loads while the cube is opened in a thread. What
reads cubes is therefore imported there, and not here.
"""

import asyncio
import errno
import gzip
import json
import logging
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sarcast.errors import SarcastError
from sarcast.io.documents import MalformedError, parse_json
from sarcast.viewer.guards import LOOPBACK, Busy, Guard, Lane, PatientProtocol
from sarcast.viewer.requests import KINDS, REFUSALS, Answer, as_bytes, refused

if TYPE_CHECKING:
    from sarcast.viewer.answers import Answers
    from sarcast.viewer.view import Opened

_log = logging.getLogger(__name__)

STATIC = Path(str(files("sarcast.viewer"))) / "static"
"""The bundle of the page."""
DEFAULT_PORT = 8642
WORKERS = 2
"""Tiles that are read at once."""
WAITING = 128
"""Requests that wait for their turn, at most."""
MOST_CONNECTIONS = 400
_MOST_BODY = 2**14
_BODY_S = 10.0
_MOST_RANGE = 200
_IMMUTABLE = "private, max-age=31536000, immutable"
_OCTETS = "application/octet-stream"
_TYPES = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}


class Server:
    """Answers requests about something that is opened while the page loads.

    Parameters
    ----------
    open_it
        Opens what is looked at.
    compress
        Whether tiles are compressed, for clients that are far away.
    """

    def __init__(self, open_it: "Callable[[], Opened]", *, compress: bool = False) -> None:
        self.token = secrets.token_urlsafe(24)
        self._open_it = open_it
        self._opened: Future[Answers] = Future()
        self._compress = compress
        self._reading = Lane(WORKERS, WAITING)
        self._predicting = Lane(1, WAITING)  # a network uses all cores itself
        self._static = {path.name: path for path in STATIC.glob("*") if path.is_file()}

    def open(self) -> "Future[Answers]":
        """Begin to open what is looked at, in a thread; requests wait for it."""
        with_one = ThreadPoolExecutor(1, "sarcast-view-open")
        self._opened = with_one.submit(self._open)
        with_one.shutdown(wait=False)
        return self._opened

    def _open(self) -> "Answers":
        from sarcast.viewer.answers import Answers

        return Answers(self._open_it())

    async def _answers(self) -> "Answers":
        return await asyncio.wrap_future(self._opened)

    def app(self) -> Starlette:
        """The application, without guards."""
        routes = [
            Route("/", self._page, methods=["GET"]),
            Route("/static/{name}", self._bundle, methods=["GET"]),
            Route("/files/{name}", self._file, methods=["GET"]),
            *(
                Route(kind.path, partial(self._explained, name), methods=[kind.method])
                for name, kind in KINDS.items()
            ),
        ]
        handlers: Mapping[Any, Any] = {404: _not_found, 405: _not_found, 500: _failed}
        return Starlette(routes=routes, exception_handlers=handlers)

    # --- files ------------------------------------------------------------------------------------

    async def _page(self, _request: Request) -> Response:
        return await self._bundled("index.html")

    async def _bundle(self, request: Request) -> Response:
        return await self._bundled(request.path_params["name"])

    async def _bundled(self, name: str) -> Response:
        path = self._static.get(name)
        if path is None:
            return JSONResponse({"error": "there is no such file"}, 404)
        return FileResponse(path, media_type=_TYPES.get(path.suffix, _OCTETS))

    async def _file(self, request: Request) -> Response:
        """A file of the result, by its name in the STAC item, with ranges."""
        try:
            path = (await self._answers()).file(request.path_params["name"])
        except REFUSALS as error:
            return self._response(refused(error), request)
        if path is None:
            return JSONResponse({"error": "there is no such file"}, 404)
        if len(request.headers.get("range", "")) > _MOST_RANGE:
            return JSONResponse({"error": "too many ranges; ask for fewer at once"}, 416)
        return FileResponse(path)

    # --- data -------------------------------------------------------------------------------------

    async def _explained(self, name: str, request: Request) -> Response:
        """Answer a request; errors of requests and of data in one line."""
        try:
            return self._response(await self._answer(name, request), request)
        except Busy:
            line = {"error": "too many requests at once; try again"}
            return JSONResponse(line, 503, {"retry-after": "1"})
        except ForbiddenError as error:
            return JSONResponse({"error": str(error)}, 403)
        except REFUSALS as error:
            return self._response(refused(error), request)

    async def _answer(self, name: str, request: Request) -> Answer | None:
        """Answer a request when it is its turn; None if the client has gone by then."""
        kind = KINDS[name]
        given = request.query_params if kind.method == "GET" else await self._body(request)
        asked = kind.model.model_validate({**given, **request.path_params})
        answers = await self._answers()
        lane = self._predicting if answers.needs_model(name, asked) else self._reading
        gone = threading.Event()
        watch = asyncio.create_task(_wait_until_gone(request, gone))
        try:
            work = answers.work(name, asked, gone.is_set)
            answer: Answer | None = await lane.run(work, gone.is_set)
        finally:
            watch.cancel()
        if name == "view" and answer is not None and answer.status == 200:
            return replace(answer, content={**answer.content, "token": self.token})
        return answer

    async def _body(self, request: Request) -> dict[str, Any]:
        """The JSON object of a request that has the token of the page."""
        if not secrets.compare_digest(
            request.headers.get("x-sarcast-token", "").encode(), self.token.encode()
        ):
            raise ForbiddenError("the token of the page is missing or old; load the page again")
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            raise SarcastError("expected a body of the type application/json")
        body = bytearray()
        try:
            async with asyncio.timeout(_BODY_S):
                async for part in request.stream():
                    body += part
                    if len(body) > _MOST_BODY:
                        raise SarcastError(f"expected a body of up to {_MOST_BODY} bytes")
        except TimeoutError as error:
            raise SarcastError("the body of the request did not arrive in time") from error
        try:
            content = parse_json(bytes(body))
        except MalformedError as error:
            raise SarcastError(f"expected a body of JSON: {error}") from error
        if not isinstance(content, dict):
            raise SarcastError("expected a JSON object as the body")
        return content

    def _response(self, answer: Answer | None, request: Request) -> Response:
        """An answer in HTTP; of a client that has gone, nobody reads it."""
        if answer is None:
            return Response(status_code=499)
        if answer.status == 204:
            return Response(status_code=204)
        headers = {} if answer.version is None else {"cache-control": _IMMUTABLE}
        if isinstance(answer.content, str):
            headers["content-disposition"] = f'attachment; filename="{answer.about["file"]}"'
            return Response(answer.content, answer.status, headers, "text/csv")
        if not hasattr(answer.content, "dtype"):
            text = json.dumps(answer.content, allow_nan=False, separators=(",", ":"))
            return Response(text, answer.status, headers, "application/json")
        body = as_bytes(answer.content)
        for name, values in answer.about.items():
            headers[f"x-{name}"] = ",".join(map(str, values))
        if self._compress and "gzip" in request.headers.get("accept-encoding", ""):
            body = gzip.compress(body, compresslevel=1)
            headers["content-encoding"] = "gzip"
        return Response(body, answer.status, headers, _OCTETS)


class ForbiddenError(SarcastError):
    """A request lacks the token of the page."""


async def _wait_until_gone(request: Request, gone: threading.Event) -> None:
    """Set an event once the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    gone.set()


def _not_found(_request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"error": "there is nothing here that can be asked for so"}, status)


def _failed(_request: Request, error: Exception) -> Response:
    _log.error("a request failed: %r", error)
    return JSONResponse({"error": "the request failed; the terminal says why"}, 500)


# --- run ------------------------------------------------------------------------------------------


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


class Service:
    """A server at an address.

    Parameters
    ----------
    open_it
        Opens what is looked at, in a thread, once the address can be opened.
    address
        Where to listen; a port of 0 takes any that is free, one that is taken the next free one.
    on_start
        Called with the address of the page once it can be opened.

    Attributes
    ----------
    url
        Address of the page, with the token that it needs, if any.

    Raises
    ------
    SarcastError
        If the address cannot be listened at.
    """

    def __init__(
        self,
        open_it: "Callable[[], Opened]",
        address: Address,
        on_start: Callable[[str], None] | None = None,
    ) -> None:
        self._socket = _listen(address)
        address = address.model_copy(update={"port": self._socket.getsockname()[1]})
        token = None if address.is_loopback else secrets.token_urlsafe(24)
        host = f"[{address.host}]" if ":" in address.host else address.host
        self.url = f"http://{host}:{address.port}/" + ("" if token is None else f"?token={token}")
        self._server = server = Server(open_it, compress=not address.is_loopback)
        config = uvicorn.Config(
            Guard(server.app(), address.names(), token),
            http=PatientProtocol,
            ws="none",
            lifespan="off",
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            limit_concurrency=MOST_CONNECTIONS,
            timeout_graceful_shutdown=1,
        )
        self._running = _Running(config, partial(on_start or _nothing, self.url))

    def run(self) -> None:
        """Serve until the process is asked to end, or ``stop`` is called in another thread.

        Raises
        ------
        Exception
            That of ``open_it``, which ends the server.
        """
        opened = self._server.open()
        opened.add_done_callback(lambda done: None if done.exception() is None else self.stop())
        try:
            self._running.run(sockets=[self._socket])
        finally:
            self._socket.close()
        if opened.done():
            opened.result()

    def stop(self) -> None:
        """Ask it to end."""
        self._running.should_exit = True


def _nothing(_url: str) -> None:
    """Do nothing when it starts."""


def show(url: str) -> None:
    """Open a page in the browser of this machine, which may take a while."""
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()


class _Running(uvicorn.Server):
    """A server that says when it can be asked, and leaves signals to the command line."""

    def __init__(self, config: uvicorn.Config, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = on_start

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at the first SIGINT or SIGTERM; that is how a viewer is left, and no failure."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = signal.SIGINT, signal.SIGTERM
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets)
        self._on_start()


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
