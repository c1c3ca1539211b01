import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from affine import Affine
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.image import imread
from odc.geo.geobox import GeoBox

from conftest import GRID
from sarcast.detection import styles
from sarcast.detection.quicklook import (
    downsampled,
    outlines,
    quicklook_figure,
    write_quicklook,
)
from small_detections import by_hand


def images(rows: int, columns: int) -> xr.Dataset:
    values = np.random.default_rng(4).normal(size=(2, rows, columns)).astype(np.float32)
    values[:, : rows // 2, 0] = np.nan
    values[1, -1, -1] = np.nan
    return xr.Dataset({"actual": (("band", "y", "x"), values)})


@pytest.mark.parametrize(("rows", "columns", "factor"), [(30, 20, 1), (40, 33, 2), (95, 7, 4)])
def test_large_images_are_block_means_of_the_pixels_with_data(
    rows: int, columns: int, factor: int
) -> None:
    cube = images(rows, columns)
    small, found = downsampled(cube, 30)
    assert found == factor
    mean = cube["actual"].values
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        flat = np.nanmean(mean, axis=0)
        blocks = [
            [np.nanmean(flat[y : y + factor, x : x + factor]) for x in range(0, columns, factor)]
            for y in range(0, rows, factor)
        ]
    np.testing.assert_allclose(small["actual"].values, blocks, rtol=1e-5)
    assert max(small["actual"].shape) <= 30


def test_outlines_are_in_columns_and_rows() -> None:
    block, ring, pixel = outlines(by_hand().events, ~GRID.transform)
    assert (block[0].min(axis=0).tolist(), block[0].max(axis=0).tolist()) == ([20, 10], [30, 16])
    assert len(ring) == 2
    assert (ring[1].min(axis=0).tolist(), ring[1].max(axis=0).tolist()) == ([52, 42], [53, 43])
    assert pixel[0].min(axis=0).tolist() == [5, 30]


def test_outlines_frame_the_pixels_of_events_in_all_panels() -> None:
    """Pixel i of a panel reaches from i - 0.5 to i + 0.5, here with blocks of two pixels."""
    grid = GeoBox((600, 800), GRID.transform, GRID.crs)
    event = np.zeros(grid.shape, dtype=np.int32)
    event[100:160, 200:300] = 1
    figure = quicklook_figure(by_hand(event, grid))
    for axes in figure.axes[:3]:
        lines = {
            str(each.get_label()): each
            for each in axes.collections
            if isinstance(each, LineCollection)
        }
        assert {name: len(each.get_segments()) for name, each in lines.items()} == {
            "loss": 1, "gain": 0, "mixed": 0,
        }  # fmt: skip
        assert to_hex(lines["loss"].get_edgecolor()[0]) == "#c2410c"
        (shown,) = axes.images
        values = np.ma.filled(shown.get_array(), np.nan)
        assert values.shape == (300, 400)
        (left, top), (right, bottom) = (
            edge(np.asarray(lines["loss"].get_segments()[0]), axis=0) for edge in (np.min, np.max)
        )
        assert (left, top, right, bottom) == (99.5, 49.5, 149.5, 79.5)
    difference = np.ma.filled(figure.axes[2].images[0].get_array(), np.nan)
    assert np.argwhere(difference < -1.0).min(axis=0).tolist() == [50, 100]
    assert np.argwhere(difference < -1.0).max(axis=0).tolist() == [79, 149]


@pytest.mark.parametrize("shape", [(60, 80), (8, 400), (1300, 40)])
def test_the_image_is_1600_pixels_wide_at_most(shape: tuple[int, int], tmp_path: Path) -> None:
    grid = GeoBox(shape, Affine(10.0, 0, 5e5, 0, -10.0, 6.9e6), "EPSG:32635")
    write_quicklook(by_hand(np.zeros(shape, dtype=np.int32), grid), tmp_path / "quicklook.png")
    height, width = imread(tmp_path / "quicklook.png").shape[:2]
    assert width == 1600 and 100 < height < 1200
    assert [path.name for path in tmp_path.iterdir()] == ["quicklook.png"]


def test_both_images_have_one_stretch() -> None:
    first, second = (np.linspace(*ends, 101, dtype=np.float32) for ends in ((-20, -10), (-10, 0)))
    first[0] = np.nan
    low, high = styles.grey_range(first, second)
    assert (low, high) == pytest.approx((-19.6, -0.4), abs=0.2)
    black, white = styles.grey_range(np.full(4, -12.0, dtype=np.float32))
    assert (black, white) == (-12.0, -11.0)
    assert styles.grey_range(np.full(4, np.nan)) == (-25.0, 0.0)


def test_an_area_without_data_is_drawn(tmp_path: Path) -> None:
    detection = by_hand(np.zeros(GRID.shape, dtype=np.int32))
    for name in ("actual", "expected", "difference"):
        detection.images[name].values[:] = np.nan
    write_quicklook(detection, tmp_path / "quicklook.png")
    assert imread(tmp_path / "quicklook.png").size


def test_the_title_counts_events_and_acquisitions() -> None:
    text = "3 events, 0.8 ha together: 3 acquisitions, 2020-08-16 to 2020-08-28, "
    title = quicklook_figure(by_hand()).get_suptitle()
    assert title == f"{text}against a baseline until 2020-08-10"
    none = quicklook_figure(by_hand(np.zeros(GRID.shape, dtype=np.int32)))
    assert none.get_suptitle().startswith("no event: ")
