"""``sarcast view`` on the command line: a page without a server, options, how it ends."""

import base64
import gzip
import hashlib
import json
import re
import signal
import subprocess
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml

from conftest import GRID
from sarcast.cli import main
from sarcast.commands.evaluate import EvaluateConfig, _link
from sarcast.viewer import export
from sarcast.viewer.export import export_of, rounded
from sarcast.viewer.layers import Layer
from sarcast.viewer.view import Shown, open_path
from small_detections import by_hand
from small_views import alerts_folder, detection_folder


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code in (None, 0)


def refused(capsys: pytest.CaptureFixture[str], status: int, *words: object) -> str:
    capsys.readouterr()
    with ThreadPoolExecutor(1) as alone, pytest.raises(SystemExit) as ended:
        # a server needs a thread without an event loop; a browser of other tests has one here
        alone.submit(main, [str(word) for word in words]).result()
    assert ended.value.code == status
    *before, line = capsys.readouterr().err.splitlines()
    assert all("http://127.0.0.1:" in each for each in before)  # listens before it opens
    return line


@pytest.fixture
def detection(tmp_path: Path) -> Path:
    return detection_folder(tmp_path / "detection")


def content_of(page: str) -> dict:
    (text,) = re.findall(r'<script type="application/json" id="sarcast-data">(.+?)</script>', page)
    found: dict = json.loads(text)
    return found


def tile_of(content: dict, key: str) -> np.ndarray:
    values = np.frombuffer(gzip.decompress(base64.b64decode(content["tiles"][key])), "<f4")
    return values.reshape(-1, 256, 256)


def test_a_page_in_one_file(detection: Path, tmp_path: Path) -> None:
    to = tmp_path / "new" / "page.html"
    run("view", detection, "--export", to)
    page = to.read_text()
    assert not re.findall(r'(?:src|href)="(?!data:)', page)  # nothing is fetched
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', page)
    assert policy.startswith("default-src 'none'; ")
    (script,) = re.findall(r"<script>(.+?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    content = content_of(page)
    difference = tile_of(content, "difference/0/0/0/0")[:, : GRID.height, : GRID.width]
    np.testing.assert_allclose(difference, by_hand().images["difference"].values, atol=6 / 256)
    assert [each["id"] for each in content["events"]["features"]] == [1, 2, 3]
    assert content["view"]["export"] is True
    assert "token" not in content["view"]


def test_a_page_in_a_folder(detection: Path, tmp_path: Path) -> None:
    to = tmp_path / "page"
    run("view", detection, "--export", to)
    assert {path.name for path in to.iterdir()} == {"index.html", "data.js", "run.yaml", "static"}
    index = (to / "index.html").read_text()
    assert index.index("data.js") < index.index("static/viewer.js")
    text = (to / "data.js").read_text()
    assert text.startswith("window.sarcastData = {")
    assert json.loads(text.removeprefix("window.sarcastData = ").rstrip(";\n"))["tiles"]
    assert yaml.safe_load((to / "run.yaml").read_text())["view"]["path"] == str(detection)
    run("view", "--config", to / "run.yaml", "--overwrite")


def test_alerts_have_their_history_in_the_page(tmp_path: Path) -> None:
    content = export_of(open_path(alerts_folder(tmp_path / "alerts"), Shown()).current())
    for event in content["events"]["features"]:
        assert content["history"][str(event["id"])][0]["id"] == event["id"]


def test_what_does_not_fit_is_left_out_from_the_finest_level_on(tmp_path: Path) -> None:
    from affine import Affine
    from odc.geo.geobox import GeoBox

    grid = GeoBox((600, 700), Affine(10.0, 0.0, 5e5, 0.0, -10.0, 6.9e6), "EPSG:32635")
    event = np.zeros(grid.shape, dtype=np.int32)
    event[10:16, 20:30] = 1
    folder = detection_folder(tmp_path / "detection", event=event, grid=grid)
    view = open_path(folder, Shown()).current()
    whole = export_of(view)
    assert whole["view"]["finest"] == 0
    levels = [key.split("/")[2] for key in whole["tiles"]]
    assert set(levels) == {"0", "1", "2"}
    coarse = sum(len(text) for key, text in whole["tiles"].items() if "/0/2/" in key)
    part = export_of(view, most_bytes=coarse + len(json.dumps(whole["events"])) + 3000)
    assert part["view"]["finest"] == 2
    assert {key.split("/")[2] for key in part["tiles"]} == {"2"}


def test_values_are_rounded_to_steps_that_are_compressed_well() -> None:
    layer = Layer("a", "a", ("VV",), lambda *_: np.zeros(1), ranges=((-20.0, -5.0),))
    values = np.random.default_rng(1).normal(-12, 3, (1, 50, 50)).astype(np.float32)
    found = rounded(values, layer)
    assert np.abs(found - values).max() <= 15.0 / 256 / 2
    assert (found * 32 == np.rint(found * 32)).all()
    classes = Layer("a", "a", ("VV",), lambda *_: np.zeros(1))
    assert rounded(values, classes) is values


def test_data_cannot_end_the_element_that_they_stand_in(detection: Path, tmp_path: Path) -> None:
    item = json.loads((detection / "item.json").read_text())
    item["properties"]["sarcast:model"] = "</script><script>alert(1)</script>"
    (detection / "item.json").write_text(json.dumps(item))
    run("view", detection, "--export", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "alert(1)" in content_of(page)["view"]["model"]
    assert "<script>alert" not in page


def test_a_page_is_replaced_on_request_only(
    detection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    to = tmp_path / "page.html"
    to.write_text("mine")
    assert "exists; add --overwrite" in refused(capsys, 1, "view", detection, "--export", to)
    assert to.read_text() == "mine"
    run("--quiet", "view", detection, "--export", to, "--overwrite")
    assert "sarcast-data" in to.read_text()


@pytest.mark.parametrize(
    "words",
    [("--port", "9000"), ("--host", "0.0.0.0"), ("--no-browser",), ("--model", "mean"),
     ("--previous", "2"), ("--precision", "float32")],
)  # fmt: skip
def test_options_of_the_server_are_refused_for_a_page(
    detection: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    to = tmp_path / "page.html"
    line = refused(capsys, 2, "view", detection, "--export", to, *words)
    assert "cannot be given with --export" in line
    assert not to.exists()


def test_other_options_that_are_refused(
    detection: Path, world_cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--export only" in refused(capsys, 2, "view", detection, "--overwrite")
    to = tmp_path / "page.html"
    assert "not a cube" in refused(capsys, 1, "view", world_cube, "--export", to)
    line = refused(capsys, 1, "view", world_cube, "--cube", world_cube, "--no-browser")
    assert "--cube is for detections" in line
    line = refused(capsys, 1, "view", detection, "--cube", world_cube, "--no-browser")
    assert "has another grid" in line
    line = refused(capsys, 1, "view", detection, "--host", "203.0.113.7", "--no-browser")
    assert "cannot listen at 203.0.113.7" in line
    assert not to.exists()


def test_a_bundle_that_is_damaged(
    detection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    static = tmp_path / "static"
    static.mkdir()
    for name in ("viewer.js", "viewer.css", "index.html"):
        (static / name).write_text("<html></html>")
    monkeypatch.setattr(export, "STATIC", static)
    line = refused(capsys, 1, "view", detection, "--export", tmp_path / "page.html")
    assert "the bundle of the page lacks <link" in line
    assert not (tmp_path / "page.html").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_ends_when_it_is_asked_to(detection: Path, number: signal.Signals) -> None:
    words = ["view", str(detection), "--port", "0", "--no-browser"]
    with subprocess.Popen(
        [sys.executable, "-m", "sarcast.cli", *words], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        found = None
        while found is None and process.poll() is None:
            found = re.search(r"http://\S+", process.stderr.readline())
        assert found is not None
        with urllib.request.urlopen(f"{found.group()}api/view", timeout=60) as answer:
            assert answer.status == 200
        process.send_signal(number)
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""


def test_what_reads_cubes_is_loaded_while_the_page_loads() -> None:
    code = "import sys, sarcast.cli, sarcast.commands.view; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {"torch", "numpy", "xarray", "pandas", "zarr", "odc", "uvicorn", "dask"}


def test_the_report_of_an_evaluation_links_to_a_page(
    world_cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    demo = tmp_path / "demo"
    config = EvaluateConfig(to=demo / "evaluation", map=demo / "a map.html")
    assert _link(config) == "../a%20map.html"
    assert _link(EvaluateConfig(to=demo / "evaluation")) == ""
    words = ("evaluate", world_cube, "--to", demo / "evaluation", "--map", demo / "a map.html")
    assert "--map takes effect with --detection only" in refused(capsys, 2, *words)
    line = refused(capsys, 1, *words, "--detection")
    assert "a map.html does not exist; write it with sarcast view --export" in line
