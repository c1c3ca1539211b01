"""Rasters that are damaged, lie nowhere or are laid out without bounds: one line, at once."""

import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine

from sarcast.errors import SarcastError
from sarcast.io import rasters
from sarcast.io.raster_checks import is_degenerate
from sarcast.io.rasters import grid_of, has_data, open_raster, read_sample

PLACED = Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_700_000.0)


def write(path: Path, values: np.ndarray | None = None, **more: Any) -> Path:
    """Write a small raster; without values it is sparse, and may be of any size."""
    shape = (64, 64) if values is None else values.shape
    profile = {
        "driver": "GTiff", "count": 1, "height": shape[0], "width": shape[1], "dtype": "float32",
        "crs": "EPSG:32633", "transform": PLACED, "SPARSE_OK": values is None, **more,
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as target:
        if values is not None:
            target.write(values.astype(profile["dtype"]), 1)
    return path


DEGENERATE = {
    "zero": Affine(0.0, 0.0, 5e5, 0.0, 0.0, 6e6),
    "no height": Affine(10.0, 0.0, 5e5, 0.0, 0.0, 6e6),
    "collinear": Affine(10.0, 20.0, 5e5, 5.0, 10.0, 6e6),
    "sheared to nothing": Affine(10.0, 10.0, 5e5, 10.0, 10.0 + 1e-9, 6e6),
    "NaN": Affine(np.nan, 0.0, 5e5, 0.0, -10.0, 6e6),
    "infinite": Affine(10.0, 0.0, np.inf, 0.0, -10.0, 6e6),
    "below rounding": Affine(1e-12, 0.0, 5e5, 0.0, -1e-12, 6e6),
    "beyond the Earth": Affine(10.0, 0.0, 5e200, 0.0, -10.0, 6e6),
}


@pytest.mark.parametrize("transform", DEGENERATE.values(), ids=DEGENERATE)
def test_pixels_without_area_or_location_are_found(transform: Affine) -> None:
    assert is_degenerate(transform, (64, 64))


@pytest.mark.parametrize(
    "transform",
    [
        PLACED,
        Affine(1e-5, 0.0, 179.9, 0.0, -1e-5, 60.0),
        PLACED * Affine.rotation(30.0),
        Affine(10.0, 3.0, 5e5, 2.0, -10.0, 6e6),
    ],
)
def test_plain_rotated_and_sheared_pixels_are_not(transform: Affine) -> None:
    assert not is_degenerate(transform, (10_000, 10_000))


@pytest.mark.parametrize("name", ["no height", "collinear", "infinite"])
def test_a_degenerate_raster_is_refused(name: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", transform=DEGENERATE[name])
    with pytest.raises(SarcastError, match=r"a\.tif has the geotransform .* no area"):
        grid_of(path)


@pytest.mark.parametrize(("scale", "offset"), [(np.nan, 0.0), (0.0, 1.0), (1.0, np.inf)])
def test_scale_and_offset_must_be_numbers(scale: float, offset: float, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.ones((64, 64)))
    with rasterio.open(path, "r+") as target:
        target.scales, target.offsets = (scale,), (offset,)
    with pytest.raises(SarcastError, match=r"has scale .* expected finite numbers"):
        read_sample(path)


@pytest.mark.filterwarnings("ignore:Dataset has no geotransform")
def test_a_file_of_subdatasets_alone_has_no_bands(tmp_path: Path) -> None:
    import xarray as xr

    fields = {name: (("y", "x"), np.ones((4, 4), np.float32)) for name in ("a", "b")}
    xr.Dataset(fields).to_netcdf(tmp_path / "a.nc")
    with pytest.raises(SarcastError, match="holds no band of its own"):
        open_raster(tmp_path / "a.nc")


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int32", "uint32", "float64"])
def test_every_real_data_type_is_read(dtype: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((64, 64), 7), dtype=dtype)
    assert (read_sample(path) == 7.0).all() and has_data(path)


def test_a_damaged_tile_is_named(tmp_path: Path) -> None:
    """In the middle of a raster whose sample is empty, so that all of it is searched."""
    values = np.zeros((512, 512))
    values[100:150, 100:150] = np.random.default_rng(0).normal(size=(50, 50))
    path = write(
        tmp_path / "a.tif", values, tiled=True, blockxsize=64, blockysize=64, compress="deflate"
    )
    content = bytearray(path.read_bytes())
    with rasterio.open(path) as source:
        start = int(
            source.tags(
                1,
                ns="TIFF",
            ).get("BLOCK_OFFSET_1_1", 0)
        ) or _offset(path, 1, 1)
    content[start : start + 200] = bytes(200)
    path.write_bytes(content)
    for read in (has_data, read_sample):
        with pytest.raises(
            SarcastError, match=r"a\.tif cannot be read, it may be truncated"
        ) as caught:
            read(path)
        assert "\n" not in str(caught.value)


def _offset(path: Path, row: int, column: int) -> int:
    import tifffile

    with tifffile.TiffFile(path) as file:
        return file.pages.first.dataoffsets[row * 8 + column]


# --- bombs ----------------------------------------------------------------------------------------


def test_a_sparse_raster_of_a_trillion_pixels_is_sampled_quickly(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", height=10**6, width=10**6, tiled=True, blockxsize=4096, blockysize=4096,
        transform=PLACED * Affine.scale(1e-3), BIGTIFF="YES", compress="deflate",
    )  # fmt: skip
    assert path.stat().st_size < 10**6
    start = time.process_time()
    assert not read_sample(path).any() and not has_data(path)
    assert time.process_time() - start < 10.0


def test_a_block_too_large_for_memory_is_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tif", height=40_000, width=40_000, dtype="uint8", tiled=True,
        blockxsize=40_000, blockysize=40_000, compress="deflate",
    )  # fmt: skip
    start = time.process_time()
    with pytest.raises(SarcastError, match=r"blocks of 40000 x 40000 pixels, 1\.5 GiB each"):
        read_sample(path)
    assert time.process_time() - start < 2.0


def test_squares_of_a_large_raster_are_its_pixels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an image of its own coordinates: evenly spaced, from edge to edge, each once."""
    rows, columns = np.mgrid[:700, :500]
    path = write(
        tmp_path / "a.tif", rows * 1000.0 + columns, tiled=True, blockxsize=64, blockysize=64
    )
    monkeypatch.setattr(rasters, "_LARGE_PIXELS", 1000)
    sample = read_sample(path)
    assert sample.shape == (256, 256) and np.unique(sample).size == sample.size
    row, column = np.divmod(sample, 1000.0)
    assert (row[0].min(), row.max(), column.min(), column.max()) == (0.0, 699.0, 0.0, 499.0)
    assert row.mean() == pytest.approx(349.5, abs=1.0)
    assert column.mean() == pytest.approx(249.5, abs=1.0)


def test_of_large_blocks_fewer_squares_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.tif", np.ones((512, 512)), tiled=True, blockxsize=64, blockysize=64)
    monkeypatch.setattr(rasters, "_LARGE_PIXELS", 1000)
    monkeypatch.setattr(rasters, "_DECODED_BYTES", 5 * 64 * 64 * 4)
    assert read_sample(path).shape == (32, 32)


def test_data_in_one_pixel_of_any_part_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasters, "_PART_SIDE", 100)
    for row, column in ((0, 0), (299, 0), (150, 279), (299, 279)):
        values = np.zeros((300, 280))
        values[row, column] = 1.0
        path = write(tmp_path / f"{row}-{column}.tif", values)
        assert has_data(path)
    assert not has_data(write(tmp_path / "none.tif", np.zeros((300, 280))))


def test_metadata_that_gdal_finds_damaged_after_opening(tmp_path: Path) -> None:
    """The number of missing pixels becomes the offset of a tile, in a file of strips."""
    path = write(tmp_path / "a.tif", np.ones((16, 16)), compress="lzw", nodata=0)
    missing, offsets = (struct.pack("<HH", tag, 2) for tag in (42113, 324))
    data = path.read_bytes()
    assert data.count(missing) == 1
    path.write_bytes(data.replace(missing, offsets))
    with rasterio.Env(), pytest.raises(SarcastError, match='a.tif cannot be read.*"TileOffsets"'):
        open_raster(path)
