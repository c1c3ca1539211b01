"""Shared fixtures: one thread for torch, the folder of real data, small rasters on disk."""

import os
import shutil
import subprocess
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from affine import Affine
from hypothesis import settings
from odc.geo.geobox import GeoBox

from sarcast.io.cogs import write_cog

GRID = GeoBox((60, 80), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
"""A small grid in Finland: 60 rows and 80 columns of 10 m."""

settings.register_profile("untimed", deadline=None)  # a busy machine is no fault
settings.load_profile("untimed")


LONGEST = (
    "test_77_monitoring_watch.py", "test_77_monitoring_blocks.py", "test_99_faults.py",
    "test_77_monitoring_run.py", "test_98_readme.py", "test_54_world_writer.py",
    "test_76_detect_cluster.py", "test_97_benchmark_detection.py", "test_88_viewer_page.py",
    "test_88_viewer_results.py", "test_98_examples.py", "test_88_viewer_tiles.py",
    "test_86_event_database.py", "test_47_longitudes.py", "test_90_cli.py",
    "test_49_cube_polarisations.py",
)  # fmt: skip
"""Files that workers of pytest-xdist begin with, so that none of them has a long one at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        place = {name: number for number, name in enumerate(LONGEST)}
        items.sort(key=lambda item: place.get(item.path.name, len(LONGEST)))


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape what is no Unicode in reports: workers of pytest-xdist cannot send it."""
    return _escaped((yield))


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_escaped(key): _escaped(each) for key, each in value.items()}
    return type(value)(map(_escaped, value)) if isinstance(value, (list, tuple)) else value


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _show_progress_and_messages() -> None:
    from sarcast.io.progress import show_progress

    show_progress()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Folder with real data; the test is skipped if it is absent."""
    folder = Path(os.environ.get("SARCAST_TEST_DATA", "../shared/data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set SARCAST_TEST_DATA to its folder")
    return folder


@pytest.fixture
def grid() -> GeoBox:
    return GRID


def opera_name(time: str, platform: str = "S1A", burst: str = "T058-123456-IW2") -> str:
    return f"OPERA_L2_RTC-S1_{burst}_{time}Z_20250101T000000Z_{platform}_30_v1.0"


@pytest.fixture
def scene_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write scenes named like OPERA's, one file per band, from arrays of linear power."""

    def write(scenes: dict[str, np.ndarray], grid: GeoBox = GRID, name: str = "scenes") -> Path:
        folder = tmp_path / name
        for base, power in scenes.items():
            for band, layer in zip(("VV", "VH"), power, strict=True):
                write_cog(folder / f"{base}_{band}.tif", layer.astype(np.float32), grid)
        return folder

    return write


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 kB, if the system allows tests to mount one."""
    mount = tmp_path / "disk"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(mount)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk needs root")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


@pytest.fixture(scope="session")
def world_cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a small cube of a synthetic world, with weather, land cover and the oracle."""
    from sarcast.cli import main

    folder = tmp_path_factory.mktemp("world-cube")
    world, cube = folder / "world", folder / "cube.zarr"
    sources = {"--dem": "dem.tif", "--weather": "weather.nc", "--cover": "cover.tif"}
    options = [str(part) for flag, file in sources.items() for part in (flag, world / file)]
    for command in (
        ["world", str(world), "--size-km", "0.64", "--end", "2020-06-01", "--tracks", "1"],
        ["cube", str(world), "--to", str(cube), *options],
    ):
        with pytest.raises(SystemExit) as ended:
            main(["--quiet", *command])
        assert ended.value.code == 0
    return cube


@pytest.fixture(scope="session")
def viewed_cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a cube of ``small_scenes``: two tiles wide and high, with a part without data."""
    from small_scenes import TIMES, build, write_scenes

    folder = tmp_path_factory.mktemp("viewed")
    build(write_scenes(folder / "scenes", range(len(TIMES))), folder / "cube.zarr")
    return folder / "cube.zarr"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of a browser."""
    path = shutil.which("chromium")
    if path is None and os.environ.get("SARCAST_REQUIRE_SERVICES") != "1":
        pytest.skip("Chromium is not installed; on Debian: apt-get install chromium")
    assert path is not None, "SARCAST_REQUIRE_SERVICES=1, but there is no chromium"
    return path


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Any]:
    """A browser that draws with WebGL on the processor."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox"]
        started = playwright.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """Open a page, wait until its map is painted, and check at the end what it asked and said."""
    contexts, asked, said = [], [], []

    def open_page(url: str, state: dict[str, str] | None = None, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": 1300, "height": 800}, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: asked.append((url.rpartition("/")[0], request.url)))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("console", lambda message: message.type == "error" and said.append(message.text))
        link = "&".join(f"{key}={quote(value)}" for key, value in (state or {}).items())
        page.goto(f"{url}#{link}" if link else url)
        page.evaluate("() => sarcast.ready")
        page.evaluate("async () => { globalThis.viewer = await sarcast.viewer }")
        return page

    yield open_page
    for context in contexts:
        context.close()
    foreign = [there for home, there in asked if not there.startswith((home, "data:", "blob:"))]
    assert foreign == []
    assert said == []
