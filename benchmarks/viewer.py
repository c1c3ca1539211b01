"""How fast the viewer is: its page in Chromium and its server, beside a plain tile server.

python -m benchmarks.viewer [--side 5000] [--folder FOLDER] [--model base] [--titiler PYTHON]

A cube of SIDE x SIDE pixels is built of scenes that are made here, and kept in FOLDER for later
runs. Times are from the start of a command, or a step of the view, until the map shows all that is
asked for. The browser runs before, as it does for most people, with a window: the tab that it opens
is measured, its own start and that of its window are not. ``--titiler`` names a Python that has
titiler.core and uvicorn; it then serves one date of the cube as a COG, as grey PNGs in the web's
projection. Needs playwright and Chromium.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from benchmarks.memory import peak_gb
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.viewer.pyramid import TILE, Pyramid
from sarcast.viewer.server import STATIC

LEVELS_DB = (-11.0, -18.0)
LOOKS = 4.4
VIEWPORT = {"width": 1300, "height": 800}
STARTS = 5
"""Starts of the command that are measured."""
STEPS = 40
"""Zooms and pans that are measured."""
WINDOW_S = 1.0
"""Time that a window of the browser is given to load what it consists of."""
PARALLEL = 6
"""Requests at once, as a browser makes to one server."""
_FLAGS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox")
_TITILER = """
import sys, uvicorn
from fastapi import FastAPI
from titiler.core.factory import TilerFactory
app = FastAPI()
app.include_router(TilerFactory().router)
uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
"""


def large_cube(folder: Path, side: int, dates: int) -> Path:
    """Build a cube of speckle over smooth ground, and keep it.

    Parameters
    ----------
    folder
        Receives ``scenes-SIDE`` and ``cube-SIDE.zarr``.
    side
        Rows and columns.
    dates
        Number of acquisitions, twelve days apart.
    """
    target = folder / f"cube-{side}.zarr"
    if target.exists():
        return target
    rng = np.random.default_rng(20)
    grid = GeoBox((side, side), Affine(10.0, 0.0, 400_000.0, 0.0, -10.0, 6_950_000.0), "EPSG:32635")
    coarse = rng.normal(0.0, 2.0, (side // 50 + 1, side // 50 + 1))
    ground = np.kron(coarse, np.ones((50, 50)))[:side, :side]
    scenes = folder / f"scenes-{side}"
    for number in range(dates):
        day = np.datetime64("2024-05-01") + 12 * number
        stem = f"OPERA_L2_RTC-S1_T058-123456-IW2_{str(day).replace('-', '')}T155100Z"
        for band, level in zip(("VV", "VH"), LEVELS_DB, strict=True):
            speckle = rng.gamma(LOOKS, 1.0 / LOOKS, (side, side))
            power = (10.0 ** ((ground + level) / 10.0) * speckle).astype(np.float32)
            write_cog(scenes / f"{stem}_20250101T000000Z_S1A_30_v1.0_{band}.tif", power, grid)
    items = list(find_items([scenes], IndexOptions()))
    build_cube(items, target, grid, CubeOptions(), Sources())
    return target


@contextmanager
def served(*words: object) -> Iterator[tuple[str, float, int]]:
    """Run ``sarcast view``; gives its address, when it was started, and its process."""
    command = [sys.executable, "-m", "sarcast.cli", "view", *map(str, words)]
    with tempfile.TemporaryFile("w+") as log:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--port", "0", "--no-browser"],
            stdout=log, stderr=log, env={**os.environ, "NO_COLOR": "1", "COLUMNS": "500"},
        )  # fmt: skip
        try:
            yield _address(process, log), started, process.pid
        finally:
            process.terminate()
            process.wait(timeout=60)


def _address(process: "subprocess.Popen[bytes]", log: Any) -> str:
    while process.poll() is None:
        log.seek(0)
        if found := re.search(r"http://\S+", log.read()):
            return found.group()
        time.sleep(0.01)
    log.seek(0)
    raise RuntimeError(f"sarcast view ended: {log.read()}")


# --- the page -------------------------------------------------------------------------------------


@contextmanager
def chromium() -> Iterator[Any]:
    """Run a browser that draws on the processor."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        yield browser
        browser.close()


@contextmanager
def window(browser: Any) -> Iterator[Any]:
    """Open a window that has an empty tab and has loaded its own pages; its cache is empty."""
    context = browser.new_context(viewport=VIEWPORT)
    context.new_page()
    time.sleep(WINDOW_S)
    yield context
    context.close()


def open_page(opened: Any, url: str) -> Any:
    """Open the page in a new tab of a window and wait for its first image."""
    page = opened.new_page()
    page.set_default_timeout(120_000)
    page.goto(url)
    page.evaluate("async () => { await sarcast.ready; globalThis.viewer = await sarcast.viewer }")
    return page


def steps(page: Any, side: int, rng: np.random.Generator) -> list[float]:
    """Seconds of zooms and pans between full resolution and the whole cube."""
    move = """async ([x, y, resolution]) => {
      const began = performance.now();
      viewer.map.place = [x, y, resolution];
      await viewer.settled();
      return (performance.now() - began) / 1000;
    }"""
    place = np.array(page.evaluate("() => viewer.map.place"))
    coarsest, seconds = float(place[2]), []
    for _ in range(STEPS):
        if rng.random() < 0.5:
            place[:2] += rng.uniform(-0.5, 0.5, 2) * place[2] * np.array(list(VIEWPORT.values()))
        else:
            place[2] = np.clip(place[2] * rng.choice([0.5, 2.0]), 10.0, coarsest)
        place[0] = np.clip(place[0], 400_000.0, 400_000.0 + 10.0 * side)
        place[1] = np.clip(place[1], 6_950_000.0 - 10.0 * side, 6_950_000.0)
        seconds.append(page.evaluate(move, place.tolist()))
    return seconds


def slider(page: Any, side: int) -> list[float]:
    """Seconds from a slider to the image of 512 x 512 pixels; the first reads its inputs."""
    page.set_viewport_size({"width": 900, "height": 700})
    page.get_by_role("tab", name="What if").click()
    _look_at(page, side, 0.5, "512 / Math.max(width, height)")
    return [_slide(page, value) for value in ("20", "5", "-10", "12")]


def large_views(page: Any, side: int) -> None:
    """Ask for images under other conditions of the largest views, at several places."""
    page.set_viewport_size(VIEWPORT)
    for share in (0.3, 0.5, 0.7):
        _look_at(page, side, share, "1")
        for value in ("15", "-5"):
            _slide(page, value)


def _look_at(page: Any, side: int, share: float, pixels: str) -> None:
    """Move the view to a share of the way across the cube, at pixels of it per pixel of screen."""
    way = 10.0 * side * share
    page.evaluate(
        f"""async ([x, y]) => {{
          const [width, height] = viewer.map.map.getSize();
          viewer.map.place = [x, y, 10 * {pixels}];
          await viewer.settled();
        }}""",
        [400_000.0 + way, 6_950_000.0 - way],
    )


def _slide(page: Any, temperature: str) -> float:
    """Seconds from the slider of the temperature to the image."""
    began = time.perf_counter()
    page.get_by_role("slider", name="temperature").fill(temperature)
    page.wait_for_function("() => !viewer.whatIf.status.textContent.includes('pixels in')")
    page.wait_for_function("() => viewer.whatIf.status.textContent.includes('pixels in')")
    return time.perf_counter() - began


# --- servers alone --------------------------------------------------------------------------------


def asked(urls: Sequence[str]) -> list[float]:
    """Seconds of requests, some at once."""

    def ask(url: str) -> float:
        began = time.perf_counter()
        with urllib.request.urlopen(url, timeout=120) as answer:
            answer.read()
        return time.perf_counter() - began

    with ThreadPoolExecutor(PARALLEL) as threads:
        return list(threads.map(ask, urls))


def tile_urls(url: str, side: int, index: int, rng: np.random.Generator) -> list[str]:
    """Addresses of random tiles of all levels."""
    pyramid = Pyramid(side, side)
    urls = []
    for _ in range(STEPS * 3):
        level = int(rng.integers(pyramid.levels))
        rows, columns = (-(-n // TILE) for n in pyramid.shape(level))
        at = f"{level}/{rng.integers(rows)}/{rng.integers(columns)}"
        urls.append(f"{url}api/tile/actual/{index}/{at}")
    return urls


def titiler_seconds(python: str, cog: Path, rng: np.random.Generator) -> list[float]:
    """Seconds of random tiles of a plain titiler on one date."""
    port = "8649"
    process = subprocess.Popen([python, "-c", _TITILER, port], stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    try:
        info = f"{base}/WebMercatorQuad/tilejson.json?url={cog}"
        west, south, east, north = _wait_for_json(info)["bounds"]
        urls = []
        for _ in range(STEPS * 3):
            zoom = int(rng.integers(9, 15))
            lon, lat = (  # corners of the box lie outside the grid
                low + rng.uniform(0.1, 0.9) * (high - low)
                for low, high in ((west, east), (south, north))
            )
            x, y = _web_tile(lon, lat, zoom)
            band = f"url={cog}&bidx=1&rescale=-25,0"
            urls.append(f"{base}/tiles/WebMercatorQuad/{zoom}/{x}/{y}.png?{band}")
        return asked(urls)
    finally:
        process.terminate()
        process.wait(timeout=30)


def _wait_for_json(url: str) -> dict[str, Any]:
    for _ in range(600):
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} did not answer")


def _web_tile(longitude: float, latitude: float, zoom: int) -> tuple[int, int]:
    """Column and row of the tile of the web's projection around a point."""
    phi = np.radians(latitude)
    x = (longitude + 180.0) / 360.0
    y = (1.0 - np.arcsinh(np.tan(phi)) / np.pi) / 2.0
    return int(x * 2**zoom), int(y * 2**zoom)


def greatest_memory(process: int) -> float:
    """Greatest resident memory of a process so far, GB."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) * 1024 / 1e9  # type: ignore[index]


# --- report ---------------------------------------------------------------------------------------


def row(name: str, seconds: Sequence[float]) -> str:
    """A line of the table: median and 95th percentile."""
    middle, high = np.percentile(seconds, [50, 95])
    return f"| {name} | {middle:.2f} | {high:.2f} |"


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "viewer")
    parser.add_argument("--model", default="base")
    parser.add_argument("--titiler")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    cube = large_cube(options.folder, options.side, options.dates)
    load = os.getloadavg()[0]
    print(f"{options.side} x {options.side} pixels, {os.cpu_count()} cores, load {load:.1f}\n")
    print("| seconds | median | 95 % |\n|---|---|---|", flush=True)
    with chromium() as browser:
        _measure_page(browser, cube, options)
    with served(cube) as (url, _, process):
        rng = np.random.default_rng(2)
        seconds = asked(tile_urls(url, options.side, options.dates - 1, rng))
        print(row("tiles of the server alone, six at once", seconds), flush=True)
        print(f"| its memory, GB | {greatest_memory(process):.2f} | |")
    if options.titiler:
        cog = _one_date(cube, options.folder)
        seconds = titiler_seconds(options.titiler, cog, np.random.default_rng(2))
        print(row("tiles of titiler, one band, six at once", seconds))
    size = sum(path.stat().st_size for path in STATIC.iterdir()) / 1e6
    print(f"| bundle, MB | {size:.2f} | |")
    print(f"\nload after: {os.getloadavg()[0]:.1f}; memory of this process {peak_gb():.1f} GB")


def _measure_page(browser: Any, cube: Path, options: argparse.Namespace) -> None:
    listening, starts = [], []
    for _ in range(STARTS):
        with window(browser) as opened, served(cube) as (url, started, _process):
            listening.append(time.perf_counter() - started)
            open_page(opened, url)
            starts.append(time.perf_counter() - started)
    print(row("start of the command until its page can be opened", listening))
    print(row("start of the command to the first image", starts), flush=True)
    with window(browser) as opened, served(cube, "--model", options.model) as (url, _, process):
        page = open_page(opened, url)
        page.get_by_label("Right layer").select_option("actual")
        page.evaluate("() => viewer.settled()")
        measures: dict[str, Callable[[], list[float]]] = {
            "a pan or a zoom": lambda: steps(page, options.side, np.random.default_rng(1)),
            "a slider to the image of 512 x 512 pixels": lambda: slider(page, options.side),
        }
        for name, measure in measures.items():
            print(row(name, measure()), flush=True)
        large_views(page, options.side)
        print(f"| memory of the server with the model, GB | {greatest_memory(process):.2f} | |")


def _one_date(cube: Path, folder: Path) -> Path:
    """One date of the cube as a COG."""
    path = folder / "date.tif"
    if not path.exists():
        image = open_cube(cube)["backscatter"].isel(time=-1)
        write_cog(path, image.values, image.odc.geobox)
    return path


if __name__ == "__main__":
    main()
