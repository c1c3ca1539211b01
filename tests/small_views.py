"""Results and cubes as the viewer opens them, made by hand, and its server in a thread."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from sarcast.detection.output import write_detection
from sarcast.viewer.address import Address, Listening
from sarcast.viewer.base_map import BaseMap
from sarcast.viewer.server import Service
from sarcast.viewer.view import Opened
from small_alerts import alert_cube, watch
from small_detections import by_hand

PROPERTIES = {
    "sarcast:model": "mean", "sarcast:bands": ["VV", "VH"], "sarcast:threshold": 3.0,
    "sarcast:inputs": "0123",
}  # fmt: skip


def write_run(folder: Path, verb: str, cube: object = "gone.zarr") -> None:
    """Write the record that the verb would."""
    record = {verb: {"cube": str(cube), "model": "mean", "previous": 3}}
    (folder / "run.yaml").write_text(yaml.safe_dump(record))


def detection_folder(folder: Path, **how: Any) -> Path:
    """The detection made by hand, on disk."""
    folder.mkdir()
    write_detection(by_hand(**how), folder, "change", PROPERTIES)
    write_run(folder, "detect")
    return folder


def alerts_folder(folder: Path) -> Path:
    """Alerts of the small cube that changes, on disk."""
    watch(alert_cube(), folder)
    write_run(folder, "monitor")
    return folder


@dataclass(frozen=True)
class Reply:
    """What a server answered."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Client:
    """Asks a server, with whatever headers and paths a test wants."""

    url: str

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port
        return port

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(
                method, path, skip_host="host" in headers, skip_accept_encoding=True
            )
            if body is not None:
                headers = {"content-length": str(len(body)), **headers}
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders(body)
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, found, answer.read())
        finally:
            connection.close()


@contextmanager
def serving(opened: Opened, *, base_map: BaseMap | None = None, **address: Any) -> Iterator[Client]:
    """Serve in a thread."""
    listening = Listening.at(Address(**{"port": 0, **address}))
    service = Service(lambda: opened, listening, base_map)
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield Client(service.url)
    finally:
        service.stop()
        thread.join()
