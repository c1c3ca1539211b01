"""Mutated GeoTIFFs as scenes, terrain heights and land cover."""

from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine

from sarcast.ingest.cover import read_cover
from sarcast.ingest.dem import read_dem
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.index import IndexOptions
from sarcast.io.cogs import write_cog

from .harness import Call, Kind
from .mutate import Rng, mutate_tiff
from .seeds import GRID, NAME, TIMES, power, write_scene


class GeoTiff(Kind):
    """One raster, damaged or of extreme layout; a scene has a second that is whole."""

    name = "geotiff"

    def prepare(self) -> None:
        layer = power(1)[0]
        write_scene(self.seeds, TIMES[0])
        write_cog(self.seeds / "dem.tif", layer * 1000.0, GRID)
        write_cog(self.seeds / "cover.tif", np.full(GRID.shape, 10, np.uint8), GRID, nodata=0)
        _write(self.seeds / "tiled.tif", layer, tiled=True, blockxsize=16, blockysize=16)
        _write(self.seeds / "strips.tif", layer, compress="lzw", nodata=-9999.0)
        _write(self.seeds / "integers.tif", (layer * 1e4).astype(np.int16), compress="zstd")
        with rasterio.open(self.seeds / "integers.tif", "r+") as file:
            file.scales, file.offsets = (1e-4,), (0.0,)

    def case(self, folder: Path, rng: Rng) -> Call:
        role = ("scene", "scene", "scene", "dem", "cover")[rng.integers(5)]
        name = f"{NAME.format(TIMES[0])}_VV.tif" if role == "scene" else f"{role}.tif"
        (folder / "in").mkdir()
        target = folder / "in" / name
        if rng.integers(4) == 0:
            _write_extreme(target, rng)
        else:
            seeds = (name, "tiled.tif", "strips.tif", "integers.tif", name, name)
            data = (self.seeds / seeds[rng.integers(6)]).read_bytes()
            target.write_bytes(mutate_tiff(data, rng))
        if role == "dem":
            return lambda: read_dem(f"in/{name}", GRID)
        if role == "cover":
            return lambda: read_cover([f"in/{name}"], GRID)
        if rng.integers(2):
            other = f"{NAME.format(TIMES[0])}_VH.tif"
            (folder / "in" / other).hardlink_to(self.seeds / other)
        if rng.integers(10) == 0:
            return ["index", "in", "--to", "out"]
        return lambda: add_scenes((Path("in"),), "out", IndexOptions())


def _write(path: Path, layer: np.ndarray, **more: Any) -> None:
    profile = {
        "driver": "GTiff", "count": 1, "height": layer.shape[0], "width": layer.shape[1],
        "dtype": layer.dtype, "crs": str(GRID.crs), "transform": GRID.transform, **more,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        target.write(layer, 1)


def _write_extreme(path: Path, rng: Rng) -> None:
    """A file that claims something unusual: a giant, degenerate or unlocated raster, odd bands."""
    sizes = (1, 3, 16, 5_000, 40_000, 1_000_000)
    height, width = (int(sizes[rng.integers(len(sizes))]) for _ in range(2))
    dtypes = ("float32", "float64", "uint8", "int16", "uint16", "complex64", "int32", "int8")
    block = (16, 256, 4096, 40_000)[rng.integers(4)]
    transforms = (
        GRID.transform,
        Affine(0.0, 0.0, 5e5, 0.0, 0.0, 6.9e6),
        Affine(10.0, 10.0, 5e5, 10.0, 10.0, 6.9e6),
        Affine(float("nan"), 0.0, 5e5, 0.0, -10.0, 6.9e6),
        Affine(float("inf"), 0.0, 5e5, 0.0, -10.0, 6.9e6),
        Affine(1e300, 0.0, 5e5, 0.0, -1e300, 6.9e6),
        Affine(1e-300, 0.0, 5e5, 0.0, -1e-300, 6.9e6),
        Affine(0.0, 10.0, 5e5, 10.0, 0.0, 6.9e6),
        Affine(-10.0, 0.0, 5e5, 0.0, 10.0, 6.9e6),
        Affine.identity(),
    )
    crs = ("EPSG:32635", "EPSG:4326", "EPSG:3413", "EPSG:4978", "EPSG:5773", None)[rng.integers(6)]
    nodata = (None, 0.0, float("nan"), 255.0)[rng.integers(4)]
    profile = {
        "driver": "GTiff", "count": int((1, 1, 2, 5, 300)[rng.integers(5)]), "height": height,
        "width": width, "dtype": dtypes[rng.integers(len(dtypes))], "tiled": True, "crs": crs,
        "blockxsize": int(block), "blockysize": int(block), "SPARSE_OK": True, "nodata": nodata,
        "transform": transforms[rng.integers(len(transforms)) if rng.integers(2) else 0],
        "compress": "deflate", "bigtiff": "IF_SAFER",
    }  # fmt: skip
    if height * width > 1e10:
        profile["blockxsize"] = profile["blockysize"] = 40_000
    with rasterio.open(path, "w", **_possible(profile)) as target:
        if rng.integers(4) == 0:
            target.scales = [(float("nan"), 0.0, 1e300, -1.0)[rng.integers(4)]] * target.count
            target.offsets = [(float("nan"), 1e300, -1.0)[rng.integers(3)]] * target.count
        if rng.integers(2) and profile["blockxsize"] <= 256 and target.count <= 5:
            window = rasterio.windows.Window(0, 0, min(width, 16), min(height, 16))
            values = np.full((window.height, window.width), 0.1, dtype=target.dtypes[0])
            target.write(values, 1, window=window)


def _possible(profile: dict[str, Any]) -> dict[str, Any]:
    """The profile without what GDAL would refuse to write."""
    integer = profile["dtype"] in ("uint8", "int16", "uint16", "int32", "int8")
    if integer and profile["nodata"] is not None and profile["nodata"] != 0.0:
        profile["nodata"] = None
    if profile["count"] * profile["height"] * profile["width"] > 1e12:
        profile["count"] = 1
    return profile
