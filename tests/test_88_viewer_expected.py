"""Expected images while they are looked at: squares, margins, previous images, conditions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from sarcast.cube import open_cube
from sarcast.prediction import load_model
from sarcast.prediction.predict import predict
from sarcast.prediction.strategies import STRATEGIES
from sarcast.sensor.conditions import HEADING, PLATFORM, PRECIPITATION, TEMPERATURE
from sarcast.viewer import expected as shown
from sarcast.viewer.cubes import DatasetImages
from sarcast.viewer.expected import Forecast
from sarcast.viewer.requests import CancelledError, Conditions
from sarcast.viewer.view import Shown, view_of_cube
from sarcast.windows import Expected, Predictor, PreviousOptions, Window
from small_cubes import COLUMNS, DATES, ROWS, code, coordinate_cube

WHOLE = slice(0, ROWS), slice(0, COLUMNS)


@pytest.fixture(autouse=True)
def _small_squares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Squares so small that even a small cube has many."""
    monkeypatch.setattr(shown, "SQUARE", 16)
    monkeypatch.setattr(shown, "WHAT_IF_SQUARE", 16)
    monkeypatch.setattr(shown, "MARGIN", 4)
    monkeypatch.setattr(shown, "SERIES_SIDE", 8)


@dataclass
class Spy:
    """Gives the target itself, and remembers the windows."""

    size: int | None = None
    name: str = "spy"
    previous: int | None = None
    uses_target: bool = False
    windows: list[Window] = field(default_factory=list)

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        self.windows += windows
        return [Expected(window.target, window.target + 1000.0) for window in windows]


def cube() -> xr.Dataset:
    return coordinate_cube().odc.assign_crs("EPSG:32635")


def forecast(predictor: Predictor, source: xr.Dataset | None = None, previous: int = 2) -> Forecast:
    images = DatasetImages(cube() if source is None else source)
    return Forecast(images, predictor, PreviousOptions(previous=previous))


def pixels(time: int) -> np.ndarray:
    indices = np.meshgrid(*map(np.arange, (2, ROWS, COLUMNS)), indexing="ij")
    return code(time, *indices).astype("f4")


@pytest.mark.parametrize("size", [None, 24, 64])
def test_squares_join_to_the_image(size: int | None) -> None:
    spy = Spy(size)
    found = forecast(spy).read(5, WHOLE)
    np.testing.assert_array_equal(found[0], pixels(5))
    np.testing.assert_array_equal(found[1], pixels(5) + 1000.0)
    shapes = {window.target.shape[-2:] for window in spy.windows}
    assert max(shapes) == ((24, 24) if size is None else (size, size))
    assert size is None or len(shapes) == 1


def test_a_part_is_predicted_once() -> None:
    spy = Spy()
    predicted = forecast(spy)
    box = slice(3, 14), slice(20, 40)
    for _ in range(2):
        np.testing.assert_array_equal(predicted.read(5, box)[0], pixels(5)[:, box[0], box[1]])
    assert len(spy.windows) == 2


@pytest.mark.parametrize("name", ["latest", "mean", "closest-geometry"])
def test_strategies_give_what_predict_gives(name: str) -> None:
    source = cube()
    options = PreviousOptions(previous=3)
    whole = predict(source, STRATEGIES[name], source["time"][7], baseline=options)
    found = forecast(STRATEGIES[name], source, previous=3).read(7, WHOLE)
    np.testing.assert_allclose(found[0], whole["expected"].values, rtol=1e-6)  # tiles are blended
    assert np.isnan(found[1]).all()


def test_previous_images_that_do_not_see_a_square_are_passed_over() -> None:
    source = cube()
    source["backscatter"][6, :, :, 32:] = np.nan
    found = forecast(STRATEGIES["latest"], source, previous=1).read(7, WHOLE)[0]
    np.testing.assert_array_equal(found[:, :, :32], pixels(6)[:, :, :32])
    # squares of 24 columns from 28 on; more than half of their pixels are missing in image 6
    np.testing.assert_array_equal(found[:, :, 32:], pixels(5)[:, :, 32:])


def test_too_few_previous_images_give_no_image() -> None:
    predicted = forecast(Spy(), previous=3)
    assert predicted.can_predict() == [False] * 3 + [True] * (DATES - 3)
    assert np.isnan(predicted.read(2, WHOLE)).all()
    assert np.isfinite(predicted.read(3, WHOLE)).all()


def test_a_baseline_that_stays_fixed() -> None:
    spy, source = Spy(), cube()
    images = DatasetImages(source)
    before = source["time"].values[4]
    Forecast(images, spy, PreviousOptions(previous=2), before).read(9, WHOLE)
    assert {tuple(window.times[:-1]) for window in spy.windows} == {
        tuple(source["time"].values[2:4])
    }


def test_layers_are_made_of_actual_and_expected_images() -> None:
    view = view_of_cube(cube(), "cube", Shown(Spy(), PreviousOptions(previous=2)))
    assert list(view.layers) == ["actual", "expected", "difference"]  # a spy is not trained
    assert np.nanmax(np.abs(view.tile("difference", 5, 0, 0, 0))) == 0.0
    np.testing.assert_array_equal(view.tile("expected", 5, 0, 0, 0)[:, :ROWS, :COLUMNS], pixels(5))
    assert [each["expected"] for each in view.acquisitions] == [False] * 2 + [True] * (DATES - 2)


# --- other conditions -----------------------------------------------------------------------------


def test_conditions_reach_the_predictor() -> None:
    spy = Spy()
    given = Conditions(
        temperature=20.0, precipitation=(4.0, 3.0, 2.0, 1.0), orbit_direction="ascending",
        platform="sentinel-1b",
    )  # fmt: skip
    values = given.values(62.0)
    image = forecast(spy).what_if(5, (slice(2, 30), slice(5, 45)), values, lambda: False)
    np.testing.assert_array_equal(image[0], pixels(5)[:, 2:30, 5:45])
    for window in spy.windows:
        row = window.conditions[-1]
        assert row[TEMPERATURE] == 20.0
        assert row[PRECIPITATION].tolist() == [4.0, 3.0, 2.0, 1.0]
        assert row[PLATFORM] == 1.0
        assert -30.0 < row[HEADING] < 0.0
        assert (window.conditions[:-1, TEMPERATURE] != 20.0).all()


def test_an_image_is_cancelled_between_squares() -> None:
    spy = Spy()
    answers = iter([False, False, True])
    with pytest.raises(CancelledError):
        forecast(spy).what_if(5, WHOLE, {"temperature": 1.0}, lambda: next(answers))
    assert len(spy.windows) == 2


def test_a_view_is_cut_once_for_all_conditions() -> None:
    spy = Spy()
    shown_here = forecast(spy)
    for temperature in (1.0, 2.0):
        shown_here.what_if(5, WHOLE, {"temperature": temperature}, lambda: False)
    first, second = np.split(np.array([id(window.previous) for window in spy.windows]), 2)
    np.testing.assert_array_equal(first, second)
    assert len(set(first)) == len(first)


def test_of_views_only_the_last_one_is_kept() -> None:
    spy = Spy()
    shown_here, wet = forecast(spy), {"temperature": 1.0}
    here, there = (slice(0, 16), slice(0, 16)), (slice(20, 36), slice(20, 36))
    for box in (here, there, there, here):
        shown_here.what_if(5, box, wet, lambda: False)
    first, second, third, last = (id(window.previous) for window in spy.windows)
    assert second == third
    assert last != first


def test_a_large_view_is_cut_into_equal_squares() -> None:
    spy = Spy()
    forecast(spy).what_if(5, (slice(0, 30), slice(0, 30)), {"temperature": 1.0}, lambda: False)
    sizes = {window.target.shape[1:] for window in spy.windows}
    assert len(spy.windows) == 4
    assert len(sizes) == 1


def test_a_model_is_shown_no_context_where_conditions_are_set(world_cube: Path) -> None:
    source = open_cube(world_cube)
    box = slice(0, source.sizes["y"]), slice(0, source.sizes["x"])
    index = source.sizes["time"] - 1
    model = load_model("base", precision="float32")
    hidden = load_model("base", precision="float32", context="none")
    wet = {"precipitation_0": 10.0}
    found, alone = (
        Forecast(DatasetImages(source), each, PreviousOptions()).what_if(
            index, box, wet, lambda: False
        )
        for each in (model, hidden)
    )
    np.testing.assert_allclose(found, alone, atol=1e-5)


def test_a_model_gives_what_predict_gives(
    world_cube: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tile of predict is one square here, and both see the same scene."""
    source = open_cube(world_cube)
    monkeypatch.setattr(shown, "SQUARE", 64)
    model = load_model("base", precision="float32")
    whole = predict(source, model, source["time"][-1])
    box = slice(0, source.sizes["y"]), slice(0, source.sizes["x"])
    found = Forecast(DatasetImages(source), model, PreviousOptions()).read(
        source.sizes["time"] - 1, box
    )
    np.testing.assert_allclose(found[0], whole["expected"].values, atol=1e-3)
    np.testing.assert_allclose(found[1], whole["std"].values, atol=1e-3)


# --- series ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("column", "row"), [(0, 0), (COLUMNS - 1, ROWS - 1), (23, 17)])
def test_a_series_is_that_of_the_pixel(column: int, row: int) -> None:
    series = forecast(Spy()).series(column, row, lambda: False)
    assert series["expected"]["VH"] == [
        None if time < 2 else code(time, 1, row, column) for time in range(DATES)
    ]
    assert series["std"]["VV"][5] == code(5, 0, row, column) + 1000.0


def test_a_series_takes_the_values_of_the_map() -> None:
    predicted = forecast(STRATEGIES["latest"], previous=1)
    predicted.read(5, WHOLE)
    for key in list(predicted.kept._values):
        predicted.kept._values[key] = predicted.kept._values[key] + 7.0
    series = predicted.series(23, 17, lambda: False)
    assert series["expected"]["VV"][5] == code(4, 0, 17, 23) + 7.0
    assert series["expected"]["VV"][6] == code(5, 0, 17, 23)


def test_a_series_is_cancelled() -> None:
    with pytest.raises(CancelledError):
        forecast(Spy()).series(3, 3, lambda: True)
