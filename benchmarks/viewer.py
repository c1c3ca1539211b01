"""How fast the viewer is: its server alone, and its page in Chromium, beside a plain tile server.

python -m benchmarks.viewer [--side 5000] [--dates 6] [--folder FOLDER] [--model base]

A cube of SIDE x SIDE pixels is built of scenes that are made here, and kept in FOLDER for later
runs. Times are those of this machine, from the start of the command to its answers.
"""

import argparse
import tempfile
from pathlib import Path

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from sarcast.cube import CubeOptions, Sources, build_cube
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

LEVELS_DB = (-11.0, -18.0)
LOOKS = 4.4


def large_cube(folder: Path, side: int, dates: int) -> Path:
    """Build a cube of speckle over smooth ground, and keep it.

    Parameters
    ----------
    folder
        Receives ``scenes`` and ``cube-SIDE.zarr``.
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


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()) / "sarcast-viewer"
    )
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(large_cube(options.folder, options.side, options.dates))


if __name__ == "__main__":
    main()
