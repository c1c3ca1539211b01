"""Values that cannot be backscatter: excluded, or their scene is refused; complex rasters."""

import math
from pathlib import Path

import numpy as np
import pytest
import rasterio

from conftest import GRID
from sarcast.errors import SarcastError
from sarcast.ingest.dem import read_dem
from sarcast.ingest.scenes.fuse import Layer, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.ingest.scenes.products import check_values
from sarcast.ingest.scenes.values import Excluded, exclude, implausible
from sarcast.io.cogs import write_cog
from sarcast.io.masks import is_mask_name
from sarcast.io.remote import RemoteOptions
from small_rasters import write_raster

EVERY = (0.0, -0.0, 1e-9, 0.1, 1.0, 38.0, 90.0, 91.0, 999.0, 1e3, 9999.0, 1e6, 1.1e6, -1e-9, -0.1)
EVERY += (-50.0, -79.9, -80.0, -9999.0, 60.0, 60.1, math.nan)
POSSIBLE = {
    "linear power": lambda value: 0.0 < value <= 1e6 and value != 9999.0,
    "amplitude": lambda value: 0.0 < value <= 1e3,
    "dB": lambda value: -80.0 < value <= 60.0,
    "degree": lambda value: 10.0 < value <= 90.0,
    "something": lambda _: True,
}


def backscatter(level_db: float, seed: int = 0) -> np.ndarray:
    """Speckle of five looks, dB."""
    rng = np.random.default_rng(seed)
    return (level_db + 10.0 * np.log10(rng.gamma(5.0, 0.2, GRID.shape))).astype(np.float32)


@pytest.mark.parametrize("unit", POSSIBLE)
@pytest.mark.parametrize("several", [EVERY, (0.1, 0.2), (0.1, math.nan)])
def test_exclusion_equals_that_value_by_value(unit: str, several: tuple[float, ...]) -> None:
    values = np.array([several], dtype=np.float32)
    out = [v for v in several if not math.isnan(v) and not POSSIBLE[unit](v)]
    found = exclude(values, unit)
    kept = [v if POSSIBLE[unit](v) else math.nan for v in several]
    np.testing.assert_array_equal(values[0], np.array(kept, dtype=np.float32))
    assert (found.zero, found.impossible) == (out.count(0.0), len(out) - out.count(0.0))
    if found.impossible:
        assert found.example in np.array(out, dtype=np.float32)


def test_what_was_excluded_adds_up() -> None:
    first, second = Excluded(10, 1, 0), Excluded(5, 0, 2, -3.0, 4)
    for total in (first + second, second + first):
        assert total == Excluded(15, 1, 2, -3.0, 4)


SCENES = {
    "dB": ("dB", backscatter(-10.0)),
    "dB with 70 % -9999": ("dB", np.where(np.arange(80) < 56, -9999.0, backscatter(-15.0))),
    "power": ("linear power", 10.0 ** (backscatter(-10.0) / 10.0)),
    "power with 70 % -9999": (
        "linear power",
        np.where(np.arange(80) < 56, -9999.0, 10.0 ** (backscatter(-10.0) / 10.0)),
    ),
    "power less noise": ("linear power", 10.0 ** (backscatter(-25.0) / 10.0) - 0.0025),
    "calm sea": ("dB", backscatter(-38.0)),
    "city": ("dB", backscatter(8.0)),
    "empty": ("dB", np.full(GRID.shape, np.nan)),
    "zeros": ("dB", np.zeros(GRID.shape)),
}


@pytest.mark.parametrize(("unit", "values"), SCENES.values(), ids=SCENES)
def test_plausible_scenes(unit: str, values: np.ndarray) -> None:
    assert implausible(values.astype(np.float32), unit) is None


REFUSED = {
    "dB x 100": ("dB", 100.0 * backscatter(-10.0), "half of its values are -1.* lower than any"),
    "dB x 10": ("dB", 10.0 * backscatter(-10.0), "half of its values are -1.* lower than any"),
    "below -50 dB": ("dB", backscatter(-58.0), "half of its values are -5.* lower than any"),
    "power / 1e5": (
        "linear power",
        1e-5 * 10.0 ** (backscatter(-10.0) / 10.0),
        "half of its values are .* lower than any",
    ),
    "amplitude / 1e3": (
        "amplitude",
        1e-3 * 10.0 ** (backscatter(-10.0) / 20.0),
        "half of its values are .* lower than any",
    ),
    "all -9999": ("dB", np.full(GRID.shape, -9999.0), "half of its values are -9999 or less"),
    "digital numbers": (
        "amplitude",
        400.0 * 10.0 ** (backscatter(0.0) / 20.0),
        "higher than .* calibrate",
    ),
    "intensities in dB": ("dB", backscatter(45.0), "half of its values are 4.* calibrate digital"),
    "dB as power": ("linear power", backscatter(-10.0), "those of dB; .* --unit 'dB'"),
    "dB with -9999 as power": (
        "linear power",
        np.where(np.arange(80) < 56, -9999.0, backscatter(-10.0)),
        "those of dB; .* --unit 'dB'",
    ),
    "power as dB": (
        "dB",
        10.0 ** (backscatter(-10.0) / 10.0),
        "those of linear power; .* --unit 'linear power'",
    ),
    "real part": (
        "linear power",
        0.2 * np.random.default_rng(1).normal(size=GRID.shape),
        "never negative, but [45]. % of its values are",
    ),
}


@pytest.mark.parametrize(("unit", "values", "line"), REFUSED.values(), ids=REFUSED)
def test_scenes_in_another_unit_are_refused(unit: str, values: np.ndarray, line: str) -> None:
    with pytest.raises(SarcastError, match=rf"scene is declared in {unit}, .*{line}"):
        check_values("scene", values.astype(np.float32), unit)


@pytest.mark.parametrize("unit", ["dB", "linear power"])
def test_a_catalogue_with_another_unit_is_refused_when_it_is_read(
    unit: str, tmp_path: Path
) -> None:
    """An item of a catalogue was never sampled; its whole raster is, at the first doubt."""
    values = {"dB": 100.0 * backscatter(-10.0), "linear power": np.full(GRID.shape, 2e6)}[unit]
    path = write_raster(tmp_path / "a.tif", [values.astype(np.float32)], GRID)
    with pytest.raises(SarcastError, match=f"scene is declared in {unit}, but half of its values"):
        read_layer(Layer(str(path), 1, unit, "scene"), GRID, "bilinear", RemoteOptions())


@pytest.mark.parametrize("scaled", [False, True])
def test_integers_in_hundredths_of_decibels(scaled: bool, tmp_path: Path) -> None:
    """Refused without their scale; with it they are what they say, and the nodata value is not."""
    for band, level in (("VV", -10.0), ("VH", -17.0)):
        stored = np.round(100.0 * backscatter(level)).astype(np.int16)
        stored[:5] = -32768
        path = tmp_path / f"S1A_20200301T051122_{band}.tif"
        write_raster(path, [stored], GRID, nodata=-32768)
        if scaled:
            with rasterio.open(path, "r+") as file:
                file.scales = [0.01]
    options = IndexOptions(unit="dB", quantity="gamma0")
    if not scaled:
        with pytest.raises(SarcastError, match="half of its values are -1"):
            find_items([tmp_path], options)
        return
    (item,) = find_items([tmp_path], options)
    layer = Layer(
        item.assets["vv"].href, 1, "dB", "scene", item.assets["vv"].extra_fields["nodata"]
    )
    found = 10.0 * np.log10(read_layer(layer, GRID, "bilinear", RemoteOptions()))
    assert np.isnan(found[:5]).all()
    np.testing.assert_allclose(found[5:], backscatter(-10.0)[5:], atol=0.0051)


@pytest.mark.parametrize(
    "name",
    ["dataMask", "DATAMASK", "data_mask", "mask", "valid", "valid mask", "alpha", "Alpha band"],
)
def test_names_of_masks(name: str) -> None:
    assert is_mask_name(name)


@pytest.mark.parametrize(
    "name",
    ["", None, "VV", "angle", "layover_mask", "nodata", "invalid", "shadow mask", "maskless"],
)
def test_names_of_other_bands(name: str | None) -> None:
    assert not is_mask_name(name)


# --- complex rasters ------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex_int16"])
@pytest.mark.parametrize("seed", range(3))
def test_complex_rasters_are_refused_by_their_type(dtype: str, seed: int, tmp_path: Path) -> None:
    """From a folder, from a catalogue, and as terrain; even if they are real and positive."""
    rng = np.random.default_rng(seed)
    image = rng.normal(size=GRID.shape) + 1j * rng.normal(size=GRID.shape)
    image = np.abs(image).astype(np.complex64) if seed == 2 else image
    image = (100.0 * image if dtype == "complex_int16" else image).astype(
        "complex64" if dtype == "complex_int16" else dtype
    )
    for band in ("VV", "VH"):
        path = tmp_path / f"S1A_20200301T051122_{band}.tif"
        profile = {
            "driver": "GTiff", "count": 1, "height": GRID.height, "width": GRID.width,
            "dtype": dtype, "crs": str(GRID.crs), "transform": GRID.transform,
        }  # fmt: skip
        with rasterio.open(path, "w", **profile) as target:
            target.write(image, 1)
    for unit in ("linear power", "dB", "amplitude"):
        with pytest.raises(SarcastError, match=r"_V[VH]\.tif holds complex numbers \(complex"):
            find_items([tmp_path], IndexOptions(unit=unit, quantity="gamma0"))
        with pytest.raises(SarcastError, match=r"VV\.tif holds complex numbers"):
            layer = Layer(str(tmp_path / "S1A_20200301T051122_VV.tif"), 1, unit, "scene")
            read_layer(layer, GRID, "bilinear", RemoteOptions())
    (tmp_path / "S1A_20200301T051122_VV.tif").rename(tmp_path / "heights.tif")
    with pytest.raises(SarcastError, match=r"heights\.tif holds complex numbers"):
        read_dem(tmp_path / "heights.tif", GRID)


# --- terrain --------------------------------------------------------------------------------------


@pytest.mark.parametrize("tiles", [1, 2])
@pytest.mark.parametrize("mark", ["mask", "-9999", "-32768", "1e20", "mask and nodata"])
def test_missing_heights_are_not_interpolated(mark: str, tiles: int, tmp_path: Path) -> None:
    """A hole in a plane of 500 m, marked in the file, as one raster or as two tiles of one grid."""
    hole = np.zeros(GRID.shape, dtype=bool)
    hole[20:30, 25:60] = True
    heights = np.full(GRID.shape, 500.0, dtype=np.float32)
    if mark not in ("mask", "mask and nodata"):
        heights[hole] = float(mark)
    if mark == "mask and nodata":
        heights[:3, :40], heights[:3, 40:] = -77.0, -77.0 if tiles == 1 else -88.0
    for number, columns in enumerate((slice(0, 40), slice(40, 80)) if tiles == 2 else (slice(80),)):
        mask = ~hole[:, columns] if mark.startswith("mask") else None
        path = tmp_path / "dem" / f"{number}.tif"
        more = {"nodata": (-77.0, -88.0)[number]} if mark == "mask and nodata" else {}
        write_raster(path, [heights[:, columns]], GRID[:, columns], mask=mask, **more)
    for grid in (GRID, GRID.translate_pix(0.3, -0.3), GRID.zoom_out(5)):
        found = read_dem(tmp_path / "dem", grid).values
        np.testing.assert_allclose(found[np.isfinite(found)], 500.0, rtol=1e-5)
        assert 0.02 < np.isnan(found).mean() < 0.2


def test_deep_sea_is_possible(tmp_path: Path) -> None:
    write_cog(tmp_path / "dem.tif", np.full(GRID.shape, -10_900.0, np.float32), GRID)
    assert (read_dem(tmp_path / "dem.tif", GRID) == -10_900.0).all()
