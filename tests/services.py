"""Services that tests start on loopback: PostgreSQL, a STAC API, web servers with faults."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

USER, PASSWORD = "sarcast", "open-sesame/ÅÄÖ@1"
"""A password with characters that a URL must encode."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}


@dataclass(frozen=True)
class Database:
    """A running PostgreSQL server; its database ``empty`` has no tables."""

    port: int

    def url(self, name: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"


def required(missing: str) -> None:
    """Skip a test because something is missing; fail it if services are required."""
    if os.environ.get("SARCAST_REQUIRE_SERVICES") == "1":
        pytest.fail(f"SARCAST_REQUIRE_SERVICES=1, but there is no {missing}")
    pytest.skip(f"{missing} is not installed: see .ci/run")


@contextmanager
def postgresql() -> Iterator[Database]:
    """Start a temporary server in a temporary folder.

    PostgreSQL refuses to run as root; root starts it as the user ``postgres``.
    """
    programs = _programs()
    owner = "postgres" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="sarcast-postgresql-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD, encoding="utf-8")
        if owner:
            for path in (folder, secret):
                shutil.chown(path, owner)
        data, log = folder / "data", folder / "log"
        where = (f"--pgdata={data}", f"--username={USER}", f"--pwfile={secret}")
        how = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        _run(owner, programs / "initdb", *where, *how)
        port = free_port()  # as late as possible: other tests look for free ports, too
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        options += f" -c port={port} -c unix_socket_directories={folder}"
        control = (programs / "pg_ctl", f"--pgdata={data}")
        _run(owner, *control, f"--log={log}", f"--options={options}", "--wait", "start")
        try:
            yield Database(port)
        finally:
            _run(owner, *control, "--mode=immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sql(url: str, command: str) -> list[Any]:
    """Run statements; rows of the last one."""
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(command)
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []


def create_database(server: Database, name: str, extension: str) -> str:
    """Create a database with an extension; its URL."""
    if not sql(server.url(), f"SELECT 1 FROM pg_available_extensions WHERE name = '{extension}'"):
        required(f"extension {extension} of PostgreSQL")
    sql(server.url(), f"CREATE DATABASE {name}")
    sql(server.url(name), f"CREATE EXTENSION {extension}")
    return server.url(name)


def _programs() -> Path:
    programs = Path(os.environ.get("SARCAST_POSTGRESQL", "/usr/lib/postgresql/15/bin"))
    if not (programs / "initdb").exists():
        required(f"PostgreSQL 15 in {programs}")
    return programs


def _run(owner: str | None, *command: object) -> None:
    done = subprocess.run(
        [str(word) for word in command],
        user=owner,
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@contextmanager
def stac_api(database: Database, name: str) -> Iterator[str]:
    """Run stac-fastapi-pgstac on a database; yields its URL."""
    port = free_port()
    settings = _login(database, name)
    app = ("--factory", "stac_fastapi.pgstac.app:create_app")
    with _served(app, port, settings, "_mgmt/ping") as url:
        yield url


@contextmanager
def features_api(database: Database, name: str, configuration: Path) -> Iterator[str]:
    """Run pygeoapi with a configuration on a database; yields its URL."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        description = Path(folder) / "openapi.yml"
        settings = {
            **_login(database, name),
            "PYGEOAPI_URL": f"http://127.0.0.1:{port}",
            "PYGEOAPI_CONFIG": str(configuration),
            "PYGEOAPI_OPENAPI": str(description),
        }
        command = [Path(sys.executable).with_name("pygeoapi"), "openapi", "generate", configuration,
                   "--output-file", description]  # fmt: skip
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **settings})
        with _served(("pygeoapi.starlette_app:APP",), port, settings, "conformance") as url:
            yield url


def _login(database: Database, name: str) -> dict[str, str]:
    return {"PGHOST": "127.0.0.1", "PGPORT": str(database.port), "PGDATABASE": name,
            "PGUSER": USER, "PGPASSWORD": PASSWORD}  # fmt: skip


@contextmanager
def _served(app: Sequence[str], port: int, settings: dict[str, str], ping: str) -> Iterator[str]:
    """Run a web application in uvicorn; yields its URL when it answers."""
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *app,
             "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"],
            env={**os.environ, **settings}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/"
            if not _answers(f"{url}{ping}", server):
                log.seek(0)
                pytest.fail(f"{app[-1]} did not start:\n{log.read().decode()}")
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _answers(url: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until a server answers; False if it exits first, or takes too long."""
    until = time.monotonic() + 90.0
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        time.sleep(0.1)
    return False


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@dataclass(frozen=True)
class Request:
    """A request as received."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """An answer, and its faults."""

    body: bytes
    status: int = 200
    cut: int = 0
    """Number of bytes that are announced and never sent."""
    without_length: bool = False
    """Whether the length is not announced, so that a client cannot notice a cut."""
    after_s: float = 0.0


@contextmanager
def web(answer: Callable[[Request], Answer]) -> Iterator[tuple[str, list[Request]]]:
    """Run an HTTP server on loopback; yields its URL and the requests that it receives."""
    requests: list[Request] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Request(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            requests.append(request)
            reply = answer(request)
            time.sleep(reply.after_s)
            with suppress(OSError):  # the client may have disconnected
                self._send(reply)

        def _send(self, reply: Answer) -> None:
            start, end = 0, len(reply.body)
            if span := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                start, end = int(span[1]), min(int(span[2]) + 1, end)
            partial = span is not None and reply.status == 200
            self.send_response(206 if partial else reply.status)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(reply.body)}")
            if not reply.without_length:
                self.send_header("Content-Length", str(end - start + reply.cut))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(reply.body[start:end])

        do_GET = do_POST = do_HEAD = _serve

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
