"""Small rasters that mark missing pixels in every way that sources do."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import ColorInterp

MARKS = {
    "mask": "internal mask",
    "msk": "sidecar .msk",
    "alpha": "alpha band",
    "dataMask": "band described as dataMask",
    "valid": "band described as valid",
    "nodata": -77.0,
    "nan": np.nan,
    "-inf": -np.inf,
    "inf": np.inf,
    "-9999": -9999.0,
    "-32768": -32768.0,
    "-99999": -99999.0,
    "1e20": 1e20,
    "-3.4e38": -3.4028234663852886e38,
    "0": 0.0,
}
"""Ways to mark missing pixels; a number is stored in them, and only that of nodata is declared."""


def write_raster(
    path: Path,
    bands: Sequence[np.ndarray],
    grid: GeoBox,
    *,
    names: Sequence[str] = (),
    mask: np.ndarray | None = None,
    sidecar: bool = False,
    **more: Any,
) -> Path:
    """Write a plain GeoTIFF; ``mask``, true where valid, becomes GDAL's mask of the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {
        "driver": "GTiff", "count": len(bands), "height": grid.height, "width": grid.width,
        "dtype": bands[0].dtype, "crs": str(grid.crs), "transform": grid.transform, **more,
    }  # fmt: skip
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=not sidecar),
        rasterio.open(path, "w", **profile) as target,
    ):
        for number, band in enumerate(bands, start=1):
            target.write(band, number)
            if names:
                target.set_band_description(number, names[number - 1])
        if mask is not None:
            target.write_mask(mask)
    return path


def write_marked(
    path: Path,
    bands: Sequence[np.ndarray],
    grid: GeoBox,
    missing: np.ndarray,
    mark: str,
    names: Sequence[str] = (),
) -> Path:
    """Write bands whose ``missing`` pixels are marked as one of ``MARKS``.

    Where a mask or a band marks them, the pixels keep a possible value, that of their left
    neighbours: nothing but the mask reveals them.
    """
    bands = [band.astype(np.float32) for band in bands]
    valid = ~missing
    if mark in ("mask", "msk"):
        return write_raster(path, bands, grid, names=names, mask=valid, sidecar=mark == "msk")
    if mark in ("alpha", "dataMask", "valid"):
        every = [*bands, valid.astype(np.float32)]
        described = [*(names or [""] * len(bands)), "" if mark == "alpha" else mark]
        write_raster(path, every, grid, names=described)
        if mark == "alpha":
            with rasterio.open(path, "r+") as file:
                file.colorinterp = [*[ColorInterp.gray] * len(bands), ColorInterp.alpha]
        return path
    stored = [np.where(missing, np.float32(MARKS[mark]), band) for band in bands]
    declared = {"nodata": MARKS[mark]} if mark == "nodata" else {}
    return write_raster(path, stored, grid, names=names, **declared)
