"""Scores of detected events, against hand-made events and changes with known scores."""

import geopandas as gpd
import numpy as np
import pytest
from shapely.geometry import box

from sarcast.errors import SarcastError
from sarcast.evaluation.detection.scores import MatchOptions, date_errors, match
from sarcast.evaluation.metrics.comparison import compare, compare_false, level_at
from sarcast.evaluation.metrics.events import (
    DetectorScores,
    TruthScore,
    WatchScore,
    curve,
    operating,
    recall_by_class,
)

CRS = "EPSG:32635"
PIXEL = 10.0


def squares(*corners: tuple[float, float, float]) -> gpd.GeoDataFrame:
    """Squares by left edge, lower edge and side, metres."""
    outlines = [box(x, y, x + side, y + side) for x, y, side in corners]
    return gpd.GeoDataFrame(geometry=outlines, crs=CRS)


def matched(events, truth, counted=None, **options):
    counted = np.ones(len(truth), dtype=bool) if counted is None else np.array(counted)
    return match(events, truth, counted, pixel=PIXEL, options=MatchOptions(**options))


def test_a_change_is_found_from_a_share_of_its_area_on() -> None:
    truth = squares((0, 0, 100), (1000, 0, 100))
    events = squares((90, 0, 100), (1050, 0, 100))  # cover a tenth, and half
    result = matched(events, truth)
    np.testing.assert_allclose(result.covered, [0.1, 0.5])
    np.testing.assert_allclose(result.overlap, [0.1 / 1.9, 0.5 / 1.5])
    assert result.found.tolist() == [False, True]
    assert matched(events, truth, overlap=0.1).found.tolist() == [True, True]
    assert not result.is_false.any()


def test_several_events_on_one_change_count_together() -> None:
    truth = squares((0, 0, 100))
    parts = squares((0, 0, 40), (60, 60, 40), (5, 5, 20))  # the third lies inside the first
    result = matched(parts, truth)
    assert result.covered[0] == pytest.approx(0.32)
    assert result.event[0] == 0
    assert result.found[0]


def test_an_event_is_false_beyond_the_tolerance() -> None:
    truth = squares((0, 0, 100))
    events = squares((119, 0, 50), (121, 300, 50), (121, 0, 50))
    assert matched(events, truth).is_false.tolist() == [False, True, True]
    assert matched(events, truth, tolerance_px=3.0).is_false.tolist() == [False, True, False]


def test_events_on_changes_that_are_not_counted_are_neither_right_nor_false() -> None:
    truth = squares((0, 0, 100), (1000, 0, 100))
    events = squares((0, 0, 100), (1000, 0, 100), (5000, 0, 50))
    result = matched(events, truth, [True, False])
    assert result.is_false.tolist() == [False, False, True]
    assert result.is_counted.tolist() == [True, False, True]


def test_no_events_and_no_changes() -> None:
    none = squares()
    assert matched(none, squares((0, 0, 100))).found.tolist() == [False]
    assert matched(squares((0, 0, 100)), none).is_false.tolist() == [True]


def test_dates_are_compared_in_acquisitions() -> None:
    times = np.datetime64("2020-06-01", "s") + np.arange(6) * np.timedelta64(6, "D")
    truth = squares((0, 0, 100), (1000, 0, 100), (2000, 0, 100))
    truth["latest"] = times[[2, 2, 2]] - np.timedelta64(1, "D")  # first shown by the third
    events = squares((0, 0, 100), (1000, 0, 100))
    result = matched(events, truth)
    errors = date_errors(result, times[[2, 4]].astype("datetime64[s]"), truth, times)
    assert errors == [0, 2, None]


def truths(*levels: float | None, area_ha: float = 1.0, magnitude_db: float = 2.5):
    return tuple(
        TruthScore(kind="fire", area_ha=area_ha, magnitude_db=magnitude_db, level=level)
        for level in levels
    )


def watch(name: str, false: tuple[int, ...], found: tuple[TruthScore, ...]) -> WatchScore:
    """A watch of 100 km² and three acquisitions; every change that is found has one event."""
    hits = tuple(
        sum(t.level is not None and t.level >= level for t in found) for level in (0, 1, 2)
    )
    events = tuple(a + b for a, b in zip(hits, false, strict=True))
    return WatchScore(
        watch=name, km2=100.0, acquisitions=3, events=events, false_events=false, truths=found
    )


def scores(name: str, *watches: WatchScore) -> DetectorScores:
    return DetectorScores(name=name, role="network", levels=(0.0, 1.0, 2.0), watches=watches)


def test_measures_of_two_watches() -> None:
    total = scores("a", watch("1", (4, 1, 0), truths(0.0, 2.0, None, None))) + scores(
        "a", watch("2", (2, 1, 0), truths(1.0))
    )
    loose, middle, strict = curve(total)
    assert [each.found for each in (loose, middle, strict)] == [3, 2, 1]
    assert loose.recall == pytest.approx(0.6)
    assert loose.precision == pytest.approx(3 / 9)
    assert loose.false_events == pytest.approx(6 / 0.6)  # 200 km², three acquisitions
    assert middle.false_events == pytest.approx(2 / 0.6)
    assert strict.precision == 1.0
    assert operating(scores("a"), 0.0).recall is None


def test_scores_of_different_detectors_do_not_add() -> None:
    with pytest.raises(SarcastError, match="cannot be added"):
        scores("a") + scores("b")


def test_the_level_at_a_rate_keeps_to_it_at_all_stricter_levels() -> None:
    joined = scores("a", watch("1", (0, 9, 1), truths(0.0, 1.0, 2.0)))
    # at the loosest level all regions have joined to none that is false: it does not count
    assert level_at(joined, 5.0) == 2.0
    assert level_at(joined, 30.0) == 0.0
    assert level_at(joined, 1.0) is None


def test_recall_by_class() -> None:
    found = truths(1.0, None, area_ha=0.7) + truths(2.0, area_ha=5.0, magnitude_db=1.2)
    rows = recall_by_class(scores("a", watch("1", (0, 0, 0), found)), 1.0)
    table = {(row.factor, row.value): (row.found, row.truths) for row in rows}
    assert table == {
        ("area", "0.5–1 ha"): (1, 2),
        ("area", "> 3 ha"): (1, 1),
        ("magnitude", "1–2 dB"): (1, 1),
        ("magnitude", "2–3 dB"): (1, 2),
        ("kind", "fire"): (2, 3),
    }
    assert all(
        row.found == 0 for row in recall_by_class(scores("a", watch("1", (0,) * 3, found)), None)
    )


def test_detectors_are_compared_at_equal_false_events() -> None:
    """The first finds three of four at the rates, the second, at a stricter level, one of four."""
    first = scores("a", *(watch(str(n), (3, 0, 0), truths(1.0, 1.0, 2.0, None)) for n in range(8)))
    other = scores("b", *(watch(str(n), (3, 2, 0), truths(1.0, 1.0, 2.0, None)) for n in range(8)))
    result = compare(first, other, 1.0, rng=np.random.default_rng(0))
    assert result.gain == pytest.approx(0.5)
    assert (result.low, result.high) == (pytest.approx(0.5), pytest.approx(0.5))
    same = compare(first, other, 100.0, rng=np.random.default_rng(0))
    assert same.gain == 0.0


def test_the_gain_is_the_mean_over_rates_around_the_one_asked_for() -> None:
    """Two false events in 0.3 · 1 000 km² are a rate of 6.7: allowed at the 3 greatest of 7."""
    first = scores("a", *(watch(str(n), (0, 0, 0), truths(1.0)) for n in range(8)))
    other = scores("b", *(watch(str(n), (2, 2, 0), truths(1.0)) for n in range(8)))
    result = compare(first, other, 6.5, rng=np.random.default_rng(0))
    assert result.gain == pytest.approx(4 / 7)


def test_false_events_are_compared_at_equal_recall() -> None:
    """To find half, the first needs its own level (1 false event), the second level 0 (4)."""
    first = scores("a", *(watch(str(n), (3, 1, 0), truths(1.0, None)) for n in range(8)))
    first = first.model_copy(update={"own_level": 1.0})
    other = scores("b", *(watch(str(n), (4, 2, 0), truths(0.0, None)) for n in range(8)))
    result = compare_false(first, other, rng=np.random.default_rng(0))
    assert result.recall == 0.5
    assert result.gain == pytest.approx(3 / 0.3)
    assert (result.low, result.high) == (pytest.approx(10.0), pytest.approx(10.0))
    # one that finds less at its loosest level is compared there
    weaker = scores("c", *(watch(str(n), (4, 2, 0), truths(None, None)) for n in range(7)))
    weaker += scores("c", watch("7", (4, 2, 0), truths(0.0, None)))
    at_less = compare_false(first, weaker, rng=np.random.default_rng(0))
    assert at_less.recall == pytest.approx(1 / 16)
    assert at_less.gain == pytest.approx(3 / 0.3)


def test_false_events_are_not_compared_where_nothing_is_found() -> None:
    first = scores("a", watch("1", (3, 1, 0), truths(1.0))).model_copy(update={"own_level": 1.0})
    other = scores("b", watch("1", (4, 2, 0), truths(None)))
    assert compare_false(first, other, rng=np.random.default_rng(0)) is None


def test_the_interval_is_that_of_resampled_watches() -> None:
    """Gains of 1 and 0 in equal parts: the mean of n draws has the binomial's deviation."""
    count = 40
    ahead = scores("a", *(watch(str(n), (0, 0, 0), truths(2.0)) for n in range(count)))
    half = scores(
        "b", *(watch(str(n), (0, 0, 0), truths(2.0 if n % 2 else None)) for n in range(count))
    )
    result = compare(ahead, half, 1.0, rng=np.random.default_rng(0))
    deviation = np.sqrt(0.25 / count)
    assert result.gain == pytest.approx(0.5)
    assert result.low == pytest.approx(0.5 - 1.96 * deviation, abs=0.03)
    assert result.high == pytest.approx(0.5 + 1.96 * deviation, abs=0.03)


def test_watches_must_be_the_same() -> None:
    with pytest.raises(SarcastError, match="same watches"):
        compare(
            scores("a", watch("1", (0, 0, 0), ())),
            scores("b", watch("2", (0, 0, 0), ())),
            1.0,
            rng=np.random.default_rng(0),
        )


def test_scores_are_stored_as_json_and_read_back() -> None:
    total = scores("a", watch("1", (4, 1, 0), truths(0.0, None)))
    assert DetectorScores.model_validate_json(total.model_dump_json()) == total
