"""The server of the viewer: what it answers, and what it refuses."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
import xarray as xr

from conftest import GRID, opera_name
from sarcast.cube import CubeOptions, Sources, build_cube
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.prediction.strategies import STRATEGIES
from sarcast.viewer.address import Address, Listening
from sarcast.viewer.guards import HEADERS, PatientProtocol
from sarcast.viewer.server import MOST_CONNECTIONS, Service
from sarcast.viewer.view import Opened, Shown, open_path, view_of_cube
from small_cubes import code, coordinate_cube
from small_views import Client, Reply, detection_folder, serving

FOREIGN = "https://evil.example"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return detection_folder(tmp_path_factory.mktemp("served") / "detection")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Client]:
    """Asks a server of the detection made by hand."""
    with serving(open_path(folder, Shown())) as asking:
        yield asking


def cube() -> xr.Dataset:
    return coordinate_cube().odc.assign_crs("EPSG:32635")


@pytest.fixture(scope="module")
def of_cube() -> Iterator[Client]:
    """Asks a server of the coordinate cube, with a strategy."""
    opened = Opened(lambda _version: view_of_cube(cube(), "cube", Shown(STRATEGIES["latest"])))
    with serving(opened) as asking:
        yield asking


def of_json(reply: Reply) -> dict:
    assert reply.headers["content-type"] == "application/json"
    found: dict = json.loads(reply.body)
    return found


def error_of(reply: Reply) -> str:
    line = of_json(reply)["error"]
    assert len(line.splitlines()) == 1
    return str(line)


def token(client: Client) -> str:
    return str(of_json(client.ask("/api/view"))["token"])


# --- data -----------------------------------------------------------------------------------------


def test_a_tile_is_little_endian_floats(of_cube: Client) -> None:
    reply = of_cube.ask("/api/tile/actual/3/0/0/0")
    tile = np.frombuffer(reply.body, "<f4").reshape(2, 256, 256)
    assert tile[1, 20, 30] == code(3, 1, 20, 30)
    assert np.isnan(tile[0, 45, 0])
    assert reply.headers["cache-control"] == "no-cache"


def test_a_tile_of_a_version_is_kept_and_of_another_refused(client: Client) -> None:
    version = of_json(client.ask("/api/view"))["version"]
    reply = client.ask(f"/api/tile/expected/0/0/0/0?v={version}")
    assert "immutable" in reply.headers["cache-control"]
    refused = client.ask("/api/tile/expected/0/0/0/0?v=other")
    assert refused.status == 409
    assert "read /api/view again" in error_of(refused)
    assert client.ask(f"/api/view?known={version}").status == 204
    assert client.ask("/api/view?known=other").status == 200


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/api/tile/nothing/0/0/0/0", 404, "there is no layer 'nothing'"),
        ("/api/tile/actual/99/0/0/0", 404, "an acquisition of 0 to 11"),
        ("/api/tile/actual/0/7/0/0", 404, "a level of 0 to 0"),
        ("/api/tile/actual/0/0/1/0", 404, "a tile of 1 rows"),
        ("/api/tile/actual/-1/0/0/0", 400, "index"),
        ("/api/tile/actual/a/0/0/0", 400, "index"),
        ("/api/tile/actual/0/1e9/0/0", 400, "level"),
        (f"/api/tile/actual/{10**30}/0/0/0", 400, "index"),
        ("/api/tile/actual/0/0/0/0?more=1", 400, "more"),
        (f"/api/tile/{'x' * 5000}/0/0/0/0", 400, "layer"),
        ("/api/series?x=50&y=0", 404, "a column below 50"),
        ("/api/series?x=-1&y=0", 400, "x"),
        ("/api/series?x=1", 400, "y"),
        ("/api/series?x=1&y=1&format=xml", 400, "format"),
        ("/api/events", 404, "a cube has no events"),
        ("/api/nothing", 404, "there is nothing here"),
        ("/files/expected.tif", 404, "there is no such file"),
    ],
)
def test_what_does_not_exist(of_cube: Client, path: str, status: int, message: str) -> None:
    reply = of_cube.ask(path)
    assert reply.status == status
    assert message in error_of(reply)


def test_a_series_as_json_and_csv(of_cube: Client) -> None:
    series = of_json(of_cube.ask("/api/series?x=30&y=20&expected=1"))
    assert series["actual"]["VV"][5] == code(5, 0, 20, 30)
    assert series["expected"]["VV"][5] == code(4, 0, 20, 30)
    reply = of_cube.ask("/api/series?x=30&y=20&format=csv")
    assert reply.headers["content-disposition"] == 'attachment; filename="series-30-20.csv"'
    assert len(reply.body.splitlines()) == 13


def what_if(asked: Client, /, **changes: object) -> Reply:
    body = {"index": 5, "box": [2, 3, 20, 30], "conditions": {"temperature": 5.0}, **changes}
    return post(asked, json.dumps(body).encode())


def post(client: Client, body: bytes, **headers: str) -> Reply:
    given = {"content_type": "application/json", "x_sarcast_token": token(client), **headers}
    return client.ask("/api/what-if", "POST", body, **given)


def test_an_image_under_other_conditions(of_cube: Client) -> None:
    reply = what_if(of_cube)
    assert reply.headers["x-shape"] == "2,2,20,30"
    assert reply.headers["x-box"] == "2,3,20,30"
    image = np.frombuffer(reply.body, "<f4").reshape(2, 2, 20, 30)
    assert image[0, 1, 4, 6] == code(4, 1, 6, 9)
    assert what_if(of_cube, box=[30, 40, 700, 700]).headers["x-box"] == "30,40,10,10"


@pytest.mark.parametrize(
    ("changes", "status", "message"),
    [
        ({"index": 50}, 404, "an acquisition of 0 to 11"),
        ({"box": [0, 0, 2000, 5]}, 400, "up to 768 x 768 pixels, got 2000 x 5"),
        ({"box": [0, 0, -5, 5]}, 400, "up to 768"),
        ({"box": [900, 0, 5, 5]}, 404, "outside the grid"),
        ({"box": [1, 2]}, 400, "box"),
        ({"conditions": {"temperature": 500}}, 400, "temperature must lie in -80..60"),
        ({"conditions": {"wind": 5}}, 400, "conditions.wind"),
        ({"conditions": {"precipitation": [1, 2]}}, 400, "conditions.precipitation"),
        ({"conditions": {"precipitation": [-1, 0, 0, 0]}}, 400, "precipitation"),
        ({"conditions": {"orbit_direction": "up"}}, 400, "ascending or descending"),
        ({"conditions": {"platform": "envisat"}}, 400, "platform is one of"),
    ],
)
def test_conditions_that_are_refused(
    of_cube: Client, changes: dict[str, object], status: int, message: str
) -> None:
    reply = what_if(of_cube, **changes)
    assert reply.status == status
    assert message in error_of(reply)


def test_a_newer_request_takes_the_place_of_an_older_one() -> None:
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        name, size, previous, uses_target = "slow", None, 1, False

        def expect(self, windows: list) -> list:
            begun.set()
            assert go_on.wait(30)
            return STRATEGIES["latest"].expect(windows)

    large = cube().pad(x=(0, 300), mode="edge").assign_coords(x=5.0 + 10.0 * np.arange(350))
    opened = Opened(lambda _version: view_of_cube(large, "cube", Shown(Slow())))
    with serving(opened) as client, ThreadPoolExecutor(3) as threads:
        box = {"box": [0, 0, 40, 350], "client": "a"}
        older = threads.submit(what_if, client, **box)
        assert begun.wait(30)
        newer = threads.submit(what_if, client, **box)
        other = threads.submit(what_if, client, **{**box, "client": "b"})
        time.sleep(0.5)
        go_on.set()
        assert [each.result().status for each in (older, newer, other)] == [409, 200, 200]


def test_without_a_model_there_are_no_other_conditions(client: Client) -> None:
    assert "--model" in error_of(what_if(client))


def test_events_and_verdicts(client: Client, folder: Path) -> None:
    collection = of_json(client.ask("/api/events"))
    assert [each["id"] for each in collection["features"]] == [1, 2, 3]
    assert client.ask("/api/events/1/history").body == b"[]"
    reply = verdict(client, {"verdict": "true"})
    assert of_json(reply) == {"id": 1, "verdict": "true"}
    assert of_json(client.ask("/api/events"))["features"][0]["properties"]["verdict"] == "true"
    assert (folder / "verdicts.gpkg").is_file()
    assert verdict(client, {"verdict": None}).status == 200


def verdict(client: Client, body: object, event: str = "1", **headers: str) -> Reply:
    given = {"content_type": "application/json", "x_sarcast_token": token(client), **headers}
    path = f"/api/events/{event}/verdict"
    return client.ask(path, "PUT", json.dumps(body).encode(), **given)


@pytest.mark.parametrize(
    ("body", "event", "headers", "status"),
    [
        ({"verdict": "true"}, "1", {"x_sarcast_token": "guessed"}, 403),
        ({"verdict": "true"}, "1", {"x_sarcast_token": ""}, 403),
        ({"verdict": "true"}, "1", {"content_type": "text/plain"}, 400),
        ({"verdict": "maybe"}, "1", {}, 400),
        ({"verdict": "true", "more": 1}, "1", {}, 400),
        (["true"], "1", {}, 400),
        ({}, "1", {}, 400),
        ({"verdict": "true"}, "99", {}, 404),
        ({"verdict": "true"}, "..%2f1", {}, 404),
        ({"verdict": "true", "x": "y" * 20_000}, "1", {}, 400),
    ],
)
def test_verdicts_that_are_refused(
    client: Client, body: object, event: str, headers: dict[str, str], status: int
) -> None:
    reply = verdict(client, body, event, **headers)
    assert reply.status == status
    assert error_of(reply)


@pytest.mark.parametrize("body", [b"", b"{", b"[" * 10_000, b"\xff\xfe", b'{"verdict": NaN}'])
def test_bodies_that_are_no_json(client: Client, body: bytes) -> None:
    assert post(client, body).status == 400


def test_an_extended_cube_is_another_version(tmp_path: Path, scene_folder: object) -> None:
    def build(days: range) -> None:
        rng = np.random.default_rng(1)
        scenes = {
            opera_name(f"202003{day:02d}T154005"): rng.uniform(0.01, 0.2, (2, *GRID.shape))
            for day in days
        }
        items = list(find_items([scene_folder(scenes)], IndexOptions()))  # type: ignore[operator]
        build_cube(items, tmp_path / "cube.zarr", GRID, CubeOptions(), Sources())

    build(range(1, 4))
    with serving(open_path(tmp_path / "cube.zarr", Shown())) as client:
        before = of_json(client.ask("/api/view"))
        build(range(1, 6))
        time.sleep(0.6)
        after = of_json(client.ask("/api/view"))
        assert [len(each["acquisitions"]) for each in (before, after)] == [3, 5]
        assert before["version"] != after["version"]
        old, new = (f"/api/tile/actual/4/0/0/0?v={v['version']}" for v in (before, after))
        assert client.ask(old).status == 409
        assert client.ask(new).status == 200


# --- files ----------------------------------------------------------------------------------------


def test_parts_of_a_file(client: Client, folder: Path) -> None:
    content = (folder / "expected.tif").read_bytes()
    whole = client.ask("/files/expected.tif")
    assert whole.body == content
    part = client.ask("/files/expected.tif", range="bytes=10-109")
    assert (part.status, part.body) == (206, content[10:110])
    assert part.headers["content-range"] == f"bytes 10-109/{len(content)}"


@pytest.mark.parametrize(
    "ranges",
    [
        "bytes=99999999999-", "bytes=5-2", "bytes=-", "bytes=a-b", "elephants=0-1", "bytes=",
        "bytes=" + ",".join(["0-"] * 500),
        "bytes=" + ",".join(f"{k}-{k}" for k in range(0, 400, 2)),
        "bytes=0-,0-,0-,0-", f"bytes=0-{10**40}", "bytes=-99999999999",
    ],
)  # fmt: skip
def test_absurd_ranges_give_no_more_than_the_file(
    client: Client, folder: Path, ranges: str
) -> None:
    size = (folder / "expected.tif").stat().st_size
    reply = client.ask("/files/expected.tif", range=ranges)
    assert reply.status in (200, 206, 400, 416)
    assert len(reply.body) <= size + 1000


SECRETS = ["run.yaml", "null.npz", "verdicts.gpkg", "secret.txt"]
"""Files that the item of the result does not name."""


@pytest.mark.parametrize(
    "path",
    [
        *(f"/files/{name}" for name in SECRETS),
        "/files/../secret.txt", "/files/..%2fsecret.txt", "/files/%2e%2e/secret.txt",
        "/files/%2e%2e%2fsecret.txt", "/files/..%5csecret.txt", "/files/..\\secret.txt",
        "/files//etc/passwd", "/files/%2Fetc%2Fpasswd", "/files/%252e%252e%252fsecret.txt",
        "/files/./run.yaml", "/files/.%2frun.yaml", "/files/expected.tif%00.txt", "/files/",
        "/files", "/files/C:%5cwindows%5cwin.ini", "/files/expected.tif/../run.yaml",
        "/static/../view.py", "/static/..%2fview.py", "/static/%2e%2e/view.py", "/static/",
        "/static//etc/passwd", "/static/../../__init__.py", "//etc/passwd", "/../secret.txt",
        "/api/tile/..%2f..%2fsecret.txt/0/0/0/0", "/api/tile/%2e%2e/0/0/0/0",
    ],
)  # fmt: skip
def test_paths_stay_inside_what_was_opened(client: Client, folder: Path, path: str) -> None:
    (folder.parent / "secret.txt").write_text("a secret")
    (folder / "secret.txt").write_text("a secret")
    reply = client.ask(path)
    assert reply.status in (400, 404)
    assert b"secret" not in reply.body.replace(b"secret.txt", b"")
    assert b"root:" not in reply.body


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    folder = detection_folder(tmp_path / "detection")
    secret = tmp_path / "secret.tif"
    secret.write_bytes((folder / "evidence.tif").read_bytes())
    (folder / "evidence.tif").unlink()
    (folder / "evidence.tif").symlink_to(secret)
    with serving(open_path(folder, Shown())) as client:
        assert client.ask("/files/evidence.tif").status == 404
        assert client.ask("/api/tile/evidence/0/0/0/0").status == 404
        assert client.ask("/files/expected.tif").status == 200


# --- who may ask ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1",
     "localhost.evil.example:{port}", "127.0.0.1:{port}@evil.example", "", "[::1]",
     "0.0.0.0:{port}"],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/api/view", "/files/expected.tif"])
def test_another_host_name_is_refused(client: Client, host: str, path: str) -> None:
    """As of a page whose name was bound to this machine to reach the server."""
    reply = client.ask(path, host=host.format(port=client.port))
    assert reply.status in (400, 421)
    assert b"token" not in reply.body


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"])
def test_names_of_this_machine_are_answered(client: Client, host: str) -> None:
    assert client.ask("/api/view", host=f"{host}:{client.port}").status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": FOREIGN},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
    ],
)
def test_pages_of_other_sites_get_no_data(client: Client, headers: dict[str, str]) -> None:
    assert client.ask("/api/view", **headers).status == 403
    assert verdict(client, {"verdict": "true"}, **headers).status == 403


def test_the_own_page_gets_data_and_a_link_may_lead_to_it(client: Client) -> None:
    own = f"http://127.0.0.1:{client.port}"
    assert client.ask("/api/view", origin=own, sec_fetch_site="same-origin").status == 200
    assert client.ask("/", sec_fetch_site="cross-site").status == 200


@pytest.mark.parametrize(
    "path", ["/", "/api/view", "/api/nothing", "/static/viewer.js", "/files/expected.tif"]
)
def test_every_answer_has_the_headers(client: Client, path: str) -> None:
    reply = client.ask(path)
    for name, value in HEADERS.items():
        assert reply.headers[name] == value
    assert "access-control-allow-origin" not in reply.headers
    assert "server" not in reply.headers
    assert "unsafe-eval" not in reply.headers["content-security-policy"]
    assert "http" not in reply.headers["content-security-policy"]


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT", "OPTIONS", "TRACE", "PATCH"])
def test_other_methods(client: Client, method: str) -> None:
    assert client.ask("/api/view", method, b"").status == 405


def test_text_of_the_data_is_never_html(tmp_path: Path) -> None:
    folder = detection_folder(tmp_path / "detection")
    item = json.loads((folder / "item.json").read_text())
    evil = "</script><img src=x onerror=alert(1)>"
    item["properties"]["sarcast:model"] = evil
    (folder / "item.json").write_text(json.dumps(item))
    with serving(open_path(folder, Shown())) as client:
        reply = client.ask("/api/view")
        assert of_json(reply)["model"] == evil
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert evil.encode() not in client.ask("/").body


def test_others_need_the_token(folder: Path) -> None:
    with serving(open_path(folder, Shown()), host="0.0.0.0") as client:
        query = urlsplit(client.url).query
        assert query.startswith("token=")
        assert len(query) > 30
        for path in (
            "/",
            "/api/view",
            "/?token=guessed",
            "/api/view?token=",
            "/files/expected.tif",
        ):
            assert client.ask(path).status == 401
        admitted = client.ask(f"/?{query}&layer=z")
        assert (admitted.status, admitted.headers["location"]) == (303, "./?layer=z")
        cookie = admitted.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        given = cookie.partition(";")[0]
        assert client.ask("/api/view", cookie=given, host="a-name.example").status == 200
        assert client.ask("/api/view", cookie="sarcast-token=guessed").status == 401
        packed = client.ask("/api/tile/expected/0/0/0/0", cookie=given, accept_encoding="gzip")
        assert packed.headers["content-encoding"] == "gzip"


# --- how much -------------------------------------------------------------------------------------


def test_a_hundred_tiles_at_once_are_answered_or_put_off(client: Client) -> None:
    names = ["expected", "std", "difference", "z"] * 60
    with ThreadPoolExecutor(len(names)) as threads:
        replies = list(threads.map(lambda n: client.ask(f"/api/tile/{n}/0/0/0/0"), names))
    assert {reply.status for reply in replies} <= {200, 503}
    assert sum(reply.status == 200 for reply in replies) >= 100
    for reply in replies:
        assert reply.status == 200 or reply.headers["retry-after"] == "1"


def test_clients_that_never_read_or_ask_are_left(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PatientProtocol, "patience_s", 0.5)
    with serving(open_path(folder, Shown())) as client:
        address = "127.0.0.1", client.port
        request = (
            f"GET /api/tile/expected/0/0/0/0 HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n\r\n"
        )
        silent = [socket.create_connection(address) for _ in range(5)]
        slow = [socket.create_connection(address) for _ in range(5)]
        deaf = []
        for each in slow:
            each.sendall(b"GET /api/view HTTP/1.1\r\nHost: ")  # and never the rest
        for _ in range(5):
            each = socket.socket()
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            each.connect(address)
            each.sendall(request.encode() * 50)
            deaf.append(each)
        assert client.ask("/api/view").status == 200
        time.sleep(2.0)
        for each in (*silent, *slow):
            each.settimeout(5)
            assert each.recv(10) == b""
        for each in deaf:
            each.settimeout(5)
            with pytest.raises(ConnectionError):
                while each.recv(2**20):
                    pass
                raise ConnectionResetError  # closed in order
        assert client.ask("/api/view").status == 200
        for each in (*silent, *slow, *deaf):
            each.close()


def test_more_connections_than_allowed_are_put_off(client: Client) -> None:
    waiting = [
        socket.create_connection(("127.0.0.1", client.port)) for _ in range(MOST_CONNECTIONS)
    ]
    try:
        assert client.ask("/api/view").status == 503
    finally:
        for each in waiting:
            each.close()
    time.sleep(0.3)
    assert client.ask("/api/view").status == 200


@dataclass
class Waiting:
    """A server that listens, but opens a path only when it may, and a request that waits for it."""

    service: Service
    running: Future[None]
    described: Future[Reply]
    may_open: threading.Event


@contextmanager
def waiting_to_open(path: Path) -> Iterator[Waiting]:
    may_open = threading.Event()

    def open_it() -> Opened:
        assert may_open.wait(30)
        return open_path(path, Shown())

    service = Service(open_it, Listening.at(Address(port=0)))
    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(service.run)
        described = threads.submit(Client(service.url).ask, "/api/view")
        time.sleep(0.2)
        yield Waiting(service, running, described, may_open)


def test_the_page_is_sent_before_anything_is_open(folder: Path) -> None:
    with waiting_to_open(folder) as server:
        client = Client(server.service.url)
        assert client.ask("/").status == 200
        assert client.ask("/static/viewer.js").status == 200
        assert not server.described.done()
        server.may_open.set()
        assert server.described.result(30).status == 200
        server.service.stop()
        server.running.result(30)


def test_a_connection_waits_until_the_server_is_loaded(folder: Path) -> None:
    listening = Listening.at(Address(port=0))
    with ThreadPoolExecutor(2) as threads:
        page = threads.submit(Client(listening.url).ask, "/")
        time.sleep(0.1)
        assert not page.done()
        service = Service(lambda: open_path(folder, Shown()), listening)
        running = threads.submit(service.run)
        assert page.result(30).status == 200
        service.stop()
        running.result(30)


def test_what_cannot_be_opened_ends_the_server(tmp_path: Path) -> None:
    service = Service(lambda: open_path(tmp_path, Shown()), Listening.at(Address(port=0)))
    with ThreadPoolExecutor(1) as alone, pytest.raises(SarcastError, match="is nothing that can"):
        alone.submit(service.run).result()


def test_a_page_that_asks_is_told_why_nothing_can_be_opened(tmp_path: Path) -> None:
    with waiting_to_open(tmp_path) as server:
        server.may_open.set()
        reply = server.described.result(30)
        assert reply.status == 400
        assert "is nothing that can be shown" in error_of(reply)
        with pytest.raises(SarcastError):
            server.running.result(30)


def test_a_port_that_is_taken(folder: Path) -> None:
    opened = open_path(folder, Shown())
    with serving(opened) as client:
        next_to_it = Listening.at(Address(port=client.port))
        with next_to_it.socket:
            assert urlsplit(next_to_it.url).port != client.port


def test_a_request_for_a_socket_is_refused(client: Client) -> None:
    headers = {"connection": "Upgrade", "upgrade": "websocket", "sec_websocket_version": "13",
               "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}  # fmt: skip
    assert client.ask("/api/view", **headers).status in (200, 400, 403, 404)
