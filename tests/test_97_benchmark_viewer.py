"""The benchmark of the viewer, on a cube of a few tiles."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import viewer
from sarcast.cube import open_cube

SIDE, DATES = 300, 6


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmark")
    made = viewer.large_cube(folder, SIDE, DATES)
    assert viewer.large_cube(folder, SIDE, DATES) == made  # kept, not built again
    return made


def test_the_cube_has_the_size_and_the_level_asked_for(cube: Path) -> None:
    images = open_cube(cube)["backscatter"]
    assert images.sizes == {"time": DATES, "band": 2, "y": SIDE, "x": SIDE}
    power = 10.0 ** (images.isel(time=0).values / 10.0)
    np.testing.assert_allclose(10 * np.log10(np.median(power, axis=(1, 2))), (-11.3, -18.3), atol=1)


def test_tiles_of_the_web() -> None:
    assert viewer._web_tile(25.0, 62.5, 0) == (0, 0)
    assert viewer._web_tile(0.1, -0.1, 1) == (1, 1)
    assert viewer._web_tile(-179.9, 85.05, 5) == (0, 0)  # the corner of the square
    phi = np.radians(62.2426)
    row = (1.0 - np.log(np.tan(phi) + 1.0 / np.cos(phi)) / np.pi) / 2.0 * 2**12
    assert viewer._web_tile(25.7473, 62.2426, 12) == (2340, int(row))


def test_a_line_has_median_and_95_percent() -> None:
    assert viewer.row("a", [1.0] * 10 + [2.0] * 10 + [3.0]) == "| a | 2.00 | 2.00 |"


@pytest.mark.service
def test_the_page_and_the_server_are_measured(
    cube: Path, browser: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "STEPS", 3)
    monkeypatch.setattr(viewer, "WINDOW_S", 0.0)
    with (
        viewer.window(browser) as opened,
        viewer.served(cube, "--model", "mean") as (url, _, process),
    ):
        page = viewer.open_page(opened, url)
        seconds = viewer.steps(page, SIDE, np.random.default_rng(1))
        assert len(seconds) == 3
        assert all(0.0 < each < 60.0 for each in seconds)
        assert len(viewer.slider(page, SIDE)) == 4
        tiles = viewer.asked(viewer.tile_urls(url, SIDE, DATES - 1, np.random.default_rng(2)))
        assert len(tiles) == 9
        assert 0.05 < viewer.greatest_memory(process) < 2.0
