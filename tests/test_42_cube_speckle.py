"""Speckle filtering during a build gives what the filter gives on the scenes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from odc.geo.geobox import GeoBox

from conftest import GRID, opera_name
from sarcast.cli import main
from sarcast.cube import CubeOptions, Sources, build_cube, open_cube
from sarcast.cube.filtering import read_filtered
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.acquisition import acquisitions
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.remote import RemoteOptions
from sarcast.sensor import units
from sarcast.speckle import SpeckleOptions, despeckle, images

LOOKS = 4.4
DATES = 6
GAP = (slice(20, 24), slice(5, 50))
"""Rows and columns without data at the third date."""


@pytest.fixture(autouse=True)
def _short_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "VARIATION_STEPS", 5)


def powers() -> np.ndarray:
    """Dims (date, band, y, x): speckle over a step edge; the level rises with the date."""
    rng = np.random.default_rng(3)
    level = np.where(np.arange(GRID.width) > 40, 0.2, 0.05) * np.ones(GRID.shape)
    drawn = rng.gamma(LOOKS, 1.0 / LOOKS, (DATES, 2, *GRID.shape)) * level
    drawn *= np.linspace(1.0, 2.0, DATES)[:, None, None, None]
    drawn[2, :, GAP[0], GAP[1]] = np.nan
    return drawn.astype(np.float32)


@pytest.fixture
def scenes(scene_folder: Callable[..., Path]) -> Path:
    names = [opera_name(f"202001{day:02d}T051122") for day in range(1, 1 + DATES)]
    return scene_folder(dict(zip(names, powers(), strict=True)))


def built(folder: Path, target: Path, dates: int = DATES, **options: object) -> xr.Dataset:
    items = list(find_items([folder], IndexOptions()))[:dates]
    build_cube(items, target, GRID, CubeOptions(**options), Sources())
    return open_cube(target)


def wanted(options: SpeckleOptions) -> xr.DataArray:
    """The filtered scenes, with missing data around them."""
    margin = ((0, 0), (0, 0), (options.reach,) * 2, (options.reach,) * 2)
    wide = np.pad(powers(), margin, constant_values=np.nan)
    scenes = xr.DataArray(wide, dims=("time", "band", "y", "x"), attrs={"units": "linear power"})
    if options.speckle == "quegan":
        parts = [scenes[max(0, k + 1 - options.dates) : k + 1] for k in range(DATES)]
        filtered = xr.concat([despeckle(part, options)[-1:] for part in parts], dim="time")
    else:
        filtered = despeckle(scenes, options)
    inner = {dim: slice(options.reach, -options.reach) for dim in ("y", "x")}
    return units.to_db(filtered.assign_attrs(units=units.LINEAR_POWER)).isel(inner)


ASKED = [
    {"speckle": "lee", "looks": LOOKS, "speckle_size": 5},
    {"speckle": "refined-lee"},
    {"speckle": "tv", "speckle_weight": 1.5},
    {"speckle": "quegan", "speckle_dates": 3},
]


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked["speckle"])
def test_a_cube_has_the_filtered_scenes(scenes, tmp_path, asked, monkeypatch):
    monkeypatch.setattr(images, "TILE", 16)
    cube = built(scenes, tmp_path / "cube.zarr", **asked)
    found, known = cube["backscatter"].values, wanted(SpeckleOptions(**asked)).values
    assert (np.isnan(found) == np.isnan(powers())).all()
    assert np.nanmax(np.abs(found - known)) < 0.011  # a cube keeps hundredths of a decibel
    assert np.nanstd(found - units.to_db(powers())) > 0.3
    assert cube.attrs["speckle_filter"] == SpeckleOptions(**asked).label


@pytest.mark.parametrize("asked", ASKED, ids=lambda asked: asked["speckle"])
def test_blocks_change_nothing(scenes, asked):
    passes = acquisitions(list(find_items([scenes], IndexOptions())))
    dates = [acquisition.layers("VV") for acquisition in passes[:3]]
    speckle = SpeckleOptions(**asked)

    def read(grid: GeoBox) -> np.ndarray:
        return read_filtered(dates, grid, "nearest", speckle, RemoteOptions())[0]

    whole = read(GRID)
    for slices in ((slice(0, 17), slice(0, 80)), (slice(17, 60), slice(33, 80))):
        np.testing.assert_allclose(read(GRID[slices]), whole[slices], atol=1e-4)


def test_a_cube_extended_in_later_runs_equals_one_built_at_once(scenes, tmp_path):
    asked = {"speckle": "quegan", "speckle_dates": 3}
    at_once = built(scenes, tmp_path / "once.zarr", **asked)
    for dates in (2, 3, DATES):
        extended = built(scenes, tmp_path / "extended.zarr", dates, **asked)
    xr.testing.assert_identical(extended.load(), at_once.load())


def test_looks_are_estimated_once_and_kept_for_later_dates(scenes, tmp_path, capsys):
    cube = built(scenes, tmp_path / "cube.zarr", 2, speckle="lee")
    output = capsys.readouterr().err
    assert "speckle filter lee, 7 x 7" in output and "equivalent number of looks" in output
    looks = cube.attrs["speckle"]["looks"]
    assert looks == pytest.approx(LOOKS, rel=0.25)
    later = built(scenes, tmp_path / "cube.zarr", speckle="lee")
    known = wanted(SpeckleOptions(speckle="lee", looks=looks)).values
    assert np.nanmax(np.abs(later["backscatter"].values - known)) < 0.011


def test_a_cube_is_not_extended_with_another_filter(scenes, tmp_path):
    built(scenes, tmp_path / "cube.zarr", 2, speckle="refined-lee")
    for other in ({}, {"speckle": "refined-lee", "looks": 9.0}, {"speckle": "tv"}):
        with pytest.raises(SarcastError, match="with the speckle filter refined-lee, local looks"):
            built(scenes, tmp_path / "cube.zarr", **other)
    built(scenes, tmp_path / "plain.zarr", 2)
    with pytest.raises(SarcastError, match="with the speckle filter none, but tv"):
        built(scenes, tmp_path / "plain.zarr", speckle="tv")
    assert "speckle_filter" not in open_cube(tmp_path / "plain.zarr").attrs


def test_scenes_with_too_little_data_to_estimate_looks_are_an_error(scene_folder, tmp_path):
    sparse = powers()[:1]
    sparse[..., 9:, :] = sparse[..., 30:] = np.nan
    folder = scene_folder({opera_name("20200101T051122"): sparse[0]}, name="sparse")
    with pytest.raises(SarcastError, match="show too little .* give them with --looks"):
        built(folder, tmp_path / "cube.zarr", speckle="lee")
    assert not (tmp_path / "cube.zarr").exists()
    assert built(folder, tmp_path / "cube.zarr", speckle="lee", looks=4.0).sizes["time"] == 1


def test_an_earlier_date_that_cannot_be_read_is_not_used(scenes, tmp_path):
    items = list(find_items([scenes], IndexOptions()))
    next(scenes.glob("*20200103T051122*_VV.tif")).write_bytes(b"cut off")
    asked = {"speckle": "quegan", "speckle_dates": 3}
    options = CubeOptions(**asked, allow_missing=True)
    build_cube(items, tmp_path / "cube.zarr", GRID, options, Sources())
    cube = open_cube(tmp_path / "cube.zarr")
    assert cube.sizes["time"] == DATES - 1
    stack = xr.DataArray(powers(), dims=("time", "band", "y", "x"), attrs={"units": "linear power"})
    known = despeckle(stack[3:5], SpeckleOptions(**asked))[-1]  # the third of its three is missing
    inner = {"y": slice(5, -5), "x": slice(5, -5)}
    found = cube["backscatter"].isel(time=3, **inner).values
    assert np.abs(found - units.to_db(known).isel(inner).values).max() < 0.011


def test_the_command_filters_and_refuses_options_without_effect(scenes, tmp_path, capsys):
    def run(*words: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main([str(word) for word in words])
        return int(ended.value.code or 0)

    assert run("index", scenes, "--to", tmp_path / "catalogue") == 0
    command = ("cube", tmp_path / "catalogue", "--to", tmp_path / "cube.zarr")
    assert run(*command, "--looks", 4) == 2
    assert "looks has no meaning for the filter none" in capsys.readouterr().err
    assert run(*command, "--speckle", "refined-lee", "--looks", 4.4) == 0
    assert open_cube(tmp_path / "cube.zarr").attrs["speckle_filter"] == "refined-lee, 4.4 looks"
