"""Detection from end to end, on a cube of speckle with a loss of 4 dB from a known date on."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pydantic
import pytest
import torch
import xarray as xr
from shapely.geometry import box

import sarcast
from sarcast.detection import prepare
from sarcast.detection.detect import Detection, DetectOptions
from sarcast.detection.null import Prior
from sarcast.detection.null_file import SHIPPED, write_shipped
from sarcast.errors import SarcastError
from sarcast.prediction.model import Model
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.strategies import STRATEGIES, Strategy
from sarcast.windows import Expected, Predictor, Window
from small_changes import (
    CENTRE,
    DATES,
    FOREST_DB,
    PIXEL_M,
    SIDE,
    changed_cube,
    disc,
    forest,
    quiet_cube,
    times,
)

MEAN = STRATEGIES["mean"]
FIRST = DATES - 2
"""The first date with the change: the second of three that are watched by default."""
LOSS = disc()


def detect(cube: xr.Dataset, predictor: Predictor, **settings: Any) -> Detection:
    """With few strata, since the area is small."""
    return sarcast.detect(cube, predictor, **{"strata": 4, **settings})


def date(index: int) -> str:
    return str(times()[index].astype("datetime64[D]"))


@pytest.fixture(scope="module")
def cube() -> xr.Dataset:
    return changed_cube(FIRST)


@pytest.fixture(scope="module")
def found(cube: xr.Dataset) -> Detection:
    return detect(cube, MEAN)


def overlap(mask: np.ndarray, wanted: np.ndarray = LOSS) -> float:
    """Intersection over union."""
    return float((mask & wanted).sum() / (mask | wanted).sum())


def finds(detection: Detection, wanted: np.ndarray = LOSS) -> bool:
    """Whether one event lies on the change and is about as large."""
    event = detection.images["event"].values
    there = np.unique(event[wanted & (event > 0)])
    return len(there) == 1 and overlap(event == there[0], wanted) > 0.7


# --- what is found --------------------------------------------------------------------------------


def test_the_change_is_found_dated_and_outlined(found: Detection) -> None:
    (event,) = found.events.itertuples()
    assert overlap(found.images["changed"].values) > 0.8
    assert event.date == event.latest == "2020-05-14T04:51:02Z"
    assert event.previous_date == event.earliest == "2020-05-08T04:51:02Z"
    assert event.direction == "loss"
    for band, level in zip(("vv", "vh"), FOREST_DB, strict=True):
        before, after = (getattr(event, f"{when}_{band}_db") for when in ("before", "after"))
        assert before == pytest.approx(level, abs=0.4)
        assert after == pytest.approx(level - 4.0, abs=0.8)
        assert getattr(event, f"mean_{band}_db") == pytest.approx(after - before)
    assert event.area_ha == pytest.approx(LOSS.sum() * PIXEL_M**2 / 1e4, rel=0.15)
    assert event.evidence > found.threshold
    assert event.p_value == pytest.approx(10.0**-event.evidence, rel=1e-3)
    assert event.looks == 3.0
    row, column = CENTRE
    x, y = 500_000.0 + PIXEL_M * (column + 0.5), 6_900_000.0 - PIXEL_M * (row + 0.5)
    assert event.geometry.centroid.distance(geopandas.points_from_xy([x], [y])[0]) < 2 * PIXEL_M
    assert found.events.crs.to_epsg() == 32635


def test_the_images_are_means_over_the_watched_acquisitions(
    cube: xr.Dataset, found: Detection
) -> None:
    values, images = cube["backscatter"].values, found.images
    expected = values[DATES - 19 : DATES - 3].mean(axis=0)
    np.testing.assert_allclose(images["expected"], expected, atol=1e-4)
    np.testing.assert_allclose(images["actual"], values[-3:].mean(axis=0), atol=1e-4)
    np.testing.assert_allclose(images["difference"], images["actual"] - images["expected"])
    assert np.isnan(images["std"]).all()
    for name in ("expected", "actual", "difference", "std", "z"):
        assert images[name].dims == ("band", "y", "x")
        assert images[name].dtype == np.float32
        assert images[name].attrs.get("units") == (None if name == "z" else "dB")
    assert images["z"].std() == pytest.approx(1.0, abs=0.5)
    assert images["time"] == times()[-1]
    np.testing.assert_array_equal(found.watched, times()[-3:])
    assert found.baseline == times()[-4]


def test_the_images_agree_with_the_events(found: Detection) -> None:
    images, changed = found.images, found.images["changed"].values
    assert changed.dtype == bool
    np.testing.assert_array_equal(images["event"].values > 0, changed)
    np.testing.assert_array_equal(np.isnat(images["change_date"].values), ~changed)
    assert set(images["change_date"].values[changed]) == {times()[FIRST].astype("M8[s]")}
    assert (images["looks"] == 3).all()
    evidence = images["evidence"].values
    np.testing.assert_allclose(images["p_value"].values, 10.0**-evidence, rtol=1e-3)
    np.testing.assert_array_equal(found.judged, np.isfinite(evidence))
    assert found.events["evidence"][0] == pytest.approx(evidence[changed].max(), rel=1e-5)
    assert found.changed_share == pytest.approx(changed.sum() / found.judged.sum())
    for name in ("evidence", "p_value", "looks", "changed", "event", "change_date"):
        assert images[name].dims == ("y", "x")
        assert images[name].attrs == {}
    assert found.grid == images["expected"].odc.geobox


def test_next_to_nothing_is_found_where_nothing_changed(found: Detection) -> None:
    """Hardly a false event is asked for in so small an area; p-values are about uniform."""
    events, below = 0, []
    for seed in (1, 2, 3, 4):
        quiet = detect(quiet_cube(seed), MEAN)
        events += len(quiet.events)
        assert (quiet.events.dtypes == found.events.dtypes).all()
        assert quiet.events.crs == found.events.crs
        assert quiet.images["changed"].any() == (len(quiet.events) > 0)
        below.append([(quiet.images["p_value"].values < share).mean() for share in (0.1, 0.01)])
    assert events <= 1
    for share, found_share in zip((0.1, 0.01), np.mean(below, axis=0), strict=True):
        assert share / 5 < found_share < 5 * share


def test_moving_fields_do_not_hide_steady_forest(cube: xr.Dataset) -> None:
    """With one stratum for both, a loss that fields could show by themselves is lost."""
    slight = changed_cube(FIRST - 1, (-1.5, -1.5))
    evidence = [
        sarcast.detect(slight, MEAN, strata=strata).images["evidence"].values[LOSS].max()
        for strata in (4, 1)
    ]
    assert evidence[0] > 2.0 * evidence[1]


@pytest.mark.parametrize("shift_db", [-2.0, -8.0, -16.0])
def test_outlines_and_means_of_slight_and_of_strong_changes(shift_db: float) -> None:
    """The evidence of a strong change reaches far beyond it."""
    detection = detect(changed_cube(FIRST - 1, (shift_db, shift_db)), MEAN)
    assert finds(detection)
    assert detection.events["mean_vv_db"][0] == pytest.approx(shift_db, rel=0.25)


def test_a_network_is_taken_as_well(cube: xr.Dataset) -> None:
    """One whose weights are 0, which expects the mean."""
    options = TemporalOptions(
        widths=(16, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=16,
        decoder_blocks=(1, 1, 1, 1), fine_width=8, embedding=16,
    )  # fmt: skip
    network = Temporal(options).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    detection = detect(cube, Model(network, "average"))
    assert finds(detection)
    assert np.isfinite(detection.images["std"]).all()
    mean = cube["backscatter"].values[-19:-3].mean(axis=0)
    np.testing.assert_allclose(detection.images["expected"], mean, atol=0.02)


# --- the baseline ---------------------------------------------------------------------------------


def test_no_image_after_the_baseline_is_used_for_what_is_expected(
    cube: xr.Dataset, found: Detection
) -> None:
    spoilt = cube.copy(deep=True)
    spoilt["backscatter"][-3:] = 1e9
    detection = detect(spoilt, MEAN)
    np.testing.assert_array_equal(detection.images["expected"], found.images["expected"])
    for name in ("strata", "counts", "combined"):
        np.testing.assert_array_equal(getattr(detection.null, name), getattr(found.null, name))
    assert detection.threshold == found.threshold


def test_what_comes_after_the_watched_acquisitions_is_not_read(cube: xr.Dataset) -> None:
    cut = detect(cube.isel(time=slice(0, FIRST)), MEAN)
    spoilt = cube.copy(deep=True)
    spoilt["backscatter"][FIRST:] = 1e9
    until = detect(spoilt, MEAN, until=date(FIRST - 1))
    assert until.images.drop_vars("time").equals(cut.images.drop_vars("time"))
    assert until.events.equals(cut.events)


@pytest.mark.parametrize(
    ("settings", "watched", "before"),
    [
        ({"at": date(FIRST)}, [FIRST], FIRST),
        ({"until": date(FIRST), "acquisitions": 2}, [FIRST - 1, FIRST], FIRST - 1),
        ({"until": dt.date.fromisoformat(date(FIRST)), "acquisitions": 1}, [FIRST], FIRST),
        ({"since": date(FIRST - 2)}, range(FIRST - 2, DATES), FIRST - 2),
        ({"gap": 2}, range(DATES - 3, DATES), DATES - 5),
        ({"baseline": date(FIRST - 3)}, range(DATES - 3, DATES), FIRST - 3),
        ({"acquisitions": 5, "previous": 4}, range(DATES - 5, DATES), DATES - 5),
    ],
)
def test_what_is_watched_and_from_which_baseline(
    cube: xr.Dataset, settings: dict[str, object], watched: list[int], before: int
) -> None:
    detection = detect(cube, MEAN, **settings)
    np.testing.assert_array_equal(detection.watched, times()[list(watched)])
    assert detection.baseline == times()[before - 1]
    previous = settings.get("previous", 16)
    expected = cube["backscatter"].values[before - previous : before].mean(axis=0)
    np.testing.assert_allclose(detection.images["expected"], expected, atol=1e-4)
    assert finds(detection)
    assert detection.events["date"][0] == "2020-05-14T04:51:02Z"


def test_the_chooser_of_the_baseline_has_its_effect(cube: xr.Dataset, found: Detection) -> None:
    other = detect(cube, MEAN, chooser="same-season", previous=4)
    assert not other.images["expected"].equals(found.images["expected"])
    assert finds(other)


# --- where, and which changes ---------------------------------------------------------------------


def outline(rows: slice, columns: slice) -> geopandas.GeoSeries:
    shape = box(
        500_000.0 + PIXEL_M * columns.start, 6_900_000.0 - PIXEL_M * rows.stop,
        500_000.0 + PIXEL_M * columns.stop, 6_900_000.0 - PIXEL_M * rows.start,
    )  # fmt: skip
    return geopandas.GeoSeries([shape], crs="EPSG:32635")


AROUND = slice(0, SIDE - 6), slice(0, CENTRE[1] + 50)


def test_an_area_is_searched_alone(cube: xr.Dataset, tmp_path: Path) -> None:
    file = tmp_path / "area.gpkg"
    outline(*AROUND).to_file(file)
    inside = detect(cube, MEAN, area=str(file))
    assert finds(inside, LOSS[AROUND])
    xr.testing.assert_equal(
        inside.images["actual"].drop_vars("time"),
        cube["backscatter"][-3:].mean("time").isel(y=AROUND[0], x=AROUND[1]),
    )
    west, south, east, north = outline(*AROUND).to_crs("EPSG:4326").total_bounds
    by_box = detect(cube, MEAN, area=f"{west},{south},{east},{north}")
    assert by_box.events["date"][0] == inside.events["date"][0] == "2020-05-14T04:51:02Z"


@pytest.mark.parametrize("how", ["within", "outside"])
def test_polygons_and_cover(cube: xr.Dataset, tmp_path: Path, how: str) -> None:
    file = tmp_path / "polygon.gpkg"
    outline(*AROUND).to_file(file)
    covered = cube.assign(forest=(("y", "x"), forest()))
    inside = np.zeros((SIDE, SIDE), dtype=bool)
    inside[AROUND] = True
    for name, mask in ((str(file), inside), ("forest", forest())):
        detection = detect(covered, MEAN, **{how: (name,)})
        np.testing.assert_array_equal(detection.judged, mask if how == "within" else ~mask)
        assert finds(detection) == (how == "within")
        assert set(detection.events["cover"]) <= {"forest", ""}
        assert not detection.images["changed"].values[~detection.judged].any()


def test_losses_and_gains(cube: xr.Dataset) -> None:
    gained = changed_cube(FIRST, (3.0, 3.0))
    for used, direction in ((cube, "loss"), (gained, "gain")):
        other = "gain" if direction == "loss" else "loss"
        detection = detect(used, MEAN, direction=direction)
        assert finds(detection)
        assert detection.events["direction"][0] == direction
        assert not finds(detect(used, MEAN, direction=other))


def test_bands() -> None:
    only_vh = changed_cube(FIRST, (0.0, -4.0))
    assert finds(detect(only_vh, MEAN))
    vh, vv = (detect(only_vh, MEAN, bands=(band,)) for band in ("VH", "VV"))
    assert finds(vh)
    assert vh.images["band"].values.tolist() == ["VH"]
    assert [name for name in vh.events if name.startswith("mean_")] == ["mean_vh_db"]
    assert not finds(vv)
    with pytest.raises(SarcastError, match="--bands names XX, but the cube has VV and VH"):
        detect(only_vh, MEAN, bands=("VH", "XX"))


def test_the_smallest_change(cube: xr.Dataset, found: Detection) -> None:
    area = float(found.events["area_ha"][0])
    assert finds(detect(cube, MEAN, min_area=0.95 * area))
    assert not finds(detect(cube, MEAN, min_area=1.05 * area))


# --- how much evidence ----------------------------------------------------------------------------


def test_the_threshold_follows_from_the_rate(cube: xr.Dataset, found: Detection) -> None:
    def threshold(**rate: float) -> float:
        return detect(cube, MEAN, null=found.null, **rate).threshold

    assert threshold(false_events=1e-3) > threshold(false_events=2.0) == found.threshold
    assert threshold(false_events=1e5) < found.threshold
    assert threshold(false_pixels=1e-4) == pytest.approx(4.0)
    many = detect(cube, MEAN, null=found.null, false_pixels=1e-3)
    assert len(many.events) >= 1
    assert (many.events["evidence"] > 3.0).all()
    assert many.events["evidence"].is_monotonic_decreasing
    none = detect(cube, MEAN, null=found.null, false_pixels=1e-300)
    assert len(none.events) == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"false_events": 0.0},
        {"false_events": float("inf")},
        {"false_pixels": 0.0},
        {"false_pixels": 1.0},
        {"direction": "down"},
        {"replays": -1},
        {"threshold": 6.0},
    ],
)
def test_impossible_settings_are_refused(cube: xr.Dataset, settings: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError, match=next(iter(settings))):
        detect(cube, MEAN, **settings)


def test_options_and_settings_are_not_both_given(cube: xr.Dataset) -> None:
    with pytest.raises(SarcastError, match="give options, or until, gap alone: not both"):
        sarcast.detect(cube, MEAN, options=DetectOptions(), until=date(20), gap=1)


def test_null_distributions_are_used_again(
    cube: xr.Dataset, found: Detection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_replay(*_: object) -> None:
        raise AssertionError("the past is replayed")

    monkeypatch.setattr(prepare, "replay", no_replay)
    again = detect(cube, MEAN, null=found.null)
    xr.testing.assert_identical(again.images, found.images)
    assert again.events.equals(found.events)
    earlier = detect(cube, MEAN, until=date(FIRST), null=found.null)
    assert finds(earlier)
    assert earlier.threshold == found.threshold


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"acquisitions": 2}, "acquisitions 3, but acquisitions is 2 here"),
        ({"at": date(FIRST)}, "acquisitions 3, but acquisitions is 1 here"),
        ({"gap": 1}, "gap 0, but gap is 1 here"),
        ({"previous": 4}, "previous 16, but previous is 4 here"),
        ({"chooser": "same-season"}, "chooser .*, but chooser is same-season here"),
        ({"direction": "loss"}, "direction both, but direction is loss here"),
        ({"bands": ("VH",)}, r"bands \(\), but bands is .*VH.* here"),
        ({"min_area": 1.0}, "min_area 0.3, but min_area is 1.0 here"),
        ({"strata": 6}, "strata 4, but strata is 6 here"),
        ({"replays": 3}, "replays 8, but replays is 3 here"),
        ({"outside": ()}, "outside .*water.*, but outside is .* here"),
    ],
)
def test_null_distributions_of_something_else_are_refused(
    cube: xr.Dataset, found: Detection, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(SarcastError, match=f"are those of {message}; replay") as error:
        detect(cube, MEAN, null=found.null, **settings)
    assert "\n" not in str(error.value)


def test_null_distributions_of_another_predictor_or_grid_are_refused(
    cube: xr.Dataset, found: Detection, tmp_path: Path
) -> None:
    outline(*AROUND).to_file(tmp_path / "area.gpkg")
    for words, message in (
        ((cube, STRATEGIES["latest"]), "predictor mean, but predictor is latest"),
        ((cube.isel(x=slice(1, None)), MEAN), "grid 128 x 128 .*, but grid is 128 x 127 pixels"),
        ((cube.assign_coords(x=cube["x"] + PIXEL_M), MEAN), "grid 128 x 128 pixels, .*500020"),
    ):
        with pytest.raises(SarcastError, match=message):
            detect(*words, null=found.null)
    with pytest.raises(SarcastError, match="area None, but area is .*area.gpkg here"):
        detect(cube, MEAN, null=found.null, area=str(tmp_path / "area.gpkg"))


# --- invariances ----------------------------------------------------------------------------------


def test_an_offset_of_a_whole_target_changes_nothing(cube: xr.Dataset, found: Detection) -> None:
    """9 dB everywhere, as wet snow gives."""
    wet = cube.copy(deep=True)
    wet["backscatter"][-2] += np.float32(9.0)
    detection = detect(wet, MEAN)
    np.testing.assert_allclose(detection.images["z"], found.images["z"], atol=1e-3)
    np.testing.assert_array_equal(detection.images["changed"], found.images["changed"])
    assert detection.events["date"][0] == found.events["date"][0]


@pytest.mark.parametrize("axis", [-1, -2])
def test_events_turn_with_the_image(cube: xr.Dataset, found: Detection, axis: int) -> None:
    turned = cube.copy(data={"backscatter": np.flip(cube["backscatter"].values, axis)})
    detection = detect(turned, MEAN)
    wanted = np.flip(found.images["changed"].values, axis)
    assert overlap(detection.images["changed"].values, wanted) > 0.95
    assert detection.events["date"][0] == found.events["date"][0]
    for name in ("area_ha", "mean_vv_db", "after_vh_db"):
        assert detection.events[name][0] == pytest.approx(found.events[name][0], rel=0.05)


def test_tiles_equal_the_whole(cube: xr.Dataset, found: Detection) -> None:
    tiled = detect(cube, MEAN, tile=64)
    np.testing.assert_allclose(tiled.images["z"], found.images["z"], atol=1e-3)
    np.testing.assert_array_equal(tiled.images["changed"], found.images["changed"])


def test_dims_in_another_order_and_lazy_cubes(cube: xr.Dataset, found: Detection) -> None:
    other = cube.transpose("y", "x", "band", "time").chunk(time=5)
    detection = detect(other, MEAN, null=found.null)
    np.testing.assert_allclose(detection.images["z"], found.images["z"], atol=1e-4)
    np.testing.assert_array_equal(detection.images["changed"], found.images["changed"])


# --- gaps and bad input ---------------------------------------------------------------------------


def test_an_acquisition_seen_by_half_is_warned_of(cube: xr.Dataset) -> None:
    half = cube.copy(deep=True)
    half["backscatter"][-1, :, : SIDE // 2] = np.nan
    with pytest.warns(UserWarning, match="50 % of the judged pixels are seen by fewer than the 3"):
        detection = detect(half, MEAN)
    looks = np.where(np.arange(SIDE) < SIDE // 2, 2, 3)[:, np.newaxis]
    np.testing.assert_array_equal(detection.images["looks"], np.broadcast_to(looks, (SIDE, SIDE)))
    assert finds(detection)
    unseen = LOSS & (looks == 2)
    seen = half["backscatter"].values[-3:-1].mean(axis=0)[:, unseen]
    np.testing.assert_allclose(detection.images["actual"].values[:, unseen], seen, atol=1e-4)


def test_pixels_without_data_are_not_judged(cube: xr.Dataset) -> None:
    gaps = cube.copy(deep=True)
    gaps["backscatter"][:, :, :, -10:] = np.nan
    detection = detect(gaps, MEAN)
    np.testing.assert_array_equal(detection.judged[0], np.arange(SIDE) < SIDE - 10)
    assert np.isnan(detection.images["p_value"].values[:, -10:]).all()
    assert (detection.images["looks"].values[:, -10:] == 0).all()
    assert finds(detection)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"acquisitions": 40}, f"40 acquisitions are to be watched, but only {DATES} exist"),
        ({"until": "2019-01-01"}, "only 0 exist until 2019-01-01"),
        ({"baseline": date(DATES - 2)}, "only 2 exist from"),
        ({"at": "2031-01-01"}, "no acquisition at 2031-01-01; the nearest is 2020-05-20"),
        ({"until": "yesterday"}, "'yesterday' is not a date"),
        ({"until": date(2)}, f"no image precedes the watched acquisitions from {date(0)}"),
        ({"within": ("forest",)}, "the cube has no forest"),
        ({"outside": ("wood",)}, "'wood' is none of these and does not exist"),
        ({"within": ("water",)}, "no pixel is left to be judged"),
        ({"area": "0,0,1,1"}, "does not touch the cube"),
        ({"bands": ("HH",)}, "--bands names HH, but the cube has VV and VH"),
    ],
)
def test_bad_input_is_one_line(cube: xr.Dataset, settings: dict[str, object], message: str) -> None:
    with pytest.raises(SarcastError, match=message) as error:
        detect(cube, MEAN, **settings)
    assert "\n" not in str(error.value)


def test_watched_acquisitions_without_data(cube: xr.Dataset) -> None:
    empty = cube.copy(deep=True)
    empty["backscatter"][-3:] = np.nan
    with pytest.raises(SarcastError) as error:
        detect(empty, MEAN)
    assert "\n" not in str(error.value)


class Counting(Strategy):
    """The mean, which keeps how many previous images it was given by the time of the target."""

    def __init__(self) -> None:
        super().__init__("counting", lambda window: np.nanmean(window.previous, axis=0))
        self.given: dict[np.datetime64, int] = {}

    def expect(self, windows: Sequence[Window]) -> list[Expected]:
        self.given |= {window.times[-1]: len(window.previous) for window in windows}
        return super().expect(windows)


@pytest.mark.parametrize(
    ("dates", "watched", "replayed"),
    [(32, 16, {16, 14, 11, 8}), (19, 16, {13, 10}), (14, 11, {8})],
)
@pytest.mark.filterwarnings("ignore:the past of the cube has room for 1 replays")
def test_a_baseline_has_what_the_past_has_and_sixteen_images_at_most(
    cube: xr.Dataset, dates: int, watched: int, replayed: set[int]
) -> None:
    counting = Counting()
    detect(cube.isel(time=slice(-dates, None)), counting)
    counts = [counting.given[time] for time in sorted(counting.given)]
    assert counts[-3:] == [watched] * 3
    assert set(counts[:-3]) == replayed


@pytest.mark.parametrize(("previous", "fewest"), [(16, 8), (8, 8), (4, 4)])
def test_a_past_without_a_baseline_is_refused(cube: xr.Dataset, previous: int, fewest: int) -> None:
    short = cube.isel(time=slice(-(fewest + 2), None))
    with pytest.raises(SarcastError, match=f"^{fewest} previous images are needed, but "):
        detect(short, MEAN, previous=previous, replays=0)


@pytest.mark.parametrize("own", [True, False])
def test_a_past_that_is_too_short_for_replays(
    cube: xr.Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: bool
) -> None:
    """By a table of this ground, and by that of the weights."""
    if own:
        (tmp_path / "weights").mkdir()
        table = Prior.of(sarcast.detect(quiet_cube(5), MEAN, strata=1).null)
        path = tmp_path / SHIPPED.format(direction="both")
        write_shipped({3: table}, path, finest_m=25.0)
        monkeypatch.setattr("sarcast.detection.null_file.files", lambda _: tmp_path)
    with pytest.warns(UserWarning, match="has room for 1 replays of 3 acquisitions: p-values"):
        detection = detect(cube.isel(time=slice(-14, None)), MEAN)
    evidence = detection.images["evidence"].values
    assert np.median(evidence[LOSS]) > np.quantile(evidence[forest() & ~LOSS], 0.9)
    without = detect(cube, MEAN, replays=0)
    np.testing.assert_array_equal(without.judged, detection.judged)
