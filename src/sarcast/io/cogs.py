"""Cloud-optimised GeoTIFFs: written in memory or, if they are large, part by part."""

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.shutil import copy
from rasterio.windows import Window

from sarcast.arrays import Box
from sarcast.errors import SarcastError
from sarcast.io.boxes import cut
from sarcast.io.files import new_file
from sarcast.io.memory import release_memory
from sarcast.io.progress import track

MOST_IN_MEMORY = 2**26
"""Size of an image up to which its file is made in memory, bytes."""
AT_A_TIME = 2
"""Files that are written at a time."""
_PART_SIDE = 1024
# overviews pass through a file that GDAL would compress at a level that takes most of the time
_CONFIGURATION = {"COG_TMP_COMPRESSION": "NONE"}
_LEVEL = 1
"""Of compression: files of floats are 2 % larger than at GDAL's default, and take half the time."""
# GDAL's default for overviews, cubic, gives negative power and classes that do not occur
_QUANTITIES = {"predictor": "FLOATING_POINT", "overview_resampling": "AVERAGE"}
_CLASSES = {"predictor": "STANDARD", "overview_resampling": "MODE"}


@dataclass(frozen=True)
class Parts:
    """An image that is read by parts, since it may not fit into memory.

    Attributes
    ----------
    shape
        Bands, rows and columns.
    dtype
        Type of the values.
    read
        Gives the values of some rows and columns, dims (band, y, x) or (y, x).
    """

    shape: tuple[int, int, int]
    dtype: npt.DTypeLike
    read: Callable[[Box], npt.NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Size of the whole image."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def layers(self, box: Box) -> npt.NDArray[Any]:
        """Read a part, dims (band, y, x)."""
        shape = (self.shape[0], *(part.stop - part.start for part in box))
        return np.asarray(self.read(box), dtype=self.dtype).reshape(shape)


@dataclass(frozen=True)
class Cog:
    """A cloud-optimised GeoTIFF to be written.

    Attributes
    ----------
    path
        Target; an existing file is replaced.
    array
        Dims (y, x) or (band, y, x), or an image that is read by parts.
    grid
        Grid of the array.
    nodata
        Value of pixels without data; None if all pixels have data.
    bands
        Descriptions of the bands.
    tags
        TIFF tags.
    colours
        Colour table of a single band of uint8: red, green, blue and alpha, 0..255, by value. TIFF
        stores no alpha: a reader gives 0 for ``nodata`` and 255 for all other values.
    """

    path: Path
    array: npt.NDArray[np.generic] | Parts
    grid: GeoBox
    nodata: float | None = float("nan")
    bands: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    colours: Mapping[int, tuple[int, int, int, int]] = field(default_factory=dict)

    def write(self) -> None:
        """Write it atomically.

        Raises
        ------
        SarcastError
            If the disk is full.
        """
        with new_file(self.path) as partial, rasterio.Env(**_CONFIGURATION):
            if self.parts.nbytes <= MOST_IN_MEMORY:
                self._write_in_memory(partial)
            else:
                self._write_by_parts(partial)

    @property
    def parts(self) -> Parts:
        """The image, to be read by parts."""
        return self.array if isinstance(self.array, Parts) else _parts_of(self.array)

    @property
    def _profile(self) -> dict[str, Any]:
        """Of the plain GeoTIFF that it is copied from."""
        count, rows, columns = self.parts.shape
        return {
            "driver": "GTiff",
            "count": count,
            "height": rows,
            "width": columns,
            "dtype": np.dtype(self.parts.dtype).name,
            "crs": self.grid.crs.to_wkt(),
            "transform": self.grid.transform,
            "nodata": self.nodata,
        }

    @property
    def _options(self) -> dict[str, Any]:
        """Options of GDAL's driver."""
        layout = _QUANTITIES if np.dtype(self.parts.dtype).kind == "f" else _CLASSES
        return {"driver": "COG", "compress": "DEFLATE", "level": _LEVEL, **layout}

    def _write_in_memory(self, partial: Path) -> None:
        """Write it from memory: GDAL does not report a full disk as such, but Python does."""
        with MemoryFile() as memory, MemoryFile(ext=".tif") as cog:
            with memory.open(**self._profile) as target:
                for box in self._boxes:
                    self._write_part(target, box)
                self._describe(target)
            with rasterio.open(memory.name) as source:
                copy(source, cog.name, **self._options)
            partial.write_bytes(cog.getbuffer())

    def _write_by_parts(self, partial: Path) -> None:
        """Write it part by part, over a file beside it; read it once again, and compare.

        GDAL may not notice that a disk is full.
        """
        plain = partial.with_name(f"{partial.name}.tif")
        tiled = {"tiled": True, "blockxsize": 512, "blockysize": 512, "bigtiff": "IF_SAFER"}
        try:
            with rasterio.open(plain, "w", **self._profile, **tiled) as target:
                sums = [self._write_part(target, box) for box in self._boxes]
                self._describe(target)
            with rasterio.open(plain) as source:
                copy(source, str(partial), bigtiff="IF_SAFER", **self._options)
            if not self._has(sums, partial):
                raise SarcastError(_unwritable(self.path))
        except RasterioError as error:
            reason = f" ({' '.join(str(error).split())})"
            raise SarcastError(_unwritable(self.path, reason)) from error
        finally:
            plain.unlink(missing_ok=True)

    def _write_part(self, target: Any, box: Box) -> int:
        """Write a part, and give its checksum."""
        values = self.parts.layers(box)
        target.write(values, window=Window.from_slices(*box))
        return zlib.crc32(values.tobytes())

    def _has(self, sums: Sequence[int], path: Path) -> bool:
        """Whether a file has parts of these checksums."""
        with rasterio.open(path) as written:
            found = (written.read(window=Window.from_slices(*box)) for box in self._boxes)
            return [zlib.crc32(part.tobytes()) for part in found] == [*sums]

    @property
    def _boxes(self) -> Iterator[Box]:
        return cut(self.parts.shape, _PART_SIDE)

    def _describe(self, target: Any) -> None:
        target.update_tags(**self.tags)
        for number, name in enumerate(self.bands, start=1):
            target.set_band_description(number, name)
        if self.colours:
            target.write_colormap(1, self.colours)


def write_cog(
    path: Path, array: npt.NDArray[np.generic] | Parts, grid: GeoBox, **options: Any
) -> None:
    """Write one cloud-optimised GeoTIFF atomically.

    Parameters
    ----------
    path, array, grid, **options
        Of a ``Cog``.

    Raises
    ------
    SarcastError
        If the disk is full.
    """
    Cog(path, array, grid, **options).write()


def write_cogs(cogs: Sequence[Cog]) -> None:
    """Write several cloud-optimised GeoTIFFs, each atomically, some at a time.

    Raises
    ------
    SarcastError
        If the disk is full.
    """
    with ThreadPoolExecutor(AT_A_TIME) as threads:
        futures = [threads.submit(cog.write) for cog in cogs]
        try:
            for future in track(futures, "writing rasters", len(futures)):
                future.result()
                release_memory()
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _parts_of(array: npt.NDArray[np.generic]) -> Parts:
    layers = array[np.newaxis] if array.ndim == 2 else array
    count, rows, columns = layers.shape
    return Parts((count, rows, columns), layers.dtype, lambda box: layers[(slice(None), *box)])


def _unwritable(path: Path, reason: str = "") -> str:
    return (
        f"{path} could not be written completely, the disk may be full{reason}: free some space or "
        f"name a target on another disk, and run it again"
    )
