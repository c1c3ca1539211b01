"""The server of the viewer: pages, tiles and series over HTTP, on this machine alone by default.

The page loads while the cube is opened in a thread. What reads cubes is therefore imported there,
and not here.
"""

import asyncio
import gzip
import json
import logging
import secrets
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from sarcast.errors import SarcastError
from sarcast.io.documents import MalformedError, parse_json
from sarcast.viewer.address import Listening
from sarcast.viewer.base_map import BaseMap
from sarcast.viewer.guards import POLICY, Busy, Guard, Lane, PatientProtocol
from sarcast.viewer.requests import KINDS, REFUSALS, Answer, as_bytes, refused

if TYPE_CHECKING:
    from sarcast.viewer.answers import Answers
    from sarcast.viewer.view import Opened

_log = logging.getLogger(__name__)

STATIC = Path(str(files("sarcast.viewer"))) / "static"
"""The bundle of the page."""
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
    base_map
        A base map that the page loads from elsewhere; None for none.
    """

    def __init__(
        self,
        open_it: "Callable[[], Opened]",
        *,
        compress: bool = False,
        base_map: BaseMap | None = None,
    ) -> None:
        self.token = secrets.token_urlsafe(24)
        self._open_it = open_it
        self._opened: Future[Answers] = Future()
        self._closed = threading.Event()
        self._compress, self._base_map = compress, base_map
        self._reading = Lane(WORKERS, WAITING)
        self._predicting = Lane(1, WAITING)  # a network uses all cores itself
        self._static = {path.name: path for path in STATIC.glob("*") if path.is_file()}

    def open(self) -> "Future[Answers]":
        """Begin to open what is looked at, in a thread; requests wait for it."""
        with_one = ThreadPoolExecutor(1, "sarcast-view-open")
        self._opened = with_one.submit(self._open)
        with_one.submit(self._prepare)
        with_one.shutdown(wait=False)
        return self._opened

    def _open(self) -> "Answers":
        from sarcast.viewer.answers import Answers

        return Answers(self._open_it())

    def _prepare(self) -> None:
        """Make what the first image needs; its requests report the errors."""
        with suppress(*REFUSALS):
            self._opened.result().view.prepare(self._closed.is_set)

    def close(self) -> None:
        """End what runs besides requests."""
        self._closed.set()

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
        headers = {}
        if self._base_map is not None:
            policy = POLICY.format(images=f" {self._base_map.origin}")
            headers["content-security-policy"] = policy
        return FileResponse(path, media_type=_TYPES.get(path.suffix, _OCTETS), headers=headers)

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
            content = {**answer.content, "token": self.token}
            if self._base_map is not None:
                content["base_map"] = self._base_map.description(content["grid"]["crs"])
            return replace(answer, content=content)
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


class Service:
    """A server at an address.

    Parameters
    ----------
    open_it
        Opens what is looked at, in a thread, once requests are answered.
    listening
        Where it listens.
    base_map
        As in ``Server``.
    """

    def __init__(
        self,
        open_it: "Callable[[], Opened]",
        listening: Listening,
        base_map: BaseMap | None = None,
    ) -> None:
        self._listening = listening
        far = not listening.address.is_loopback
        self._server = server = Server(open_it, compress=far, base_map=base_map)
        self._running = _Running(
            uvicorn.Config(
                Guard(server.app(), listening.address.names(), listening.token),
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
        )

    @property
    def url(self) -> str:
        """Address of the page, with the token that it needs, if any."""
        return self._listening.url

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
            self._running.run(sockets=[self._listening.socket])
        finally:
            self._server.close()
            self._listening.socket.close()
        if opened.done():
            opened.result()

    def stop(self) -> None:
        """Ask it to end."""
        self._running.should_exit = True


class _Running(uvicorn.Server):
    """A server that leaves signals to the command line."""

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
