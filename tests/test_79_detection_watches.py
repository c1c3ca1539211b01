"""Watches: which changes are to be found in a cube until a date, and how findings are scored."""

import geopandas as gpd
import numpy as np
import pytest
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.xr import xr_coords
from shapely.geometry import box

from sarcast.evaluation.detection.rivals import large_regions, outlined, rule_findings, series_of
from sarcast.evaluation.detection.rules import Rule
from sarcast.evaluation.detection.simulation import PersistentOptions
from sarcast.evaluation.detection.truth import rasterized, truth_frame, watches_of
from sarcast.evaluation.detection.watches import (
    Findings,
    WatchCase,
    score,
    simulated_watches,
    true_watches,
)
from sarcast.evaluation.metrics.events import DetectorScores
from sarcast.evaluation.simulation.changes import Offset

GRID = GeoBox((100, 100), Affine(10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0), "EPSG:32635")
DETECTOR = DetectorScores(name="a", role="network", levels=(1.0, 2.0, 3.0), own_level=2.0)


def cube(dates: int = 12) -> xr.Dataset:
    image = np.random.default_rng(0).normal(-10, 1, (dates, 2, 100, 100)).astype(np.float32)
    return xr.Dataset(
        {"backscatter": (("time", "band", "y", "x"), image)},
        coords={
            "time": np.datetime64("2020-06-01T05:00", "ns")
            + np.arange(dates) * np.timedelta64(6, "D"),
            "band": ["VV", "VH"],
            **xr_coords(GRID),
        },
    )


def square(left: float, down: float, side: float):
    left, top = 500_000.0 + left, 6_900_000.0 - down
    return box(left, top - side, left + side, top)


def truth(*dates: str) -> gpd.GeoDataFrame:
    outlines = [square(300 * n, 100, 100) for n in range(len(dates))]
    return truth_frame(
        gpd.GeoDataFrame({"date": list(dates)}, geometry=outlines, crs="EPSG:32635"), GRID
    )


def test_a_true_change_is_watched_until_its_kth_acquisition() -> None:
    # acquisitions on 1, 7, 13, 19, 25 June, 1, 7, ... July
    changes = truth("2020-06-15", "2020-06-20")
    until = watches_of(changes, cube()["time"].values, 3)
    first, second = true_watches(cube(), changes, until, 3, min_area_ha=0.5, min_magnitude_db=1.0)
    assert [str(time)[:10] for time in first.watched] == ["2020-06-19", "2020-06-25", "2020-07-01"]
    assert first.counted.tolist() == [True, False]
    assert second.counted.tolist() == [False, True]
    assert first.cube["time"].values[-1] == first.watched[-1]


def test_simulated_watches_end_at_their_date_and_count_all_changes() -> None:
    data = cube()
    options = PersistentOptions(radius_px=(4, 8))
    watches = list(
        simulated_watches(data, [7, 10], 3, [Offset()], options, rng=np.random.default_rng(0))
    )
    for watch, until in zip(watches, (7, 10), strict=True):
        np.testing.assert_array_equal(watch.watched, data["time"].values[until - 2 : until + 1])
        assert watch.cube.sizes["time"] == until + 1
        assert watch.counted.all()
        inside = rasterized(watch.truth.geometry, GRID)
        shown = (
            watch.cube["backscatter"].values[-3:]
            - data["backscatter"].values[until - 2 : until + 1]
        )
        np.testing.assert_allclose(shown[:, :, inside], -2.5, atol=1e-5)
        assert not shown[:, :, ~inside].any()
    assert not watches[0].truth.geometry.equals(watches[1].truth.geometry)


def found(*at: tuple[float, float, float, float, str]) -> Findings:
    """Squares (left, down, side) with the level up to which they are found, and their date."""
    frame = gpd.GeoDataFrame(
        {"level": [a[3] for a in at], "date": np.array([a[4] for a in at], "datetime64[s]")},
        geometry=[square(*a[:3]) for a in at],
        crs="EPSG:32635",
    )
    statistic = np.zeros((100, 100), dtype=np.float32)
    statistic[10:20, :10] = 1.0  # the first change
    statistic[:, 90:] = np.nan
    return Findings(statistic, lambda level: frame[frame["level"] >= level])


def watch() -> WatchCase:
    changes = truth("2020-06-15", "2019-01-01")
    (only,) = true_watches(cube(), changes, [5], 3, min_area_ha=0.5, min_magnitude_db=0.0)
    return only


def test_findings_are_scored_at_each_level() -> None:
    findings = found(
        (0, 100, 100, 2.0, "2020-06-25"),  # the change, one acquisition late
        (300, 100, 100, 3.0, "2020-06-19"),  # one of last year: neither right nor wrong
        (600, 600, 100, 1.0, "2020-06-19"),
        (100, 800, 100, 3.0, "2020-06-19"),
    )
    result = score(watch(), findings, DETECTOR)
    assert result.events == (3, 2, 1)
    assert result.false_events == (2, 1, 1)
    (change,) = result.truths
    assert (change.level, change.overlap, change.date_error) == (2.0, 1.0, 1)
    assert result.km2 == pytest.approx(0.9, rel=2e-3)
    assert result.acquisitions == 3
    # nine hundredths of the pixels that changed are outside; all others have a lower score
    assert result.auc == 1.0


def test_what_is_missed_has_no_level_and_no_date() -> None:
    result = score(watch(), found((600, 600, 100, 3.0, "2020-06-19")), DETECTOR)
    (change,) = result.truths
    assert (change.level, change.overlap, change.date_error) == (None, None, None)


def test_outlines_of_a_change_map() -> None:
    changed = np.zeros((100, 100), dtype=bool)
    changed[10:20, 10:20] = True
    changed[13, 13] = False
    changed[50:53, 50:60] = True
    frame = outlined(changed, GRID)
    np.testing.assert_array_equal(rasterized(frame.geometry, GRID), changed)
    assert len(frame) == 2
    assert outlined(np.zeros((100, 100), dtype=bool), GRID).empty


def test_regions_of_a_least_size_are_kept() -> None:
    changed = np.zeros((20, 20), dtype=bool)
    changed[2:4, 2:4] = changed[4, 4] = True  # five pixels, one of them at a corner
    changed[10:12, 10:12] = True
    kept = large_regions(changed, 5)
    assert kept.sum() == 5
    assert kept[4, 4]
    assert not large_regions(changed, 6).any()


def test_a_rule_gives_events_of_a_least_size_at_each_level() -> None:
    data = cube()
    expected = data["backscatter"][9:].copy(data=np.full((3, 2, 100, 100), -10.0, np.float32))
    last = data["backscatter"].values
    last[-1] = -10.0
    last[-1, :, 20:30, 20:30] = -13.0
    last[-1, :, 60:62, 60:62] = -13.0  # four pixels
    only = WatchCase(data, data["time"].values[9:], truth("2020-08-01"), np.array([False]))
    series = series_of(only, xr.Dataset({"expected": expected, "std": expected * 0.0 + 2.0}))
    assert series.z[-1, 0, 25, 25] == pytest.approx(-1.5)
    norm = Rule("norm", lambda given: np.hypot(*given.residual[-1]), (1.0, 5.0))
    findings = rule_findings(norm, series, GRID, 50)
    (event,) = findings.events(1.0).geometry
    assert event.equals(square(200, 200, 100))
    assert findings.events(5.0).empty
