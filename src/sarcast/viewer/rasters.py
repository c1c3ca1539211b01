"""Rasters of a result folder as layers: the parts of a level are read from their overviews."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import RasterioError
from rasterio.windows import Window

from sarcast.arrays import Box, Float
from sarcast.errors import SarcastError, first_line
from sarcast.viewer.pyramid import Pyramid, means, nearest

DRIVER = "GTiff"
"""The only format that is read: others may refer to further files."""


def _as_stored(values: npt.NDArray[Any]) -> Float:
    return values.astype(np.float32)


@dataclass(frozen=True)
class Raster:
    """Bands of a GeoTIFF.

    Attributes
    ----------
    path
        The file.
    size
        Rows and columns.
    bands
        Numbers of the bands, from 1 on.
    overviews
        Factors of the overviews, ascending.
    nodata
        Value without data; None if all have some.
    tags
        Tags of the file.
    is_classes
        Whether overviews have one of the values instead of their mean.
    decode
        Makes values of those that are stored, before those without data become NaN.
    """

    path: Path
    size: tuple[int, int]
    bands: tuple[int, ...]
    overviews: tuple[int, ...]
    nodata: float | None
    tags: dict[str, str]
    is_classes: bool = False
    decode: Callable[[npt.NDArray[Any]], Float] = _as_stored

    @classmethod
    def open(
        cls,
        path: Path,
        pyramid: Pyramid,
        bands: Sequence[int] = (),
        *,
        is_classes: bool = False,
        decode: Callable[[npt.NDArray[Any]], Float] = _as_stored,
    ) -> Self:
        """Read what a file contains; ``bands``, if given, are those wanted, else all.

        Raises
        ------
        SarcastError
            If it cannot be read, or has another size.
        """
        try:
            with rasterio.open(path, driver=DRIVER) as source:
                size, count = source.shape, source.count
                overviews, tags = source.overviews(1), source.tags()
                nodata = source.nodata
        except (RasterioError, OSError) as error:
            raise _damaged(path, error) from error
        if size != (pyramid.rows, pyramid.columns) or any(band > count for band in bands):
            raise SarcastError(
                f"{path} has {size[0]} x {size[1]} pixels and {count} bands, expected "
                f"{pyramid.rows} x {pyramid.columns} and {max(bands, default=1)}: it is not of "
                f"this result; run the verb again"
            )
        chosen = tuple(bands) or tuple(range(1, count + 1))
        return cls(path, size, chosen, tuple(sorted(overviews)), nodata, tags, is_classes, decode)

    def with_decoder(self, decode: Callable[[npt.NDArray[Any]], Float]) -> "Raster":
        """Return the same raster with another meaning of its values."""
        return replace(self, decode=decode)

    def read(self, _index: int, level: int, box: Box) -> Float:
        """Read a part at a level, as ``layers.Reader``."""
        usable = [number for number, factor in enumerate(self.overviews) if factor <= 1 << level]
        steps = level - (self.overviews[usable[-1]].bit_length() - 1 if usable else 0)
        chosen = {"overview_level": usable[-1]} if usable else {}
        try:
            with rasterio.open(self.path, driver=DRIVER, **chosen) as source:
                part = [
                    slice(side.start << steps, min(side.stop << steps, size))
                    for side, size in zip(box, source.shape, strict=True)
                ]
                stored = source.read(list(self.bands), window=Window.from_slices(*part))
        except (RasterioError, OSError) as error:
            raise _damaged(self.path, error) from error
        image = self.decode(stored)
        if self.nodata is not None and not np.isnan(self.nodata):
            image[stored == self.nodata] = np.nan
        return nearest(image, steps) if self.is_classes else means(image, steps)


def _damaged(path: Path, error: Exception) -> SarcastError:
    return SarcastError(f"{path} cannot be read ({first_line(error)}); run the verb again")
