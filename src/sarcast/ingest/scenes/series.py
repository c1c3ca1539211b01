"""Series of scenes in one NetCDF file, unpacked to a GeoTIFF each."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import odc.geo.xr  # noqa: F401 - registers the accessor that reads the grid

from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError
from sarcast.ingest.cf import open_cf
from sarcast.ingest.scenes.profile import SceneProfile
from sarcast.io.progress import track
from sarcast.io.rasters import write_cog


def unpack(path: Path, profile: SceneProfile, folder: Path) -> Iterator[tuple[dt.datetime, Path]]:
    """Write each scene of a series as a GeoTIFF with its bands.

    Files that are there and no older than the series are kept, so that it can be done again.

    Parameters
    ----------
    path
        NetCDF with variables ``VV`` and ``VH``, dims (time, y, x), and a CRS.
    profile
        Names the dimension of time.
    folder
        Where the GeoTIFFs go.

    Yields
    ------
    datetime, Path
        Time of each scene, UTC, and its file.

    Raises
    ------
    SarcastError
        If the file cannot be read, or lacks the dimension, the bands or a CRS.
    """
    with open_cf(str(path)) as source:
        names = [band for band in BANDS if band in source]
        if profile.series not in source.dims or not names:
            raise SarcastError(
                f"{path} must hold VV or VH along {profile.series!r}, but holds "
                f"{', '.join(map(str, source.data_vars))} along {', '.join(map(str, source.dims))}"
            )
        grid = source.odc.geobox
        if grid is None or grid.crs is None:
            raise SarcastError(f"{path} has no CRS; add a CF grid mapping to its variables")
        times = source[profile.series].values.astype("datetime64[s]").tolist()
        for place, time in enumerate(track(times, f"unpacking {path.name}", len(times))):
            target = folder / f"{path.stem}_{time:%Y%m%dT%H%M%S}.tif"
            if not _is_newer(target, path):
                scene = source[names].isel({profile.series: place}).transpose("y", "x")
                bands = np.stack([scene[name].values for name in names]).astype(np.float32)
                write_cog(target, bands, grid, bands=names)
            yield time.replace(tzinfo=dt.UTC), target


def _is_newer(target: Path, source: Path) -> bool:
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime
