"""What tests start for themselves on loopback: PostgreSQL, a STAC API, servers with faults."""

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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

USER, PASSWORD = "sarcast", "open-sesame/ÅÄÖ@1"
"""A password with all that a URL must encode."""
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "shared_buffers": "64MB",
}


@dataclass(frozen=True)
class Database:
    """A PostgreSQL server that runs; its database ``empty`` holds nothing."""

    port: int

    def url(self, name: str = "postgres", password: str = PASSWORD) -> str:
        return f"postgresql://{USER}:{quote(password, safe='')}@127.0.0.1:{self.port}/{name}"


def required(missing: str) -> None:
    """Skip a test for what is missing, or fail it where nothing may be."""
    if os.environ.get("SARCAST_REQUIRE_SERVICES") == "1":
        pytest.fail(f"SARCAST_REQUIRE_SERVICES=1, but there is no {missing}")
    pytest.skip(f"{missing} is not installed: see .ci/run")


@contextmanager
def postgresql() -> Iterator[Database]:
    """A server of its own, in a folder of its own, gone afterwards.

    PostgreSQL refuses to run as root, who hands it to the user ``postgres``.
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
        data, log, port = folder / "data", folder / "log", free_port()
        made = (f"--pgdata={data}", f"--username={USER}", f"--pwfile={secret}")
        how = ("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C.UTF-8", "--no-sync")
        _run(owner, programs / "initdb", *made, *how)
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
    """stac-fastapi-pgstac on a database; gives its URL."""
    port = free_port()
    told = {"PGHOST": "127.0.0.1", "PGPORT": str(database.port), "PGDATABASE": name,
            "PGUSER": USER, "PGPASSWORD": PASSWORD}  # fmt: skip
    with tempfile.TemporaryFile() as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "--factory", "stac_fastapi.pgstac.app:create_app",
             "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning"],
            env={**os.environ, **told}, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/"
            if not _answers(f"{url}_mgmt/ping", server):
                log.seek(0)
                pytest.fail(f"the STAC API did not start:\n{log.read().decode()}")
            yield url
        finally:
            server.terminate()
            server.wait(timeout=30)


def _answers(url: str, server: "subprocess.Popen[bytes]") -> bool:
    """Wait until a server answers; False if it ends before, or takes too long."""
    until = time.monotonic() + 90.0
    while time.monotonic() < until and server.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return True
        time.sleep(0.1)
    return False


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


@dataclass(frozen=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Answer:
    """What to answer, and what to spoil."""

    body: bytes
    status: int = 200
    cut: int = 0
    """Bytes that are announced and never sent."""
    untold: bool = False
    """Whether the length is not announced, so that nobody sees where a body was cut."""
    after_s: float = 0.0


@contextmanager
def web(answer: Callable[[Asked], Answer]) -> Iterator[tuple[str, list[Asked]]]:
    """An HTTP server on loopback; gives its URL and the requests that it was asked."""
    asked: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            told = Asked(self.command, parts.path, dict(parse_qsl(parts.query)), headers, body)
            asked.append(told)
            given = answer(told)
            time.sleep(given.after_s)
            with suppress(OSError):  # whoever asked may have gone
                self._send(given)

        def _send(self, given: Answer) -> None:
            start, end = 0, len(given.body)
            if span := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
                start, end = int(span[1]), min(int(span[2]) + 1, end)
            partial = span is not None and given.status == 200
            self.send_response(206 if partial else given.status)
            if partial:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(given.body)}")
            if not given.untold:
                self.send_header("Content-Length", str(end - start + given.cut))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(given.body[start:end])

        do_GET = do_POST = do_HEAD = _serve

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
