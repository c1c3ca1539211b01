"""Small valid inputs that several kinds of input start from."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import stac_geoparquet.arrow._api
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

stac_geoparquet.arrow._api.memlog = lambda _: None
"""It measures the process for a log that nobody reads, which takes half of the time of an input."""

GRID = GeoBox((16, 20), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
NAME = "OPERA_L2_RTC-S1_T058-123456-IW2_{}Z_20250101T000000Z_S1A_30_v1.0"
TIMES = ("20200301T051122", "20200307T154005", "20200313T051122", "20200319T154005")


def power(seed: int, bands: int = 2) -> np.ndarray:
    """Speckle of linear power, dims (band, y, x)."""
    rng = np.random.default_rng(seed)
    return (0.1 * rng.gamma(4.4, 1 / 4.4, (bands, *GRID.shape))).astype(np.float32)


def write_scene(folder: Path, time: str, seed: int = 0) -> dict[str, Path]:
    """Write a scene of two files, named as OPERA does."""
    paths = {}
    for band, layer in zip(("VV", "VH"), power(seed), strict=True):
        paths[band] = folder / f"{NAME.format(time)}_{band}.tif"
        write_cog(paths[band], layer, GRID)
    return paths


def items_of(folder: Path) -> list[dict[str, Any]]:
    """STAC items of the scenes in a folder, with hrefs relative to it."""
    items = []
    for item in find_items([folder], IndexOptions()):
        content = json.loads(json.dumps(item.to_dict(transform_hrefs=False)))
        for asset in content["assets"].values():
            asset["href"] = "./" + Path(asset["href"]).name
        items.append(content)
    return items


def link_all(source: Path, target: Path) -> None:
    """Hard links to the files of a folder; a mutated file must replace its link, not change it."""
    for path in source.iterdir():
        (target / path.name).hardlink_to(path)
