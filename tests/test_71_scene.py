"""Scene context over a region: one table for neighbouring tiles, which no tile can explain."""

import numpy as np
import pytest
import torch
import xarray as xr

from sarcast.prediction.model import Model
from sarcast.prediction.networks.context import BLOCK_PX, TABLE_SHAPE
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.predict import predict
from sarcast.prediction.scene import Scene
from sarcast.prediction.tiles import TileOptions
from sarcast.windows import CubeReader

SIDE, DATES, TILE = 160, 6, 64
AT = "2021-03-02"
WET_DB = 3.0


@pytest.fixture(scope="module")
def model() -> Model:
    """An untrained network, which expects the mean of the previous images plus the departure."""
    torch.manual_seed(0)
    options = TemporalOptions(
        widths=(8, 8, 8, 8), blocks=(0, 0, 0, 0), decoder_blocks=(0, 0, 0, 0), embedding=8
    )
    return Model(Temporal(options).eval(), "untrained")


@pytest.fixture(scope="module")
def wet() -> xr.Dataset:
    """A cube of noise about a smooth pattern whose last date is 3 dB brighter everywhere."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    pattern = np.stack([-10.0 + 3.0 * np.sin(5.0 * y), -17.0 + 3.0 * np.cos(4.0 * x)])
    images = pattern + rng.normal(0.0, 1.0, (DATES, 2, SIDE, SIDE))
    images[-1] += WET_DB
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), images.astype("f4"))},
        coords={
            "time": np.datetime64("2021-01-01T17:00", "ns")
            + np.arange(DATES) * np.timedelta64(12, "D"),
            "band": ["VV", "VH"],
            "y": -10.0 * np.arange(SIDE),
            "x": 10.0 * np.arange(SIDE),
        },
    )


def expected(cube: xr.Dataset, model: Model, **options: object) -> np.ndarray:
    tiles = TileOptions(tile=TILE, overlap=0.25)
    return predict(cube, model, AT, tiles=tiles, **options)["expected"].values


def test_blocks_are_means_of_pixels(wet: xr.Dataset, model: Model) -> None:
    """Of every tile at its offset, against a plain mean of the departures of 4 x 4 pixels."""
    reader = CubeReader.from_cube(wet)
    offsets = [(row, column) for row in (0, 48, 96) for column in (0, 48, 96)]
    windows = [reader.cut(DATES - 1, at, (TILE, TILE), range(DATES - 1)) for at in offsets]
    scene = Scene((slice(0, SIDE), slice(0, SIDE)))
    for window in windows:
        scene.add(window.offset, model.scene_blocks(window))
    images = wet["backscatter"].values.astype(float)
    departure = images[-1] - images[:-1].mean(axis=0)
    blocks = departure.reshape(2, SIDE // BLOCK_PX, BLOCK_PX, -1, BLOCK_PX).mean(axis=(2, 4))
    np.testing.assert_allclose(scene._blocks[6:8], blocks, atol=1e-4)


def test_tiles_of_one_region_have_one_table(wet: xr.Dataset, model: Model) -> None:
    reader = CubeReader.from_cube(wet)
    window = reader.cut(DATES - 1, (0, 0), (SIDE, SIDE), range(DATES - 1))
    scene = Scene((slice(0, SIDE), slice(0, SIDE)))
    scene.add(window.offset, model.scene_blocks(window))
    first, last = scene.context((0, 0), TILE), scene.context((96, 96), TILE)
    assert first.shape == TABLE_SHAPE
    np.testing.assert_array_equal(first, last)
    np.testing.assert_allclose(first[-1, 0, 1:], WET_DB, atol=0.1)


def test_a_scene_without_data_has_no_context() -> None:
    assert np.isnan(Scene((slice(0, SIDE), slice(0, SIDE))).context((0, 0), TILE)).all()


def test_a_tile_cannot_explain_itself(wet: xr.Dataset, model: Model) -> None:
    """All of a corner darkens by 4 dB: more than a tile, a sixth of the scene."""
    changed = wet.copy(deep=True)
    changed["backscatter"][-1, :, :TILE, :TILE] -= 4.0
    before, after = expected(wet, model), expected(changed, model)
    np.testing.assert_allclose(after, before, atol=0.1)
    corner = expected(changed.isel(y=slice(TILE), x=slice(TILE)), model)
    np.testing.assert_allclose(
        np.median(corner - before[:, :TILE, :TILE], axis=(1, 2)), -4.0, atol=0.2
    )


def test_the_scene_is_hidden(wet: xr.Dataset, model: Model) -> None:
    """By ``context="none"``, and where conditions are set, which it would contradict."""
    mean = wet["backscatter"].values[-5:-1].mean(axis=0)  # of the four nearest images
    blind = Model(model.network, "blind", context="none")
    np.testing.assert_allclose(expected(wet, blind), mean, atol=1e-3)
    np.testing.assert_allclose(expected(wet, model), mean + WET_DB, atol=0.5)
    np.testing.assert_array_equal(
        expected(wet, model, conditions={"temperature": 5.0}),
        expected(wet, blind, conditions={"temperature": 5.0}),
    )
