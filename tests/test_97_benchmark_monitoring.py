"""The benchmark of monitoring: events scored against changes by hand, and joined by the dozen."""

from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely

from benchmarks.monitoring import FOLLOWING, Score, join_time, markdown, score
from sarcast.monitoring.monitor import Monitored
from small_alerts import DATES, FIRST, SQUARE, alert_cube, times, watch

CUBE = alert_cube()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    """The change is confirmed at its second acquisition."""
    return watch(CUBE, tmp_path_factory.mktemp("alerts") / "alerts")


def truth(before: int, magnitude_db: float = 8.0, *, away: bool = False) -> gpd.GeoDataFrame:
    """The square, changed a day before an acquisition; or a place where nothing was found."""
    grid = CUBE.odc.geobox
    rows, columns = (slice(0, 4), slice(0, 4)) if away else SQUARE
    outline = grid[rows, columns].extent.geom
    when = (times()[before] - np.timedelta64(1, "D")).astype("datetime64[s]")
    columns = {"earliest": [when], "latest": [when], "area_ha": [2.5], "magnitude_db": magnitude_db}
    return gpd.GeoDataFrame(columns, geometry=[shapely.Polygon(outline)], crs="EPSG:32635")


def test_a_change_is_confirmed_after_two_acquisitions(
    found: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.monitoring.FOLLOWING", 2)
    result = score(found, CUBE, truth(FIRST))
    assert (result.changes, result.confirmed_changes, result.delays) == (1, 1, (2,))
    assert (result.events, result.false_events) == (1, 0)
    assert result.exposure == pytest.approx(0.8**2 * len(found.state.record.known) / 1000, rel=0.01)


def test_what_touches_no_change_that_had_happened_is_false(
    found: Monitored, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.monitoring.FOLLOWING", 1)
    assert score(found, CUBE, truth(FIRST, away=True)).false_events == 1
    later = score(found, CUBE, truth(DATES - 1))
    assert (later.changes, later.confirmed_changes, later.false_events) == (1, 0, 1)
    weak = score(found, CUBE, truth(FIRST, magnitude_db=0.5))
    assert (weak.changes, weak.events, weak.false_events) == (0, 1, 0)


def test_a_change_at_the_end_does_not_count(found: Monitored) -> None:
    assert score(found, CUBE, truth(DATES - FOLLOWING + 1)).changes == 0


def test_rows_are_summed() -> None:
    one = Score(4, 2, (2, 6), 5, 1, 0.5)
    text = markdown({"worlds": [one, replace(one, delays=(4, 4), false_events=3)]})
    assert text.splitlines()[-1] == "| worlds | 8 | 4 | 4.0 (5.4) | 10 | 4 | 4.00 |"


def test_events_are_joined(capsys: pytest.CaptureFixture[str]) -> None:
    assert min(join_time(9, 3)) > 0.0
    assert "9 events in all, 9 live" in capsys.readouterr().out
