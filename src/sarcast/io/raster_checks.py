"""Rasters that cannot be used: without a location, or laid out so that reading has no bounds."""

import math

import numpy as np
import rasterio
from affine import Affine
from rasterio.enums import Interleaving

from sarcast.errors import SarcastError
from sarcast.io.footprint import FARTHEST_DEG

MOST_BLOCK_BYTES = 2**29
"""Largest block, all of which is decoded to read one pixel of it: 11 585 pixels square, float32."""
FARTHEST = 1e9
"""Coordinates beyond this, in units of a projected CRS, lie nowhere on Earth."""
_FLATTEST = 1e-6
"""Least sine of the angle between the rows and the columns of a raster."""


def check_raster(source: rasterio.DatasetReader) -> None:
    """Check that an open raster has bands, a location, and blocks and scales that can be used.

    Raises
    ------
    SarcastError
        Names what is missing, and what to do.
    """
    # GDAL looks for a mask only now; if it finds damage, the call after that raises the error
    _ = source.mask_flag_enums, source.colorinterp
    fault = _location_fault(source) or _scale_fault(source)
    if fault is not None:
        raise SarcastError(f"{source.name} {fault}")
    check_blocks(source)


def check_band(source: rasterio.DatasetReader, band: int) -> None:
    """Check that a raster has a band, whose number somebody else states."""
    if band > source.count:
        raise SarcastError(
            f"{source.name} has {source.count} bands, but band {band} of it is asked for; check "
            f"that its item states the bands of the file"
        )


def _location_fault(source: rasterio.DatasetReader) -> str | None:
    if source.count == 0:
        return "holds no band of its own; name one of its subdatasets, or convert it (gdalwarp)"
    if source.crs is None:
        points = len(source.gcps[0])
        if points:
            return (
                f"is located by {points} ground control points alone; "
                f"warp it onto a grid (gdalwarp) or leave the file out"
            )
        return (
            "has no CRS, so its location is unknown; "
            "write it into the file (gdal_edit.py -a_srs) or leave the file out"
        )
    if not (source.crs.is_geographic or source.crs.is_projected):
        return (
            "has a local CRS, so its location on Earth is unknown; "
            "write its true CRS into the file (gdal_edit.py -a_srs) or leave the file out"
        )
    if source.transform.is_identity:
        return (
            "has a CRS but no geotransform, so the location of its pixels is unknown; "
            "write it into the file (gdal_edit.py -a_ullr) or leave the file out"
        )
    farthest = FARTHEST_DEG if source.crs.is_geographic else FARTHEST
    if is_degenerate(source.transform, source.shape, farthest):
        return (
            f"has the geotransform {tuple(source.transform)[:6]}, in which pixels have no area or "
            f"lie nowhere; write the true one into the file (gdal_edit.py -a_ullr) or leave the "
            f"file out"
        )
    return None


def is_degenerate(transform: Affine, shape: tuple[int, int], farthest: float = FARTHEST) -> bool:
    """Whether the pixels of a raster have no area, or coordinates beyond the farthest."""
    rows, columns = shape
    corners = [transform * corner for corner in ((0, 0), (columns, 0), (0, rows), (columns, rows))]
    reach = max(abs(value) for corner in corners for value in corner)
    across, down = math.hypot(transform.a, transform.d), math.hypot(transform.b, transform.e)
    if not reach <= farthest:  # NaN as well
        return True
    flat = abs(transform.determinant) <= _FLATTEST * across * down
    return flat or min(across, down) <= np.spacing(reach)


def _scale_fault(source: rasterio.DatasetReader) -> str | None:
    for number, pair in enumerate(zip(source.scales, source.offsets, strict=True), start=1):
        scale, offset = pair
        if not (math.isfinite(scale) and math.isfinite(offset) and scale != 0.0):
            return (
                f"has scale {scale:g} and offset {offset:g} in band {number}, expected finite "
                f"numbers; write the true ones into the file (gdal_edit.py -scale -offset)"
            )
    return None


def check_blocks(source: rasterio.DatasetReader) -> None:
    """Check that no block of a raster is larger than ``MOST_BLOCK_BYTES``.

    Raises
    ------
    SarcastError
        If one is.
    """
    size = block_bytes(source)
    if size > MOST_BLOCK_BYTES:
        rows, columns = source.block_shapes[0]
        raise SarcastError(
            f"{source.name} is stored in blocks of {rows} x {columns} pixels, {size / 2**30:.2g} "
            f"GiB each, expected at most {MOST_BLOCK_BYTES / 2**30:.2g} GiB; write it in smaller "
            f"tiles (gdal_translate -of COG)"
        )


def block_bytes(source: rasterio.DatasetReader) -> int:
    """Most bytes that are decoded to read one pixel."""
    together = source.count if source.interleaving == Interleaving.pixel else 1
    shapes = set(zip(source.block_shapes, source.dtypes, strict=True))
    return max(int(rows * cols) * _itemsize(dtype) * together for (rows, cols), dtype in shapes)


def _itemsize(dtype: str) -> int:
    return {"complex_int16": 4}.get(dtype) or np.dtype(dtype).itemsize
