"""A base map from elsewhere: asked for by a flag alone, and drawn where it belongs."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imsave
from pyproj import Transformer

from browsing import Screen, settle, side, where
from sarcast.viewer.base_map import BaseMap
from sarcast.viewer.view import Shown, open_path
from served import served
from services import Answer, Request, web
from small_scenes import AREA, HIDDEN
from small_views import serving
from test_90_cli import fails

COLOURS = np.array([[[200, 0, 0], [0, 200, 0]], [[0, 0, 200], [200, 200, 0]]], dtype=np.uint8)
"""Of the quarters around ``CENTRE``, by whether a pixel is below and right of it."""
CENTRE = (20, 30)
"""Row and column of the grid, amid pixels without data."""
HALF = 20_037_508.342789244
"""Half of the length of the equator in the projection of the web, metres."""


def tile(request: Request) -> Answer:
    """A tile of the web whose pixels have the colours of their quarters of the grid."""
    z, x, y = map(int, request.path.removesuffix(".png").split("/")[-3:])
    step = 2.0 * HALF / 2**z / 256
    across, down = (np.arange(256) + 0.5 + 256 * number for number in (x, y))
    to_grid = Transformer.from_crs("EPSG:3857", "EPSG:32635", always_xy=True)
    east, north = to_grid.transform(*np.meshgrid(across * step - HALF, HALF - down * step))
    column, row = ~AREA.transform * (east, north)
    painted = COLOURS[(row > CENTRE[0]).astype(int), (column > CENTRE[1]).astype(int)]
    file = io.BytesIO()
    imsave(file, painted, format="png")
    return Answer(file.getvalue())


@pytest.mark.service
def test_it_lies_below_pixels_without_data_where_it_belongs(
    browser: Any, viewed_cube: Path
) -> None:
    wanted = np.full((*AREA.shape, 3), np.nan)
    rows, columns = (np.arange(part.stop) for part in HIDDEN)
    wanted[HIDDEN] = COLOURS[
        (rows >= CENTRE[0]).astype(int)[:, None], (columns >= CENTRE[1]).astype(int)
    ]
    wanted[CENTRE[0] - 2 : CENTRE[0] + 2] = np.nan  # where colours meet, they are mixed
    wanted[:, CENTRE[1] - 2 : CENTRE[1] + 2] = np.nan
    with (
        web(tile) as (tiles, asked),
        served(viewed_cube, "--base-map", tiles + "/{z}/{x}/{y}.png") as url,
    ):
        page = browser.new_page(viewport={"width": 1300, "height": 800})
        both = side("actual", "VV")
        page.goto(f"{url}#l={both}&r={both}&v={where(AREA, 30, 20, 2.0)}")
        page.evaluate("async () => { globalThis.viewer = await sarcast.viewer }")
        settle(page)
        page.wait_for_load_state("networkidle")
        assert Screen(page, AREA).compare(wanted) > 20_000
        assert page.locator(".credit").text_content() == tiles.removeprefix("http://")
        page.close()
    assert asked
    assert {request.headers.get("referer") for request in asked} == {url.split("#")[0]}


def test_the_page_may_load_images_from_its_server_alone(viewed_cube: Path) -> None:
    opened = open_path(viewed_cube, Shown())
    base = BaseMap("https://tiles.example.org:8443/a/{z}/{x}/{y}.png", "of mine")
    with serving(opened, base_map=base) as client:
        policy = client.ask("/").headers["content-security-policy"]
        view = json.loads(client.ask("/api/view").body)
    assert "img-src 'self' data: blob: https://tiles.example.org:8443;" in policy
    assert view["base_map"]["url"] == base.url
    assert view["base_map"]["credit"] == "of mine"
    with serving(opened) as client:
        assert "tiles" not in client.ask("/").headers["content-security-policy"]
        assert "base_map" not in json.loads(client.ask("/api/view").body)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://tiles.example.org/{z}/{x}/{y}.png",
        "https://tiles.example.org/{z}/{x}.png",
        "https://tiles.example.org;script-src *//{z}/{x}/{y}.png",
        "https://user@tiles.example.org/{z}/{x}/{y}.png",
    ],
)
def test_other_addresses_are_refused(
    url: str, viewed_cube: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("view", viewed_cube, "--no-browser", "--base-map", url)
    assert "https://tiles.example.org/{z}/{x}/{y}.png" in fails(capsys, 2, *words)


def test_options_without_a_meaning_are_refused(
    viewed_cube: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "with --base-map only" in fails(
        capsys, 2, "view", viewed_cube, "--base-map-credit", "mine"
    )
    words = ("--export", tmp_path / "page.html", "--base-map", "https://t.org/{z}/{x}/{y}.png")
    assert "--base-map cannot be given with --export" in fails(
        capsys, 2, "view", viewed_cube, *words
    )
