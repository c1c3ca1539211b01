"""The page of ``sarcast view`` with events, other conditions, in a file and in a notebook."""

import base64
import csv
import io
import queue
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from affine import Affine
from matplotlib.image import imread
from odc.geo.geobox import GeoBox

from browsing import Opener, Screen, on_ramp, settle, shades, side, stretch, where
from conftest import GRID
from sarcast.cube import open_cube
from sarcast.detection import styles
from sarcast.detection.output import write_detection
from sarcast.evaluation.detection.truth import read_truth
from sarcast.prediction import load_model
from sarcast.viewer.answers import Answers
from sarcast.viewer.export import write_folder, write_page
from sarcast.viewer.server import STATIC
from sarcast.viewer.view import Shown, open_path
from sarcast.viewer.widget import Messages
from served import served
from small_detections import by_hand, event_image
from small_scenes import AREA

pytestmark = pytest.mark.service

HTML = "<img src=x onerror=\"document.title='owned'\">"
NEAR = where(GRID, 40, 30, 2.0)
"""All of the small grid, each of its pixels 5 x 5 of the screen."""
SHIFTS = {0: 0.0, 1: -3.0, 2: 2.0, 3: -1.0}
"""Shift of VV in each event of the detection by hand, dB."""


@pytest.fixture(scope="module")
def detection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results") / "<b>found"
    folder.mkdir()
    found = by_hand()
    found.events.loc[found.events["id"] == 1, "cover"] = HTML
    write_detection(found, folder, "change-2020-08-28", {"sarcast:model": HTML})
    (folder / "run.yaml").write_text("detect:\n  cube: nowhere.zarr\n")
    return folder


@pytest.fixture(scope="module")
def url(detection: Path) -> Iterator[str]:
    with served(detection) as url:
        yield url


@pytest.fixture(scope="module")
def shift() -> np.ndarray:
    """Actual − expected of VV, dims (y, x), NaN where there is no data."""
    event = event_image()
    values = np.vectorize(SHIFTS.__getitem__)(event)
    values[0, 0] = np.nan
    return values


def ground(page: Any) -> np.ndarray:
    """Colour of the map where nothing is drawn."""
    colour = page.evaluate("() => getComputedStyle(viewer.map.element).backgroundColor")
    return np.array([float(part) for part in colour[4:-1].split(",")])


def on_screen(page: Any, column: float, row: float) -> dict[str, float]:
    """Where on the map a place of the small grid is."""
    at = list(GRID.transform * (column, row))
    x, y = page.evaluate("(at) => viewer.map.map.getPixelFromCoordinate(at)", at)
    return {"x": x, "y": y}


def right_edge(page: Any) -> tuple[float, float]:
    """A place in the plot of a series at its last date."""
    box = page.locator(".series .u-over").first.bounding_box()
    return box["x"] + box["width"] - 2, box["y"] + 20


# --- layers of a detection ------------------------------------------------------------------------


def test_differences_have_the_colours_of_their_style(
    open_page: Opener, url: str, shift: np.ndarray
) -> None:
    state = {"l": side("difference", "VV"), "s": "1", "v": NEAR, "o": "0"}
    page = open_page(url, state)
    wanted = on_ramp(shift, styles.DIFFERENCE)
    wanted[0, 0] = ground(page)
    assert Screen(page, GRID).compare(wanted) > 80_000


def test_classes_have_the_colours_of_their_style(open_page: Opener, url: str) -> None:
    page = open_page(url, {"l": side("change"), "s": "1", "v": NEAR, "o": "0"})
    colours = [ground(page), *(np.array(stop.rgba[:3]) for stop in styles.CHANGE[1:4])]
    assert Screen(page, GRID).compare(np.stack(colours)[event_image()].astype(float)) > 80_000
    legend = page.locator(".legend.left .category").all_text_contents()
    assert legend == ["loss", "gain", "mixed"]


def test_weak_evidence_is_half_transparent(open_page: Opener, url: str) -> None:
    page = open_page(url, {"l": side("evidence"), "s": "1", "v": NEAR, "o": "0"})
    evidence = np.where(event_image() > 0, 5.0, 0.5)
    at = [stop.value for stop in styles.EVIDENCE]
    alpha = np.interp(evidence, at, [stop.alpha / 255.0 for stop in styles.EVIDENCE])[..., None]
    wanted = alpha * on_ramp(evidence, styles.EVIDENCE) + (1.0 - alpha) * ground(page)
    wanted[0, 0] = ground(page)
    assert Screen(page, GRID).compare(wanted) > 80_000


def test_the_date_of_a_change_is_read_out(open_page: Opener, url: str) -> None:
    page = open_page(url, {"l": side("change-date"), "r": side("difference", "VV"), "v": NEAR})
    page.locator(".map").hover(position=on_screen(page, 25.5, 13.5))
    text = page.locator(".readout").text_content()
    assert "pixel 25, 13" in text
    assert "left 2020-08-22" in text
    assert "right VV −3 VH −3 dB" in text


def test_a_grid_in_degrees_is_drawn_as_it_is(
    open_page: Opener, tmp_path: Path, shift: np.ndarray
) -> None:
    grid = GeoBox(GRID.shape, Affine(2.0**-12, 0.0, 25.0, 0.0, -(2.0**-12), 62.0), "EPSG:4326")
    write_detection(by_hand(grid=grid), tmp_path, "change-2020-08-28", {"sarcast:model": "base"})
    (tmp_path / "run.yaml").write_text("detect:\n  cube: nowhere.zarr\n")
    with served(tmp_path) as url:
        state = {"l": side("difference", "VV"), "s": "1", "o": "0"}
        page = open_page(url, {**state, "v": where(grid, 40, 30, 2.0**-14)})
        wanted = on_ramp(shift, styles.DIFFERENCE)
        wanted[0, 0] = ground(page)
        assert Screen(page, grid).compare(wanted) > 40_000
        scale = page.locator(".scale")
        length, unit = scale.text_content().split()
        metres = float(length) * {"m": 1.0, "km": 1000.0}[unit]
        of_a_degree = metres / (scale.bounding_box()["width"] * 2.0**-14)
        assert 111_200 * np.cos(np.radians(62.0)) < of_a_degree < 111_500
        page.close()  # which asks for nothing more once the server has ended


# --- events ---------------------------------------------------------------------------------------


def ids(page: Any) -> list[str]:
    return page.locator(".events tbody td:has([data-key$='/select'])").all_text_contents()


def test_events_are_sorted_and_filtered(open_page: Opener, url: str) -> None:
    page = open_page(url)
    assert sorted(ids(page)) == ["1", "2", "3"]
    header = page.get_by_role("button", name="area, ha")
    header.click()
    assert ids(page) == ["3", "2", "1"]
    header.click()
    assert ids(page) == ["1", "2", "3"]
    assert page.locator("th[aria-sort=descending]").count() == 1
    box = page.get_by_role("searchbox")
    for text, expected in (
        ("area_ha > 0.1", ["1", "2"]),
        ("gain", ["2"]),
        ("nothing", []),
        ("", ["1", "2", "3"]),
    ):
        box.fill(text)
        assert ids(page) == expected


def test_an_event_is_shown_with_its_attributes(open_page: Opener, url: str) -> None:
    page = open_page(url)
    page.get_by_role("button", name="Event 2: show on the map").click()
    page.get_by_role("heading", name="Event 2").wait_for()
    assert "0.240" in page.locator(".detail").text_content()
    centre = list(GRID.transform * (52.5, 42.5))
    page.wait_for_function(
        "(at) => at.every((value, axis) => Math.abs(viewer.map.place[axis] - value) < 5)",
        arg=centre,
    )
    outline = [int(part, 16) for part in ("ff", "ff", "ff")]
    settle(page)
    page.wait_for_timeout(300)
    found = Screen(page, GRID).colours.reshape(-1, 3)
    assert (found == outline).all(axis=1).sum() > 100


def test_an_event_is_found_by_a_click_on_the_map(open_page: Opener, url: str) -> None:
    page = open_page(url, {"v": NEAR})
    at = page.evaluate(
        "(at) => viewer.map.map.getPixelFromCoordinate(at)", list(GRID.transform * (27, 14))
    )
    page.locator(".map").click(position={"x": at[0], "y": at[1]})
    page.wait_for_function("() => viewer.state.get('event') === '1'")
    page.get_by_role("tab", name="Events").click()
    assert page.locator("tr[aria-selected=true] td").nth(1).text_content() == "1"


def test_names_in_files_cannot_become_html(open_page: Opener, url: str) -> None:
    page = open_page(url)
    page.get_by_role("button", name="Event 1: show on the map").click()
    assert HTML in page.locator(".detail").text_content()
    assert page.locator("h1").text_content() == "<b>found"
    assert HTML in page.locator(".top").text_content()
    assert page.locator("img").count() == 0
    assert page.locator("h1 b").count() == 0
    assert page.title() == "<b>found – sarcast"


def test_a_verdict_is_written_and_kept(open_page: Opener, url: str, detection: Path) -> None:
    page = open_page(url)
    for name in ("Event 1: a true change", "Event 2: a false alarm"):
        page.get_by_role("button", name=name).click()
    pressed = page.locator(".events [aria-pressed=true]")
    pressed.nth(1).wait_for()
    again = open_page(url)
    kept = again.locator(".events [aria-pressed=true]")
    kept.nth(1).wait_for()
    assert kept.count() == 2
    again.get_by_label("Judged").select_option("true")
    assert ids(again) == ["1"]
    again.get_by_label("Judged").select_option("all")
    assert len(read_truth(detection / "verdicts.gpkg", GRID)) == 1
    again.get_by_role("button", name="Event 2: a false alarm").click()
    again.wait_for_function(
        "() => document.querySelectorAll('.events [aria-pressed=true]').length === 1"
    )


# --- other conditions -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model_url(viewed_cube: Path) -> Iterator[str]:
    with served(viewed_cube, "--model", "base") as url:
        yield url


def expected_under(url: str, conditions: dict[str, Any], index: int, box: list[int]) -> np.ndarray:
    """What the server expects under conditions, asked without the page; dims (band, y, x)."""
    view = requests.get(f"{url}api/view", timeout=30).json()
    body = {"index": index, "box": box, "conditions": conditions, "client": "test"}
    headers = {"X-Sarcast-Token": view["token"]}
    answer = requests.post(f"{url}api/what-if", json=body, headers=headers, timeout=60)
    answer.raise_for_status()
    shape = [int(side) for side in answer.headers["X-Shape"].split(",")]
    return np.frombuffer(answer.content, "<f4").reshape(shape)[0]


def test_sliders_show_what_the_model_expects_then(
    open_page: Opener, model_url: str, viewed_cube: Path
) -> None:
    state = {"l": side("actual", "VV"), "r": side("actual", "VV"), "s": "0",
             "v": where(AREA, 210, 150, 10.0), "c": stretch("VV")}  # fmt: skip
    page = open_page(model_url, state)
    page.get_by_role("tab", name="What if").click()
    temperature = page.get_by_role("slider", name="temperature")
    for value in ("20", "5", "-10"):  # the last one counts
        temperature.fill(value)
    page.get_by_role("slider", name="precipitation, 1 day before").fill("30")
    page.get_by_text("pixels in").wait_for()
    settle(page)
    assert page.get_by_label("Right layer").input_value() == "what-if"
    rows, columns = AREA.shape
    last = open_cube(viewed_cube).sizes["time"] - 1
    wet = expected_under(
        model_url, {"temperature": -10, "precipitation": [0, 30, 0, 0]}, last, [0, 0, rows, columns]
    )
    assert Screen(page, AREA).compare(shades(wet[0])) > 80_000
    dry = expected_under(model_url, {}, last, [0, 0, rows, columns])
    assert np.nanmean(np.abs(wet - dry)) > 0.05
    page.get_by_role("button", name="As it was").click()
    page.wait_for_function("() => viewer.whatIf.status.textContent.includes('pixels in')")
    settle(page)
    assert Screen(page, AREA).compare(shades(dry[0])) > 80_000


SLOW_FIRST = """() => {
  const real = fetch;
  let first = true;
  globalThis.fetch = async (path, options) => {
    if (!first || !String(path).includes('what-if')) return real(path, options);
    first = false;
    const answer = await real(path, {...options, signal: undefined});
    globalThis.firstCame = true;
    await new Promise((resolve) => setTimeout(resolve, 3000));
    return answer;
  };
}"""


def test_a_late_answer_does_not_replace_a_newer_one(open_page: Opener, model_url: str) -> None:
    state = {"l": side("actual", "VV"), "r": side("actual", "VV"), "s": "0",
             "v": where(AREA, 60, 60, 1.0), "c": stretch("VV"), "t": "what-if"}  # fmt: skip
    page = open_page(model_url, state)
    page.evaluate(SLOW_FIRST)
    temperature = page.get_by_role("slider", name="temperature")
    temperature.fill("30")
    page.wait_for_function("() => globalThis.firstCame")  # else the server would refuse it
    temperature.fill("-20")
    page.get_by_text("pixels in").wait_for()
    settle(page)
    newer = Screen(page, AREA).colours
    page.wait_for_timeout(3500)
    np.testing.assert_array_equal(Screen(page, AREA).colours, newer)


def test_the_series_has_what_the_model_expected(open_page: Opener, model_url: str) -> None:
    page = open_page(model_url, {"p": "200,100"})
    page.wait_for_function("() => viewer.series.series?.expected", timeout=60_000)
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV").click()
    with Path(saved.value.path()).open() as file:
        rows = list(csv.DictReader(file))
    given = requests.get(f"{model_url}api/series?x=200&y=100&expected=1", timeout=60).json()
    expected = [value for value in given["expected"]["VV"] if value is not None]
    assert expected
    assert [float(row["expected_vv_db"]) for row in rows if row["expected_vv_db"]] == expected
    assert float(rows[-1]["actual_vv_db"]) == pytest.approx(given["actual"]["VV"][-1])
    page.mouse.move(*right_edge(page))
    text = page.locator(".series .values").text_content()
    assert f"expected {expected[-1]:.2f}".replace("-", "−") in text


# --- a page that is a file ------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["file", "folder"])
def test_an_exported_page_shows_the_same_without_a_server(
    open_page: Opener, detection: Path, shift: np.ndarray, tmp_path: Path, form: str
) -> None:
    view = open_path(detection, Shown(None, None, None)).current()
    if form == "file":
        path = tmp_path / "page.html"
        write_page(view, path)
    else:
        write_folder(view, tmp_path)
        path = tmp_path / "index.html"
    state = {"l": side("difference", "VV"), "s": "1", "v": NEAR, "o": "0"}
    page = open_page(path.as_uri(), state, offline=True)
    wanted = on_ramp(shift, styles.DIFFERENCE)
    wanted[0, 0] = ground(page)
    assert Screen(page, GRID).compare(wanted) > 80_000
    assert sorted(ids(page)) == ["1", "2", "3"]
    assert page.locator(".verdict").count() == 0
    assert page.locator("img").count() == 0


# --- notebook -------------------------------------------------------------------------------------

KERNEL = """() => {
  const listeners = new Set();
  const model = {
    get: (name) => ({height: 500})[name],
    on: (_, listener) => listeners.add(listener),
    off: (_, listener) => listeners.delete(listener),
    send: async (content) => {
      const [json, buffers] = await askKernel(content);
      const views = buffers.map((text) => {
        const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
        const padded = new Uint8Array(bytes.length + 3);
        padded.set(bytes, 3);  // as kernels give them: at any offset
        return new DataView(padded.buffer, 3, bytes.length);
      });
      for (const listener of [...listeners]) listener(json, views);
    },
  };
  globalThis.stop = sarcastViewer.widget.render({model, el: document.querySelector('#cell')});
  globalThis.listeners = listeners;
}"""


def test_the_widget_shows_the_same_by_messages(browser: Any, viewed_cube: Path) -> None:
    replies: queue.Queue[tuple[dict[str, Any], list[bytes]]] = queue.Queue()
    messages = Messages(
        Answers(open_path(viewed_cube, Shown(load_model("base"), None, None))),
        lambda content, buffers: replies.put((content, buffers)),
    )
    asked: list[str] = []

    def ask(_source: Any, content: dict[str, Any]) -> list[Any]:
        asked.append(content["request"])
        messages.receive(content)
        reply, buffers = replies.get(timeout=60)
        return [reply, [base64.b64encode(part).decode() for part in buffers]]

    context = browser.new_context(viewport={"width": 1000, "height": 700})
    page = context.new_page()
    page.expose_binding("askKernel", ask)
    page.set_content('<p>In [1]:</p><div id="cell" style="width: 960px"></div>')
    page.add_style_tag(content=(STATIC / "viewer.css").read_text())
    page.add_script_tag(content=(STATIC / "viewer.js").read_text())
    page.evaluate(KERNEL)
    root = page.locator(".sarcast-view")
    page.locator(".map canvas.images").wait_for()
    assert root.bounding_box()["height"] == 500
    page.get_by_label("Left layer").select_option("actual")
    page.wait_for_function("() => document.querySelector('.busy').textContent === ''")
    page.wait_for_timeout(1000)
    size = page.locator(".map").bounding_box()
    middle = {key: size[key] + size[side] / 4 for key, side in (("x", "width"), ("y", "height"))}
    picture = page.screenshot(clip={**middle, "width": 200, "height": 100})
    shown = imread(io.BytesIO(picture), format="png").reshape(-1, 3)
    assert len(np.unique(shown, axis=0)) > 100
    page.mouse.click(size["x"] + size["width"] / 2 + 20, size["y"] + size["height"] / 2)
    page.get_by_role("heading", name="Pixel").wait_for()
    column, row = map(int, page.locator(".series h2").text_content()[6:].split(","))
    vv = open_cube(viewed_cube)["backscatter"].isel(time=-1, band=0, y=row, x=column).item()
    page.mouse.move(*right_edge(page))
    assert f"VV {vv:.2f}".replace("-", "−") in page.locator(".series .values").text_content()
    assert {"view", "tile", "series"} <= set(asked)
    page.evaluate("() => stop()")
    page.wait_for_function("() => listeners.size === 0")
    assert page.locator(".map").count() == 0
    context.close()
