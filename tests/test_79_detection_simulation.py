"""Persistent simulated changes: what is put in, where, and from when on."""

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from pydantic import ValidationError
from scipy import ndimage

from sarcast.errors import SarcastError
from sarcast.evaluation.detection.simulation import (
    ChangedCube,
    PersistentOptions,
    default_changes,
    with_persistent_changes,
)
from sarcast.evaluation.detection.truth import counted_changes, rasterized
from sarcast.evaluation.simulation.changes import Gaussian, Offset, Statistical

GRID = GeoBox((120, 120), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
WATCHED = 3


def cube(masks: bool = False) -> xr.Dataset:
    rng = np.random.default_rng(0)
    image = rng.normal(-10.0, 1.0, (9, 2, *GRID.shape.yx)).astype(np.float32)
    image[:, :, :, 100:] -= 6.0
    data = xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), image)},
        coords={
            "time": np.datetime64("2020-06-01", "ns") + np.arange(9) * np.timedelta64(6, "D"),
            "band": ["VV", "VH"],
            **xr_coords(GRID),
        },
    )
    if masks:
        forest = np.broadcast_to(np.arange(120) < 100, GRID.shape.yx)
        data = data.assign(forest=(("y", "x"), forest), open_land=(("y", "x"), ~forest))
    return data


OFFSET = (Offset(),)


def changed(data: xr.Dataset, changes=OFFSET, until: int = 7, seed: int = 0, **options):
    watched = data["time"].values[until - WATCHED + 1 : until + 1]
    return with_persistent_changes(
        data, watched, changes, PersistentOptions(**options), rng=np.random.default_rng(seed)
    )


def added(data: xr.Dataset, result: ChangedCube) -> np.ndarray:
    steps = result.cube.sizes["time"]
    return result.cube["backscatter"].values - data["backscatter"].values[:steps]


def test_only_the_shapes_of_the_watched_acquisitions_change() -> None:
    data = cube()
    before = data.copy(deep=True)
    result = changed(data)
    difference = added(data, result)
    inside = rasterized(result.truth.geometry, GRID)
    assert result.cube.sizes["time"] == 8  # nothing after the watch
    assert (difference[:5] == 0.0).all()
    np.testing.assert_allclose(difference[5:, :, inside], -2.5, atol=1e-5)
    assert (difference[5:, :, ~inside] == 0.0).all()
    xr.testing.assert_identical(data, before)


def test_truth_states_area_date_and_magnitude() -> None:
    data = cube()
    result = changed(data, [Offset((-1.0, 2.0)), Gaussian(2.0)])
    times = data["time"].values.astype("datetime64[s]")
    for row in result.truth.itertuples():
        assert row.area_ha == pytest.approx(row.geometry.area / 1e4, rel=2e-3)
        assert np.datetime64(row.earliest) == times[4]
        assert np.datetime64(row.latest) == times[5]
    kinds = result.truth.groupby("kind")["magnitude_db"].mean()
    assert kinds["offset -1/+2 dB"] == pytest.approx(2.0, abs=1e-4)
    assert kinds["gaussian 2 dB"] == pytest.approx(2.0, abs=0.3)
    counted = counted_changes(result.truth, times[4], times[5:8], min_area_ha=0.5)
    assert counted.all()


def test_spread_is_constant_in_time() -> None:
    data = cube()
    difference = added(data, changed(data, [Gaussian(2.0)]))[5:]
    np.testing.assert_allclose(difference[1], difference[0], atol=1e-5)
    np.testing.assert_allclose(difference[2], difference[0], atol=1e-5)


def test_statistical_change_gives_forest_the_level_of_open_land() -> None:
    data = cube(masks=True)
    watched = data["time"].values[5:8]
    forest = data["forest"].values
    result = with_persistent_changes(
        data, watched, [Statistical()], within=forest, rng=np.random.default_rng(0)
    )
    inside = rasterized(result.truth.geometry, GRID)
    assert not (inside & ~forest).any()
    assert result.cube["backscatter"].values[5:, :, inside].mean() == pytest.approx(-16.0, abs=0.3)


def test_a_change_that_needs_a_mask_is_left_out_without_it() -> None:
    assert set(changed(cube(), [Offset(), Statistical()]).truth["kind"]) == {"offset -2.5 dB"}
    with pytest.raises(SarcastError, match="none of the changes statistical"):
        changed(cube(), [Statistical()])


@pytest.mark.parametrize("seed", range(3))
def test_shapes_are_large_enough_apart_and_few(seed: int) -> None:
    options = PersistentOptions(share=0.08, apart_px=5)
    result = changed(cube(), seed=seed, share=0.08, apart_px=5)
    inside = rasterized(result.truth.geometry, GRID)
    assert len(result.truth) > 1
    assert (result.truth["area_ha"] >= options.change_ha).all()
    assert inside.mean() <= 0.08
    labels, count = ndimage.label(inside, np.ones((3, 3)))
    assert count == len(result.truth)
    grown = [ndimage.binary_dilation(labels == n + 1, np.ones((3, 3)), 5) for n in range(count)]
    assert not any((grown[n] & inside & (labels != n + 1)).any() for n in range(count))


def test_shapes_stay_on_land() -> None:
    data = cube()
    land = np.zeros(GRID.shape.yx, dtype=bool)
    land[20:80, 20:80] = True
    data["backscatter"][:, :, 30:40, 30:40] = np.nan
    result = with_persistent_changes(
        data, data["time"].values[5:8], [Offset()], within=land, rng=np.random.default_rng(0)
    )
    inside = rasterized(result.truth.geometry, GRID)
    assert not (inside & ~land).any()
    assert not inside[30:40, 30:40].any()


def test_onsets_are_known_where_they_are_random() -> None:
    data = cube()
    result = changed(data, onset="random", most=24, share=0.3, radius_px=(4, 6))
    times = data["time"].values.astype("datetime64[s]")
    difference = added(data, result)
    onsets = set()
    for row in result.truth.itertuples():
        inside = rasterized([row.geometry], GRID)
        shown = (difference[:, 0, inside] != 0.0).all(axis=1)
        onset = int(np.flatnonzero(shown)[0])
        assert shown[onset:].all()
        assert not difference[:onset, :, inside].any()
        assert (np.datetime64(row.earliest), np.datetime64(row.latest)) == tuple(
            times[onset - 1 : onset + 1]
        )
        onsets.add(onset)
    assert onsets == {5, 6, 7}


def test_the_same_seed_gives_the_same_changes() -> None:
    first, again, other = (changed(cube(), [Gaussian(1.0)], seed=seed) for seed in (1, 1, 2))
    xr.testing.assert_identical(first.cube, again.cube)
    assert not first.cube.equals(other.cube)


def test_no_room_and_unknown_dates() -> None:
    with pytest.raises(SarcastError, match="no change of 50 ha fits"):
        changed(cube(), change_ha=50.0)
    data = cube()
    with pytest.raises(SarcastError, match="not all in the cube"):
        with_persistent_changes(
            data,
            data["time"].values[:2] + np.timedelta64(1, "h"),
            [Offset()],
            rng=np.random.default_rng(0),
        )
    with pytest.raises(ValidationError, match="must ascend"):
        PersistentOptions(radius_px=(5.0, 2.0))


def test_default_changes_of_one_and_of_two_bands() -> None:
    names = [change.name for change in default_changes(["VV", "VH"])]
    assert names == [
        "offset -2.5 dB",
        "offset -1 dB",
        "offset +0/-1.5 dB",
        "statistical",
        "gaussian 2.5 dB",
    ]
    single = [change.name for change in default_changes(["VV"])]
    assert single == ["offset -2.5 dB", "offset -1 dB", "statistical", "gaussian 2.5 dB"]
