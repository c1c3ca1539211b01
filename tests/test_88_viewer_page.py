"""The page of ``sarcast view`` in a real browser, against the arrays that it shows."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

from browsing import Opener, Screen, settle, shades, side, stretch, where
from sarcast.cube import open_cube
from served import served
from small_scenes import AREA, HIDDEN, build, write_scenes

pytestmark = pytest.mark.service

ACTIVE = "() => document.activeElement.ariaLabel || document.activeElement.textContent"


def place(column: float, row: float, metres_per_pixel: float = 10.0) -> str:
    return where(AREA, column, row, metres_per_pixel)


@pytest.fixture(scope="module")
def images(viewed_cube: Path) -> np.ndarray:
    """Dims (time, band, y, x), dB."""
    return open_cube(viewed_cube)["backscatter"].to_numpy()


@pytest.fixture(scope="module")
def cube_url(viewed_cube: Path) -> Iterator[str]:
    with served(viewed_cube) as url:
        yield url


# --- what is painted ------------------------------------------------------------------------------


def test_pixels_have_the_colour_of_their_value(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "r": side("actual", "VH"), "s": "0.5", "v": place(210, 150),
             "c": stretch("VV", "VH")}  # fmt: skip
    screen = Screen(open_page(cube_url, state), AREA)
    half = screen.columns.size // 2
    assert screen.compare(shades(images[-1, 0]), slice(0, half - 2)) > 40_000
    assert screen.compare(shades(images[-1, 1]), slice(half + 2, None)) > 40_000


def test_a_magnified_pixel_is_a_square_of_one_colour(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "s": "1", "v": place(200, 100, 2.0), "c": stretch("VV")}
    screen = Screen(open_page(cube_url, state), AREA)
    assert screen.compare(shades(images[-1, 0])) > 100_000


def test_from_afar_the_valid_pixels_are_averaged(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "s": "1", "v": place(210, 150, 20.0), "c": stretch("VV")}
    screen = Screen(open_page(cube_url, state), AREA)
    screen.rows, screen.columns = screen.rows // 2, screen.columns // 2
    halves = images[-1, 0].reshape(150, 2, 210, 2)
    with np.errstate(invalid="ignore"):
        valid = np.isfinite(halves).sum(axis=(1, 3))
        means = np.nansum(halves, axis=(1, 3)) / np.where(valid, valid, np.nan)
    assert screen.compare(shades(means)) > 20_000


def test_a_dense_screen_shows_finer_pixels(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "s": "1", "v": place(210, 150, 20.0), "c": stretch("VV")}
    screen = Screen(open_page(cube_url, state, device_scale_factor=2), AREA, 2)
    assert screen.compare(shades(images[-1, 0])) > 80_000


def test_a_pixel_without_data_is_transparent(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "r": side("actual", "VV"), "v": place(60, 40),
             "c": stretch("VV")}  # fmt: skip
    page = open_page(cube_url, state)
    ground = page.evaluate("() => getComputedStyle(viewer.map.element).backgroundColor")
    background = np.array([float(part) for part in ground[4:-1].split(",")])
    wanted = shades(images[-1, 0])
    assert np.isnan(wanted[HIDDEN]).all()
    wanted[HIDDEN] = background
    assert Screen(page, AREA).compare(wanted) > 40_000


def test_the_composite_is_both_bands_and_their_ratio(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    ranges = f"{stretch('VV')};dB|grey|VH~-28~-10;dB|grey|VV − VH~0~14"
    state = {"l": side("actual", "RGB"), "s": "1", "v": place(210, 150), "c": ranges}
    screen = Screen(open_page(cube_url, state), AREA)
    vv, vh = images[-1]
    channels = [shades(vv), shades(vh, -28, -10), shades(vv - vh, 0, 14)]
    assert screen.compare(np.stack([channel[..., 0] for channel in channels], axis=-1)) > 80_000


def test_another_stretch_needs_no_request(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    state = {"l": side("actual", "VV"), "s": "1", "v": place(210, 150), "c": stretch("VV")}
    page = open_page(cube_url, state)
    tiles: list[str] = []
    page.on(
        "request", lambda request: tiles.append(request.url) if "/tile/" in request.url else None
    )
    page.get_by_label("Low end of the colours of VV, dB").first.fill("-15")
    page.keyboard.press("Tab")
    page.get_by_label("High end of the colours of VV, dB").first.fill("-9")
    page.keyboard.press("Enter")
    settle(page)
    assert Screen(page, AREA).compare(shades(images[-1, 0], -15, -9)) > 80_000
    assert tiles == []


def test_the_stretch_fits_what_is_in_view(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    page = open_page(cube_url, {"l": side("actual", "VV"), "s": "1"})
    page.get_by_label("Stretch VV to what is in view").first.click()
    settle(page)
    low, high = np.nanpercentile(images[-1, 0], [2, 98])
    found = page.get_by_label("end of the colours of VV, dB").all()
    assert [float(box.input_value()) for box in found[:2]] == pytest.approx([low, high], abs=0.1)


# --- swipe and dates ------------------------------------------------------------------------------


@pytest.mark.parametrize("density", [1, 2])
def test_the_bar_parts_two_dates(
    open_page: Opener, cube_url: str, viewed_cube: Path, images: np.ndarray, density: int
) -> None:
    times = [f"{time}Z" for time in np.datetime_as_string(open_cube(viewed_cube)["time"], unit="s")]
    state = {"l": side("actual", "VV", times[0]), "r": side("actual", "VV", times[3]),
             "s": "0.4", "d": "right", "v": place(210, 150), "c": stretch("VV")}  # fmt: skip
    page = open_page(cube_url, state, device_scale_factor=density)
    screen = Screen(page, AREA, density)
    edge = round(0.4 * screen.columns.size)
    assert screen.compare(shades(images[0, 0]), slice(0, edge - 2 * density)) > 20_000
    assert screen.compare(shades(images[3, 0]), slice(edge + 2 * density, None)) > 20_000

    bar = page.get_by_role("slider", name="Bar between")
    box, area = bar.bounding_box(), page.locator(".map-area").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(area["x"] + 0.6 * area["width"], box["y"] + 60, steps=4)
    page.mouse.up()
    assert bar.get_attribute("aria-valuenow") == "60"
    screen = Screen(page, AREA, density)
    edge = round(0.6 * screen.columns.size)
    assert screen.compare(shades(images[0, 0]), slice(0, edge - 2 * density)) > 40_000
    assert screen.compare(shades(images[3, 0]), slice(edge + 2 * density, None)) > 5_000


def test_the_slider_changes_the_date(open_page: Opener, cube_url: str, images: np.ndarray) -> None:
    state = {"l": side("actual", "VH"), "r": side("actual", "VH"), "v": place(210, 150),
             "c": stretch("VH")}  # fmt: skip
    page = open_page(cube_url, state)
    slider = page.get_by_role("slider", name="Date")
    for index in (2, 0, 4):
        slider.fill(str(index))
        settle(page)
        assert Screen(page, AREA).compare(shades(images[index, 1])) > 80_000
        assert "2020-03-" in slider.get_attribute("aria-valuetext")


def test_keys_do_what_the_help_says(open_page: Opener, cube_url: str, viewed_cube: Path) -> None:
    page = open_page(cube_url)
    times = np.datetime_as_string(open_cube(viewed_cube)["time"], unit="m")
    shown = [str(time).replace("T", " ") for time in times]
    date = page.locator(".timeline output")

    def press(*keys: str) -> None:
        for key in keys:
            page.keyboard.press(key)

    press("ArrowLeft", "ArrowLeft", "ArrowRight")
    assert date.text_content().startswith(shown[-2])
    bar = page.get_by_role("slider", name="Bar between")
    press("[", "[", "]")
    assert bar.get_attribute("aria-valuenow") == "45"
    left = page.get_by_label("Left band").input_value()
    right = page.get_by_label("Right band").input_value()
    assert left != right
    press("x")
    assert page.get_by_label("Left band").input_value() == right
    before = page.evaluate("() => viewer.map.resolution")
    press("+")
    page.wait_for_function("(before) => viewer.map.resolution < 0.6 * before", arg=before)
    page.wait_for_timeout(300)
    centre = page.evaluate("() => viewer.map.place")
    press("Shift+ArrowRight")
    page.wait_for_function("(x) => viewer.map.place[0] > x + 1", arg=centre[0])
    press("0")
    page.wait_for_function("(before) => Math.abs(viewer.map.resolution - before) < 1", arg=before)
    press(" ")
    play = page.get_by_role("button", name="Play the dates")
    assert play.get_attribute("aria-pressed") == "true"
    page.wait_for_function(
        "(first) => !viewer.timeline.text.textContent.startsWith(first)", arg=shown[-2]
    )
    press(" ")
    assert play.get_attribute("aria-pressed") == "false"
    press("?")
    assert page.get_by_role("dialog").is_visible()
    press("Escape")
    assert not page.get_by_role("dialog").is_visible()


def test_only_the_chosen_pass_is_stepped_through(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url)
    page.get_by_label("Passes to step through").select_option("descending")
    found = set()
    for _ in range(4):
        page.keyboard.press("Tab")  # away from the list
        page.locator(".map").focus()
        page.keyboard.press("ArrowLeft")
        found.add(page.locator(".timeline output").text_content()[:16])
    assert found == {"2020-03-13 04:51", "2020-03-07 04:51", "2020-03-01 04:51"}


# --- series ---------------------------------------------------------------------------------------


def test_the_series_of_a_pixel_is_that_of_the_cube(
    open_page: Opener, cube_url: str, images: np.ndarray
) -> None:
    page = open_page(cube_url, {"v": place(210, 150)})
    size = page.evaluate("() => viewer.map.map.getSize()")
    page.locator(".map").click(position={"x": size[0] / 2 + 50.3, "y": size[1] / 2 - 30.3})
    page.get_by_role("heading", name="Pixel").wait_for()
    column, row = (int(part) for part in page.locator(".series h2").text_content()[6:].split(","))
    assert (column, row) == (260, 119)
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    lines = Path(saved.value.path()).read_text().splitlines()
    assert saved.value.suggested_filename == "pixel-260-119.csv"
    names = lines[0].split(",")
    vv = [
        float(line.split(",")[next(i for i, n in enumerate(names) if "vv" in n.lower())])
        for line in lines[1:]
    ]
    np.testing.assert_allclose(vv, images[:, 0, 119, 260], atol=0.006)
    plot = page.locator(".series .u-over").first
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 20)
    text = page.locator(".series .values").text_content()
    assert f"VV {images[-1, 0, 119, 260]:.2f}".replace("-", "−") in text
    picture = page.locator(".series canvas").first.screenshot()
    inks = imread(io.BytesIO(picture), format="png").reshape(-1, 3)
    assert len(np.unique(inks, axis=0)) > 20


# --- state, size, names ---------------------------------------------------------------------------


def test_a_link_holds_the_state(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url, {"v": place(100, 90, 5.0), "s": "0.3"})
    page.keyboard.press("ArrowLeft")
    page.get_by_label("Right band").select_option("RGB")
    page.get_by_label("Low end of the colours of VV, dB").first.fill("-19")
    page.keyboard.press("Enter")
    page.wait_for_function("() => location.hash.includes('-19')")
    link = page.url
    again = open_page(cube_url)
    again.goto("about:blank")
    again.goto(link)
    again.evaluate("() => sarcast.ready")
    again.evaluate("async () => { globalThis.viewer = await sarcast.viewer }")
    ask = "() => JSON.stringify([viewer.state.link, viewer.map.place, viewer.map.swipe])"
    assert again.evaluate(ask) == page.evaluate(ask)
    np.testing.assert_array_equal(Screen(again, AREA).colours, Screen(page, AREA).colours)


def test_nonsense_in_a_link_is_left_out(open_page: Opener, cube_url: str) -> None:
    state = {"l": side("<img src=x>", "QQ", "never"), "s": "7", "v": "1,NaN,x", "p": "a,b",
             "c": "dB|grey|VV~5~-5", "t": "nothing"}  # fmt: skip
    page = open_page(cube_url, state)
    assert page.get_by_label("Left layer").input_value() == "actual"
    assert page.evaluate("() => viewer.map.swipe") == 0.5


def test_the_map_follows_the_size_of_the_window(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url, {"l": side("actual", "VV")})
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("() => viewer.map.map.getSize()[0] > 690")
    wide = page.evaluate("() => document.documentElement.scrollWidth")
    assert wide <= 700
    page.wait_for_function("() => document.querySelector('canvas.images').clientWidth === 700")


def test_every_control_has_a_name(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll('button, select, input, [role=slider]')]
        .filter((one) => !(one.getAttribute('aria-label') || one.textContent.trim()
          || one.closest('label')?.textContent.trim() || one.getAttribute('aria-hidden')))
        .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def test_tab_reaches_every_control(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url)
    page.evaluate("() => document.activeElement.blur()")
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate(ACTIVE))
    for name in ("Left layer", "Right band", "Date", "Play the dates", "Help with keys", "Series"):
        assert name in reached
    assert any(name.startswith("Bar between") for name in reached if name)


def test_the_page_is_dark_where_the_system_is(open_page: Opener, cube_url: str) -> None:
    def luminance(scheme: str) -> float:
        page = open_page(cube_url, color_scheme=scheme)
        colour = page.evaluate(
            "() => getComputedStyle(document.querySelector('.sarcast-view')).backgroundColor"
        )
        return sum(float(part) for part in colour[4:-1].split(","))

    assert luminance("light") > 600
    assert luminance("dark") < 150


# --- a cube that grows ----------------------------------------------------------------------------


def test_the_map_takes_the_context_that_was_prepared(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url)
    attributes = page.evaluate(
        "() => document.querySelector('canvas.images').getContext('webgl').getContextAttributes()"
    )
    assert attributes["antialias"] is False


def test_the_icon_comes_after_the_first_image(open_page: Opener, cube_url: str) -> None:
    page = open_page(cube_url)
    page.locator("link[rel=icon][href='static/icon.svg']").wait_for(state="attached")
    page.wait_for_function(
        """() => {
          const began = (part) => performance.getEntriesByType('resource')
            .filter(({name}) => name.includes(part)).map(({startTime}) => startTime);
          const [icon, tiles] = [began('icon.svg'), began('api/tile')];
          return icon.length > 0 && Math.min(...icon) > Math.max(...tiles);
        }"""
    )


NO_WEBGL = """() => {
  const real = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...options) {
    return kind.includes('webgl') ? null : real.call(this, kind, ...options);
  };
}"""


def test_a_browser_without_webgl_is_told_what_to_do(browser: Any, cube_url: str) -> None:
    context = browser.new_context()
    context.add_init_script(f"({NO_WEBGL})()")
    page = context.new_page()
    page.goto(cube_url)
    page.get_by_role("alert").wait_for()
    assert "the map needs WebGL; turn it on" in page.get_by_role("alert").inner_text()
    context.close()


def test_new_dates_appear_while_the_cube_is_viewed(open_page: Opener, tmp_path: Path) -> None:
    scenes = write_scenes(tmp_path / "scenes", range(2))
    build(scenes, tmp_path / "cube.zarr")
    with served(tmp_path / "cube.zarr") as url:
        state = {"l": side("actual", "VV"), "r": side("actual", "VV"), "v": place(210, 150),
                 "c": stretch("VV")}  # fmt: skip
        page = open_page(url, state)
        slider = page.get_by_role("slider", name="Date")
        assert slider.get_attribute("max") == "1"
        write_scenes(scenes, range(2, 3))
        grown = build(scenes, tmp_path / "cube.zarr")
        page.wait_for_function("() => document.querySelector('[type=range]').max === '2'")
        assert page.get_by_text("1 new acquisition").is_visible()
        slider.fill("2")
        settle(page)
        image = grown["backscatter"].sel(band="VV").isel(time=2).to_numpy()
        assert Screen(page, AREA).compare(shades(image)) > 80_000
        page.close()  # which asks for nothing more once the server has ended
