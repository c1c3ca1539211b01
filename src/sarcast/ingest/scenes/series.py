"""Series of scenes in one NetCDF file, written as one GeoTIFF a scene."""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError
from sarcast.ingest.cf import open_cf
from sarcast.ingest.scenes.profile import SceneProfile
from sarcast.io.cogs import write_cog
from sarcast.io.images import grid_of_images
from sarcast.io.progress import track


def unpack(path: Path, profile: SceneProfile, folder: Path) -> Iterator[tuple[dt.datetime, Path]]:
    """Write each scene of a series as a GeoTIFF with its bands.

    Existing files that are not older than the series are kept, so an interrupted run resumes.

    Parameters
    ----------
    path
        NetCDF with variables ``VV`` or ``VH`` or both, dims (time, y, x), and a CRS.
    profile
        Its ``series`` names the time dimension.
    folder
        Target folder of the GeoTIFFs.

    Yields
    ------
    datetime, Path
        Time of each scene, UTC, and its file.

    Raises
    ------
    SarcastError
        If the file cannot be read, or lacks the time dimension, the bands or a CRS.
    """
    with open_cf(str(path)) as source:
        names = [band for band in BANDS if band in source]
        if profile.series not in source.dims or not names:
            raise SarcastError(
                f"{path} must contain VV or VH along {profile.series!r}, but contains "
                f"{', '.join(map(str, source.data_vars))} along {', '.join(map(str, source.dims))}"
            )
        grid = grid_of_images(source)
        if grid is None or grid.crs is None:
            raise SarcastError(f"{path} has no CRS; add a CF grid mapping to its variables")
        times = source[profile.series].values.astype("datetime64[s]").tolist()
        for index, time in enumerate(track(times, f"unpacking {path.name}", len(times))):
            target = folder / f"{path.stem}_{time:%Y%m%dT%H%M%S}.tif"
            if not _is_newer(target, path):
                scene = source[names].isel({profile.series: index}).transpose("y", "x")
                bands = np.stack([scene[name].values for name in names]).astype(np.float32)
                write_cog(target, bands, grid, bands=names)
            yield time.replace(tzinfo=dt.UTC), target


def _is_newer(target: Path, source: Path) -> bool:
    return target.is_file() and target.stat().st_mtime >= source.stat().st_mtime
