"""Benchmark of a cube build against rasterio alone, and of builds that are killed.

``python -m benchmarks.cube --side-km 50 --scenes 40`` times both with two cores each and prints the
peak memory of their processes; ``--kills 10`` kills a build at random times instead, and checks
that the resumed build ends with the same files.
"""

import argparse
import hashlib
import multiprocessing
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window
from scipy.ndimage import gaussian_filter

from sarcast.catalogue import FolderCatalogue
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.block import block_slices
from sarcast.cube.executor import WorkerOptions
from sarcast.cube.schema import CHUNK, pack
from sarcast.cube.store import is_half_created
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.memory import limit_memory
from sarcast.io.progress import show_progress
from sarcast.sensor import units

SPACING_M = 10.0
DISTINCT = 4
"""Number of different scenes; the others are hard links to them."""
BANDS = ("VV", "VH")
PROFILE = {"driver": "GTiff", "count": 1, "tiled": True, "BIGTIFF": "IF_SAFER"}


@dataclass(frozen=True)
class BuildCase:
    """An area and its scenes, which are in the next UTM zone so that all are warped."""

    folder: Path
    side_km: float
    scenes: int

    @property
    def grid(self) -> GeoBox:
        """Grid of the cube."""
        side = round(self.side_km * 1000.0 / SPACING_M)
        corner = Affine(SPACING_M, 0.0, 600_000.0, 0.0, -SPACING_M, 6_900_000.0)
        return GeoBox((side, side), corner, "EPSG:32635")

    @property
    def rasters(self) -> list[Path]:
        """All files of the scenes."""
        return sorted((self.folder / "scenes").glob("*.tif"))


def write_scenes(case: BuildCase) -> None:
    """Write and index scenes of speckle over smooth ground, named and laid out as OPERA's."""
    (case.folder / "scenes").mkdir(parents=True)
    bounds = case.grid.pad(50).extent.to_crs("EPSG:32636").boundingbox
    grid = GeoBox.from_bbox(bounds, "EPSG:32636", resolution=SPACING_M)
    with ProcessPoolExecutor(2) as pool:
        numbers = range(min(DISTINCT, case.scenes))
        list(pool.map(partial(_write_scene, folder=case.folder, grid=grid), numbers))
    for number in range(DISTINCT, case.scenes):
        for band in BANDS:
            _path(case.folder, number, band).hardlink_to(
                _path(case.folder, number % DISTINCT, band)
            )
    items = find_items([case.folder / "scenes"], IndexOptions())
    FolderCatalogue(case.folder / "catalogue").add(items)


def _path(folder: Path, number: int, band: str) -> Path:
    day = np.datetime64("2020-01-01") + np.timedelta64(6 * number, "D")
    time_text = f"{str(day).replace('-', '')}T154005Z"
    name = f"OPERA_L2_RTC-S1_T058-123456-IW2_{time_text}_20250101T000000Z_S1A_30_v1.0_{band}.tif"
    return folder / "scenes" / name


def _write_scene(number: int, folder: Path, grid: GeoBox) -> None:
    rng = np.random.default_rng(number)
    ground = gaussian_filter(rng.normal(size=(grid.height // 8, grid.width // 8)), 8.0)
    decibels = -11.0 + 2.0 * ground / ground.std()
    power = np.kron(10.0 ** (decibels / 10.0), np.ones((8, 8))).astype(np.float32)
    whole = np.full(grid.shape, power.mean(), dtype=np.float32)
    whole[: power.shape[0], : power.shape[1]] = power
    profile = {
        **PROFILE, "height": grid.height, "width": grid.width, "dtype": "float32",
        "crs": str(grid.crs), "transform": grid.transform, "nodata": np.nan,
        "blockxsize": 512, "blockysize": 512,
        "compress": "DEFLATE", "predictor": 3, "zlevel": 1,
    }  # fmt: skip
    for band in BANDS:
        speckle = rng.standard_gamma(4.4, size=grid.shape, dtype=np.float32) / np.float32(4.4)
        with rasterio.open(_path(folder, number, band), "w", **profile) as target:
            target.write(whole * speckle, 1)


def build(case: BuildCase, target: Path, workers: int) -> None:
    """Build the cube as ``sarcast cube`` does."""
    limit_memory()
    show_progress(False)
    items = FolderCatalogue(case.folder / "catalogue").search()
    options = WorkerOptions(workers=workers)
    build_cube(items, target, case.grid, CubeOptions(), Sources(), workers=options)


def rasterio_alone(case: BuildCase, target: Path, workers: int) -> None:
    """Read, warp and write the same pixels with rasterio: a GeoTIFF a band, a process a core."""
    limit_memory()  # so that its GDAL keeps as much
    target.mkdir()
    with ProcessPoolExecutor(workers) as pool:
        list(pool.map(partial(_warp, case=case, target=target), case.rasters))


def _warp(path: Path, case: BuildCase, target: Path) -> None:
    grid = case.grid
    target_grid = {
        "crs": str(grid.crs), "transform": grid.transform,
        "height": grid.height, "width": grid.width,
    }  # fmt: skip
    profile = {
        **PROFILE, **target_grid, "dtype": "int16", "nodata": -32768,
        "blockxsize": CHUNK, "blockysize": CHUNK, "compress": "ZSTD", "ZSTD_LEVEL": 1,
    }  # fmt: skip
    with (
        rasterio.open(path) as source,
        WarpedVRT(source, resampling=Resampling.bilinear, **target_grid) as warped,
        rasterio.open(target / path.name, "w", **profile) as written,
    ):
        for slices in block_slices(grid.shape):
            window = Window.from_slices(*slices)
            written.write(pack(units.to_db(warped.read(1, window=window))), 1, window=window)


def timed(task: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Run in a separate process: seconds, and the peak memory of it and its children, GB."""
    process = multiprocessing.get_context("spawn").Process(target=task, args=arguments)
    peak, done = [0.0], threading.Event()
    started = time.monotonic()
    process.start()
    watcher = threading.Thread(target=_watch, args=(process.pid, peak, done))
    watcher.start()
    process.join()
    seconds = time.monotonic() - started
    done.set()
    watcher.join()
    if process.exitcode:
        raise SystemExit(f"{task.__name__} failed with {process.exitcode}")
    return seconds, peak[0]


def _watch(pid: int, peak: list[float], done: threading.Event) -> None:
    while not done.wait(0.05):
        total = 0
        try:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
        peak[0] = max(peak[0], total / 1e9)


def compare(case: BuildCase, workers: int) -> None:
    """Time both, and print the rates in values written per second."""
    values = case.scenes * len(BANDS) * case.grid.height * case.grid.width
    seconds, peak = timed(build, case, case.folder / "cube.zarr", workers)
    alone, alone_peak = timed(rasterio_alone, case, case.folder / "warped", workers)
    for name, took, most in (("cube", seconds, peak), ("rasterio alone", alone, alone_peak)):
        print(
            f"{name}: {values / 1e6:.0f} M values in {took:.1f} s, "
            f"{values / took / 1e6:.1f} M values/s, peak memory {most:.2f} GB"
        )
    print(f"rate of the cube over that of rasterio alone: {alone / seconds:.2f}")
    _compare_pixels(case)


def _compare_pixels(case: BuildCase) -> None:
    """Print how far the pixels of both differ, which should be by rounding alone."""
    cube = open_cube(case.folder / "cube.zarr")
    window = Window(0, 0, CHUNK, CHUNK)
    with rasterio.open(case.folder / "warped" / case.rasters[1].name) as source:
        theirs = source.read(1, window=window) / 100.0
    ours = cube["backscatter"][0].sel(band="VV")[:CHUNK, :CHUNK].values
    print(f"median difference of the pixels: {np.median(np.abs(ours - theirs)):.3f} dB")


def kill(case: BuildCase, kills: int, workers: int) -> None:
    """Kill a build at random times, resume it, and compare the files with those of another."""
    whole, killed = case.folder / "whole.zarr", case.folder / "killed.zarr"
    seconds, _ = timed(build, case, whole, workers)
    rng = np.random.default_rng()
    for number in range(kills):
        process = multiprocessing.get_context("spawn").Process(
            target=build, args=(case, killed, workers)
        )
        process.start()
        while process.is_alive() and _started_dates(killed) <= number * case.scenes / (kills + 1):
            process.join(0.01)
        process.join(rng.uniform(0.0, seconds / case.scenes))
        process.kill()
        process.join()
        readable = (killed / "zarr.json").exists() and not is_half_created(killed)
        dates = open_cube(killed).sizes["time"] if readable else 0
        print(f"killed {number + 1} of {kills}: the cube has {dates} dates")
    timed(build, case, killed, workers)
    print(f"the same files: {_digests(whole) == _digests(killed)}")


def _started_dates(store: Path) -> int:
    """Number of dates of which anything is written."""
    return len(list(store.glob("backscatter/c/*")))


def _digests(store: Path) -> dict[str, str]:
    files = sorted(path for path in store.rglob("*") if path.is_file())
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def main() -> None:
    """Write the scenes, run the benchmark, and remove the files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side-km", type=float, default=50.0)
    parser.add_argument("--scenes", type=int, default=40)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--to", type=Path, help="folder for all files; default: temporary")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="cube-", dir=options.to))
    case = BuildCase(folder, options.side_km, options.scenes)
    try:
        write_scenes(case)
        if options.kills:
            kill(case, options.kills, options.workers)
        else:
            compare(case, options.workers)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
