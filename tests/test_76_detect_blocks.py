"""Areas larger than a block: the same results, with intermediate ones on disk."""

from pathlib import Path
from typing import Any

import geopandas.testing
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import sarcast
from sarcast.detection import area as area_module
from sarcast.detection import detect as detect_module
from sarcast.detection.area import Area, Plots, in_memory
from sarcast.detection.blocks import Sampling, blocks_of
from sarcast.detection.detect import Detection
from sarcast.detection.ground import survey
from sarcast.detection.judged import JudgedOptions, crop
from sarcast.errors import SarcastError
from sarcast.io.boxes import even_side
from sarcast.io.scratch import Scratch
from sarcast.prediction.strategies import STRATEGIES
from small_changes import DATES, changed_cube

MEAN = STRATEGIES["mean"]
FIRST, LATER = DATES - 2, np.datetime64("2100-01-01", "ns")


def detect(cube: xr.Dataset, **settings: Any) -> Detection:
    """With few strata, since the area is small."""
    return sarcast.detect(cube, MEAN, **{"strata": 4, **settings})


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return changed_cube(FIRST)


@pytest.fixture(scope="module")
def at_once(cube: xr.Dataset) -> Detection:
    return detect(cube)


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    side=st.integers(1, 50),
    halo=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_blocks_fill_an_area_once(shape: tuple[int, int], side: int, halo: tuple[int, int]) -> None:
    count, numbers = np.zeros(shape, dtype=int), np.arange(shape[0] * shape[1]).reshape(shape)
    for block in blocks_of(shape, side, halo):
        count[block.core] += 1
        np.testing.assert_array_equal(numbers[block.outer][block.inner], numbers[block.core])
        for core, outer, by, pixels in zip(block.core, block.outer, halo, shape, strict=True):
            assert outer.start == max(core.start - by, 0)
            assert outer.stop == min(core.stop + by, pixels)
    assert (count == 1).all()


@given(shape=st.tuples(st.integers(1, 40), st.integers(1, 40)), step=st.integers(1, 7))
def test_the_same_pixels_are_sampled_however_an_area_is_cut(
    shape: tuple[int, int], step: int
) -> None:
    sampling, numbers = Sampling(step), np.arange(shape[0] * shape[1]).reshape(shape)
    cores = [block.core for block in blocks_of(shape, 9, (0, 0))]
    taken = np.concatenate([sampling.take(numbers[core], core) for core in cores])
    np.testing.assert_array_equal(np.sort(taken), numbers[::step, ::step].ravel())
    ranks = np.concatenate([sampling.ranks(core, shape) for core in cores])
    np.testing.assert_array_equal(ranks, taken)


@pytest.mark.parametrize(
    ("shape", "side"),
    [
        ((2500, 2500), 1536),  # two of 1250, in steps of 512
        ((3000, 1000), 1536),
        ((1000, 900), 1024),
        ((2048, 2048), 2048),
        ((10_000, 10_000), 2048),
        ((25_000, 17_000), 2048),
    ],
)
def test_blocks_are_nearly_equal(shape: tuple[int, int], side: int) -> None:
    assert even_side(shape, 2048, 512) == side
    even, uneven = (len(blocks_of(shape, each, (0, 0))) for each in (side, 2048))
    assert even == uneven


def test_a_large_area_is_sampled_evenly() -> None:
    assert Sampling.of(2**22).step == 1
    assert Sampling.of(2**22 + 1).step == 2
    assert Sampling.of(25_000 * 17_000).step == 11


@pytest.mark.parametrize("settings", [{"block": 64}, {"block": 64, "workers": 3}, {"block": 96}])
def test_blocks_give_what_the_whole_gives(
    cube: xr.Dataset, at_once: Detection, settings: dict[str, int], tmp_path: Path
) -> None:
    found = detect(cube, scratch=tmp_path, **settings)
    assert len(at_once.events) > 0
    xr.testing.assert_identical(found.images.load(), at_once.images)
    geopandas.testing.assert_geodataframe_equal(found.events, at_once.events)
    assert found.threshold == at_once.threshold
    for name in ("strata", "counts", "combined"):
        np.testing.assert_array_equal(getattr(found.null, name), getattr(at_once.null, name))


def test_an_area_with_a_margin_is_cut_as_well(cube: xr.Dataset, tmp_path: Path) -> None:
    west, south, east, north = cube.odc.geobox.geographic_extent.boundingbox.bbox
    middle = (west + east) / 2.0
    area = f"{west},{south},{middle},{north}"
    whole, parts = (detect(cube, area=area, block=block) for block in (2048, 64))
    xr.testing.assert_identical(parts.images.load(), whole.images)


def test_intermediate_results_are_deleted_with_the_detection(
    cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = detect(cube, block=64, scratch=tmp_path)
    assert [*tmp_path.iterdir()]
    images = found.images
    del found
    assert images["evidence"].values.shape == cube["backscatter"].shape[-2:]
    del images
    assert not [*tmp_path.iterdir()]
    monkeypatch.setattr(detect_module, "describe_events", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        detect(cube, block=64, scratch=tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.fixture
def small_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two squares of 32 pixels, and more if they miss a stratum."""
    monkeypatch.setattr(area_module, "SQUARE_PX", 32)
    monkeypatch.setattr(area_module, "MOST_REPLAYED", 2 * 32**2)
    monkeypatch.setattr(area_module, "ENOUGH_PIXELS", 100)


@pytest.mark.usefixtures("small_squares")
def test_squares_are_drawn_where_change_is_looked_for(cube: xr.Dataset) -> None:
    strata = np.zeros(cube["backscatter"].shape[-2:], dtype=np.int8)
    strata[:64] = -1
    strata[40:43, 100:103] = 1
    strata[50:60, 3:13] = 2
    plots = Plots.sample_of(Area(crop(cube, None)), strata)
    assert plots is not None
    drawn = [block.core for block in plots.blocks]
    assert plots.regions == tuple(drawn)
    rare, drawn_at_random = drawn[:2], drawn[2:]
    assert rare == [(slice(32, 64), slice(0, 32)), (slice(32, 64), slice(96, 128))]
    assert len(drawn_at_random) == 2
    assert all(core[0].start >= 64 for core in drawn_at_random)
    np.testing.assert_array_equal(
        np.sort(plots.sample(strata)), np.sort(np.concatenate([strata[c].ravel() for c in drawn]))
    )


@pytest.mark.usefixtures("small_squares")
def test_a_large_area_is_replayed_in_squares(
    cube: xr.Dataset, at_once: Detection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(area_module, "SQUARE_PX", 64)
    monkeypatch.setattr(area_module, "MOST_REPLAYED", 2 * 64**2)
    found, cut = detect(cube), detect(cube, block=64)
    share = sum(found.null.area_km2) / sum(at_once.null.area_km2)
    assert share == pytest.approx(0.75, abs=0.01)
    disc_found = found.images["evidence"].values[at_once.images["changed"].values]
    assert disc_found.max() > 2.0 * found.null.threshold(1000.0)
    xr.testing.assert_identical(cut.images.load(), found.images)
    np.testing.assert_array_equal(cut.null.counts, found.null.counts)


def test_a_small_area_is_not_sampled(cube: xr.Dataset, at_once: Detection) -> None:
    assert Plots.sample_of(Area(crop(cube, None)), at_once.null.strata) is None


def test_what_does_not_fit_stays_on_disk(cube: xr.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    part = crop(cube, None)
    monkeypatch.setattr(area_module, "MOST_BYTES_IN_MEMORY", cube["backscatter"].nbytes - 1)
    assert np.shares_memory(in_memory(part).cube["backscatter"].values, cube["backscatter"].values)
    monkeypatch.undo()
    read = in_memory(part).cube
    assert not np.shares_memory(read["backscatter"].values, cube["backscatter"].values)
    xr.testing.assert_identical(read, cube)
    last = cube.transpose("y", "x", "band", "time").astype(np.float64)
    found = in_memory(crop(last, None)).cube["backscatter"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.values, last["backscatter"].values)


def test_no_pixel_is_left(cube: xr.Dataset, tmp_path: Path) -> None:
    area = Area(crop(cube, None), 64, Scratch(tmp_path, 64))
    dark = cube.assign(forest=(("y", "x"), np.zeros(cube["backscatter"].shape[-2:], dtype=bool)))
    area = Area(crop(dark, None), 64, Scratch(tmp_path, 64))
    with pytest.raises(SarcastError, match="no pixel is left to be judged"):
        survey(area, LATER, JudgedOptions(within=("forest",)))
