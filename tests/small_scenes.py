"""Scenes of six dates and two passes on a small area, and the cube of them."""

from pathlib import Path

import numpy as np
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from conftest import opera_name
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

AREA = GeoBox((300, 420), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
TIMES = ["20200301T045102", "20200304T154005", "20200307T045102", "20200310T154005",
         "20200313T045102", "20200316T154005"]  # fmt: skip
HIDDEN = (slice(0, 40), slice(0, 60))
"""Rows and columns without data."""


def power(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(-16, -6, (2, 30, 42)) - np.array([0.0, 6.0])[:, None, None]
    level = 10.0 ** (coarse.repeat(10, axis=1).repeat(10, axis=2) / 10.0)
    image = level * rng.gamma(6.0, 1 / 6.0, (2, *AREA.shape))
    image[:, *HIDDEN] = np.nan
    return image.astype(np.float32)


def write_scenes(folder: Path, numbers: range) -> Path:
    for number in numbers:
        for band, image in zip(("VV", "VH"), power(number), strict=True):
            write_cog(folder / f"{opera_name(TIMES[number])}_{band}.tif", image, AREA)
    return folder


def build(folder: Path, to: Path) -> xr.Dataset:
    build_cube(list(find_items([folder], IndexOptions())), to, AREA, CubeOptions(), Sources())
    return open_cube(to)
