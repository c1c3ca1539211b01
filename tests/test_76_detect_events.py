"""Events measured from images in which everything is known."""

from dataclasses import dataclass, replace

import geopandas
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from pyproj import Geod

from sarcast.detection.events import (
    LEAST_VARIANCE,
    LIKELY,
    Onset,
    Series,
    describe_events,
    find_onset,
)
from sarcast.detection.evidence import Residuals
from sarcast.detection.regions import Regions
from small_changes import disc

SIDE, TARGETS = 60, 4
UTM = GeoBox(
    (SIDE, SIDE), Affine(20.0, 0.0, 500_000.0, 0.0, -20.0, 6_900_000.0), "EPSG:32635"
)  # fmt: skip
WATCHED = np.array(
    ["2020-05-02T04:51:02", "2020-05-05T15:40:05", "2020-05-08T04:51:02", "2020-05-11T15:40:05"],
    dtype="datetime64[ns]",
)
BASELINE = np.datetime64("2020-04-29T15:40:05", "ns")
LOSS, GAIN = disc((15, 15), 8, SIDE), disc((42, 40), 10, SIDE) & ~disc((42, 40), 4, SIDE)


@dataclass(frozen=True)
class Whole:
    """A series that is read by parts."""

    series: Series

    @property
    def bands(self) -> tuple[str, ...]:
        return self.series.bands

    def read(self, box: tuple[slice, slice]) -> Series:
        series = self.series
        return Series(
            series.images.isel(y=box[0], x=box[1]),
            Residuals(series.residuals.z[..., box[0], box[1]], 0.0),
            series.evidence[box],
            {name: mask[box] for name, mask in series.cover.items()},
            series.before,
        )


def series_of(
    changes: dict[int, tuple[np.ndarray, int, tuple[float, ...]]] | None = None,
    bands: tuple[str, ...] = ("VV", "VH"),
    cover: dict[str, np.ndarray] | None = None,
) -> tuple[Regions, Series]:
    """Regions and images without noise: mask, first target and shift (dB) of each change.

    The expected image of target t is -10 - t in the first band and 6 less in the second; z is the
    difference over 0.5 dB.
    """
    changes = CHANGES if changes is None else changes
    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    base = -10.0 - np.arange(TARGETS)[:, None] - 6.0 * np.arange(len(bands))
    expected = np.broadcast_to(base[..., None, None], (TARGETS, len(bands), SIDE, SIDE)).copy()
    actual = expected.copy()
    for number, (mask, first, shift) in changes.items():
        labels[mask] = number
        actual[first:] += np.array(shift)[:, None, None] * mask
    dims = ("time", "band", "y", "x")
    images = xr.Dataset(
        {"expected": (dims, expected), "actual": (dims, actual)},
        {"time": WATCHED, "band": list(bands)},
    ).astype(np.float32)
    z = ((actual - expected) / 0.5).astype(np.float32)
    evidence = np.where(labels > 0, 9.0 - labels, 0.5).astype(np.float32)
    peaks = 9.0 - np.arange(1.0, len(changes) + 1)
    series = Series(images, Residuals(z, 0.0), evidence, cover or {}, BASELINE)
    return Regions.of(labels, peaks), series


CHANGES = {1: (LOSS, 2, (-3.0, -1.5)), 2: (GAIN, 0, (2.0, 1.0))}


def described(
    regions: Regions, series: Series, grid: GeoBox = UTM
) -> tuple[geopandas.GeoDataFrame, np.ndarray]:
    return describe_events(regions, Whole(series), grid)


# --- what is measured -----------------------------------------------------------------------------


def test_events_are_measured() -> None:
    events, onsets = described(*series_of(cover={"forest": LOSS, "open_land": ~LOSS}))
    np.testing.assert_array_equal(onsets, [2, 0])
    loss, gain = (row._asdict() for row in events.itertuples(index=False))
    assert (loss["id"], gain["id"]) == (1, 2)
    wanted = {
        "date": "2020-05-08T04:51:02Z", "previous_date": "2020-05-05T15:40:05Z",
        "earliest": "2020-05-05T15:40:05Z", "latest": "2020-05-08T04:51:02Z",
        "direction": "loss", "cover": "forest",
    }  # fmt: skip
    assert {name: loss[name] for name in wanted} == wanted
    numbers = {
        "mean_vv_db": -3.0, "before_vv_db": -12.5, "after_vv_db": -15.5,
        "mean_vh_db": -1.5, "before_vh_db": -18.5, "after_vh_db": -20.0,
        "evidence": 8.0, "p_value": 1e-8, "looks": 4.0,
    }  # fmt: skip
    for name, value in numbers.items():
        assert loss[name] == pytest.approx(value, rel=1e-5), name
    assert (gain["date"], gain["previous_date"]) == ("2020-05-02T04:51:02Z", "2020-04-29T15:40:05Z")
    assert (gain["direction"], gain["cover"]) == ("gain", "open_land")
    assert gain["before_vv_db"] == pytest.approx(-11.5)
    assert gain["mean_vv_db"] == pytest.approx(2.0)
    assert events.crs.to_epsg() == 32635


def test_the_table_without_events_has_the_same_columns() -> None:
    some, _ = described(*series_of())
    none, onsets = described(*series_of({}))
    assert len(none) == len(onsets) == 0
    assert list(none.columns) == list(some.columns)
    assert (none.dtypes == some.dtypes).all()
    assert none.crs == some.crs
    assert list(some.columns) == [
        "id", "area_ha", "date", "previous_date", "earliest", "latest", "direction",
        "mean_vv_db", "before_vv_db", "after_vv_db", "mean_vh_db", "before_vh_db", "after_vh_db",
        "evidence", "p_value", "looks", "cover", "geometry",
    ]  # fmt: skip


@pytest.mark.parametrize("bands", [("VV",), ("VH",), ("HH", "HV")])
def test_columns_are_those_of_the_bands(bands: tuple[str, ...]) -> None:
    shift = (-2.0, -4.0)[: len(bands)]
    events, _ = described(*series_of({1: (LOSS, 1, shift)}, bands))
    means = [name for name in events if name.startswith("mean_")]
    assert means == [f"mean_{band.lower()}_db" for band in bands]
    assert events[means].iloc[0].tolist() == pytest.approx(list(shift))


@pytest.mark.parametrize(
    ("shift", "direction"),
    [
        ((-3.0, -3.0), "loss"),
        ((3.0, 2.0), "gain"),
        ((0.0, -2.0), "loss"),
        ((2.0, 0.0), "gain"),
        ((2.0, -2.0), "mixed"),
        ((-2.0, 1.8), "mixed"),
        ((-3.0, 0.5), "loss"),
    ],
)
def test_directions(shift: tuple[float, float], direction: str) -> None:
    events, _ = described(*series_of({1: (LOSS, 0, shift)}))
    assert events["direction"].tolist() == [direction]


@pytest.mark.parametrize(
    ("forest", "open_land", "cover"),
    [
        (LOSS, ~LOSS, "forest"),
        (~LOSS, LOSS, "open_land"),
        (~LOSS, ~LOSS, ""),
        (disc((15, 15), 5, SIDE), ~disc((15, 15), 5, SIDE), "open_land"),
    ],
)
def test_the_cover_is_that_of_most_of_the_event(
    forest: np.ndarray, open_land: np.ndarray, cover: str
) -> None:
    covers = {"forest": forest, "open_land": open_land}
    events, _ = described(*series_of({1: (LOSS, 0, (-3.0, -3.0))}, cover=covers))
    assert events["cover"].tolist() == [cover]


# --- looks and gaps -------------------------------------------------------------------------------


def hidden(series: Series, targets: list[int], mask: np.ndarray) -> Series:
    """The series in which some targets do not see a part; its images are filled with nonsense."""
    z, images = series.residuals.z.copy(), series.images.copy(deep=True)
    for target in targets:
        z[target, :, mask] = np.nan
        images["actual"][target].values[:, mask] = np.nan
        images["expected"][target].values[:, mask] = 99.0
    return replace(series, residuals=Residuals(z, 0.0), images=images)


def test_an_acquisition_that_does_not_see_the_event_cannot_date_it() -> None:
    """Target 1 does not see it: the change lies between targets 0 and 2."""
    regions, series = series_of({1: (LOSS, 2, (-3.0, -3.0))})
    events, onsets = described(regions, hidden(series, [1], LOSS))
    assert onsets.tolist() == [2]
    (row,) = events.itertuples()
    assert row.date == row.latest == "2020-05-08T04:51:02Z"
    assert row.previous_date == row.earliest == "2020-05-02T04:51:02Z"
    assert row.looks == 3.0
    events, _ = described(regions, hidden(series, [0, 1], LOSS))
    assert events["previous_date"].tolist() == ["2020-04-29T15:40:05Z"]


def test_half_of_an_event_that_is_not_seen_has_no_part_in_its_means() -> None:
    half = LOSS & (np.arange(SIDE) < 15)
    regions, series = series_of({1: (LOSS, 0, (-3.0, -1.0))})
    events, _ = described(regions, hidden(series, [0, 1, 2], half))
    (row,) = events.itertuples()
    assert (row.mean_vv_db, row.mean_vh_db) == pytest.approx((-3.0, -1.0), abs=1e-5)
    assert row.before_vv_db == pytest.approx(-11.5, abs=1e-5)
    assert row.looks == pytest.approx(4.0 - 3.0 * half.sum() / LOSS.sum())


# --- outlines and areas ---------------------------------------------------------------------------


def grids() -> list[GeoBox]:
    degrees = 20.0 / 111_000.0
    return [
        UTM,
        GeoBox((SIDE, SIDE), Affine(20.0, 0.0, 300_000.0, 0.0, -20.0, 6_900_000.0), "EPSG:32635"),
        GeoBox((SIDE, SIDE), Affine(degrees, 0.0, 25.0, 0.0, -degrees, 65.0), "EPSG:4326"),
        GeoBox((SIDE, SIDE), Affine(degrees, 0.0, -62.0, 0.0, -degrees, -14.0), "EPSG:4326"),
        GeoBox((SIDE, SIDE), Affine(degrees, 0.0, 179.999, 0.0, -degrees, 5.0), "EPSG:4326"),
        GeoBox((SIDE, SIDE), Affine(20.0, 0.0, -2e6, 0.0, -20.0, 8e5), "EPSG:3413"),
    ]


@pytest.mark.parametrize("grid", grids(), ids=lambda grid: f"{grid.crs.epsg} {grid.affine.c:g}")
def test_areas_are_those_on_the_ellipsoid(grid: GeoBox) -> None:
    events, _ = described(*series_of(), grid)
    to_degrees = grid.crs.transformer_to_crs("EPSG:4326")
    rows, columns = np.nonzero(LOSS)
    total = 0.0
    for row, column in zip(rows, columns, strict=True):
        corners = [(column + dx, row + dy) for dx, dy in ((0, 0), (0, 1), (1, 1), (1, 0))]
        x, y = np.transpose([grid.transform * corner for corner in corners])
        total += abs(Geod(ellps="WGS84").polygon_area_perimeter(*to_degrees(x, y))[0])
    assert events["area_ha"][0] == pytest.approx(total / 1e4, rel=1e-3)


def test_outlines_follow_the_pixels_and_keep_holes() -> None:
    events, _ = described(*series_of())
    loss, gain = events.geometry
    assert len(gain.interiors) == 1
    assert len(loss.interiors) == 0
    for outline, mask in ((loss, LOSS), (gain, GAIN)):
        assert outline.is_valid
        assert outline.area == pytest.approx(400.0 * mask.sum(), rel=0.06)
        rows, columns = np.nonzero(mask)
        west, south, east, north = outline.bounds
        assert west == pytest.approx(500_000.0 + 20.0 * columns.min(), abs=15.0)
        assert east == pytest.approx(500_000.0 + 20.0 * (columns.max() + 1), abs=15.0)
        assert north == pytest.approx(6_900_000.0 - 20.0 * rows.min(), abs=15.0)
        assert south == pytest.approx(6_900_000.0 - 20.0 * (rows.max() + 1), abs=15.0)
    plain = GAIN.sum() * 4 + 1
    assert len(gain.exterior.coords) < plain / 10


def test_an_event_of_pixels_that_touch_at_corners_is_one_row() -> None:
    diagonal = np.zeros((SIDE, SIDE), dtype=bool)
    diagonal[range(5, 12), range(5, 12)] = True
    events, _ = described(*series_of({1: (diagonal, 0, (-3.0, -3.0))}))
    assert len(events) == 1
    assert events["area_ha"][0] == pytest.approx(7 * 0.04, rel=2e-3)
    assert events.geometry.is_valid.all()


def test_a_single_pixel_keeps_an_outline() -> None:
    events, _ = described(*series_of({1: (disc((9, 9), 0, SIDE), 0, (-3.0, -3.0))}))
    assert events.geometry[0].area > 0.0


# --- dating ---------------------------------------------------------------------------------------


def onset_slowly(series: np.ndarray) -> Onset:
    """Residual sums of squares of every step, from the equation."""
    seen = [k for k in range(len(series)) if np.isfinite(series[k]).all()]
    squares = []
    for step in range(len(seen)):
        before = sum((series[k] ** 2).sum() for k in seen[:step])
        after = [series[k] for k in seen[step:]]
        squares.append(before + sum(((m - np.mean(after, axis=0)) ** 2).sum() for m in after))
    best = int(np.argmin(squares))
    variance = max(squares[best] / (len(seen) * series.shape[1]), LEAST_VARIANCE)
    likely = [k for k, each in enumerate(squares) if (each - squares[best]) / variance < LIKELY]
    return Onset(seen[best], (seen[likely[0]], seen[likely[-1]]))


@given(
    seed=st.integers(0, 10_000),
    count=st.integers(1, 8),
    bands=st.integers(1, 2),
    missing=st.floats(0.0, 0.6),
)
def test_onsets_maximise_the_likelihood(seed: int, count: int, bands: int, missing: float) -> None:
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(count, bands))
    series[rng.integers(0, count) :] += rng.normal(0.0, 4.0, bands)
    series[rng.random(count) < missing] = np.nan
    if not np.isfinite(series).any():
        return
    assert find_onset(series) == onset_slowly(series)


@given(count=st.integers(1, 8), first=st.integers(0, 7), data=st.data())
def test_a_clear_step_is_dated_exactly(count: int, first: int, data: st.DataObject) -> None:
    """With gaps: the first target that sees it from the step on."""
    if first >= count:
        return
    hidden = data.draw(st.sets(st.integers(0, count - 1), max_size=count - 1))
    series = np.random.default_rng(0).normal(0.0, 0.1, (count, 2))
    series[first:] -= 5.0
    series[list(hidden)] = np.nan
    after = [k for k in range(first, count) if k not in hidden]
    if not after:
        return
    onset = find_onset(series)
    assert onset.first == after[0]
    if len(set(range(count)) - hidden) > 1:
        assert onset.likely == (after[0], after[0])


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), flip=st.booleans())
def test_a_loss_is_dated_as_a_gain(seed: int, flip: bool) -> None:
    rng = np.random.default_rng(seed)
    series = rng.normal(size=(6, 2))
    series[3:] += 2.0
    assert find_onset(-series) == find_onset(series)
    assert find_onset(series[:, ::-1]) == find_onset(series)


def test_the_uncertainty_holds_the_true_date() -> None:
    """Steps of about three standard deviations."""
    rng = np.random.default_rng(0)
    within, exact = 0, 0
    for _ in range(400):
        first = int(rng.integers(0, 6))
        series = rng.normal(size=(6, 2))
        series[first:] -= 2.0
        onset = find_onset(series)
        within += onset.likely[0] <= first <= onset.likely[1]
        exact += abs(onset.first - first) <= 1
    assert within / 400 > 0.8
    assert exact / 400 > 0.85


def test_a_region_that_no_target_sees_may_have_changed_at_any() -> None:
    assert find_onset(np.full((5, 2), np.nan)) == Onset(0, (0, 4))
