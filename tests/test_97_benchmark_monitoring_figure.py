"""The strip of status maps and the history of an event, of a square that changes."""

from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
from PIL import Image

from benchmarks.monitoring_figure import draw, happened, history_table, main, states_of_months
from sarcast.monitoring.layers import Status
from sarcast.monitoring.monitor import Monitored
from sarcast.monitoring.output import STATUS
from small_alerts import DATES, FIRST, SQUARE, alert_cube, day, times, watch

CUBE = alert_cube()


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Monitored:
    return watch(CUBE, tmp_path_factory.mktemp("alerts") / "alerts")


def test_the_last_state_of_each_month_is_taken(found: Monitored) -> None:
    states = states_of_months(found.folder, "2021-05", "2021-06")
    expected = pd.Series(times()).groupby(lambda index: times()[index].astype("M8[M]")).max()
    assert [state.record.time for state in states] == list(expected.to_numpy()[-2:])
    (last,) = states_of_months(found.folder, "2021-06", "2021-06")
    assert last.record.hash == found.state.record.hash


def test_the_square_has_the_colour_of_its_status(found: Monitored, tmp_path: Path) -> None:
    outline = shapely.Polygon(CUBE.odc.geobox[SQUARE].extent.geom)
    changes = gpd.GeoDataFrame({"date": [day(FIRST)]}, geometry=[outline], crs="EPSG:32635")
    states = states_of_months(found.folder, "2021-06", "2021-06")
    for name, given in (("plain", None), ("outlined", changes)):
        draw(states, CUBE, given, tmp_path / f"{name}.png")
    pixels = {
        name: np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB"))
        for name in ("plain", "outlined")
    }
    confirmed = {
        stop.rgba[:3]
        for stop in STATUS
        if stop.value in (Status.CONFIRMED_LOW, Status.CONFIRMED_HIGH)
    }
    colours = {tuple(colour) for colour in pixels["plain"].reshape(-1, 3).tolist()}
    assert colours & confirmed
    assert (34, 211, 238) not in colours
    assert (34, 211, 238) in {tuple(c) for c in pixels["outlined"].reshape(-1, 3).tolist()}


def test_changes_of_later_are_not_shown() -> None:
    changes = gpd.GeoDataFrame(
        {"date": [day(FIRST), day(DATES - 1)]}, geometry=[shapely.Point(0, 0)] * 2
    )
    assert len(happened(changes, times()[FIRST])) == 1


def test_the_history_of_an_event_without_repetition(found: Monitored) -> None:
    lines = history_table(found.folder, 1).splitlines()
    assert lines[0].startswith("| acquisition | state | alert, ha")
    assert lines[2].startswith(f"| {day(FIRST)} | alert | ")
    assert lines[3].startswith(f"| {day(FIRST + 1)} | confirmed | ")
    assert lines[-1].startswith(f"| {day(DATES - 1)} | confirmed | ")


def test_the_command(
    found: Monitored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("benchmarks.monitoring_figure.open_cube", lambda _: CUBE)
    words = [str(found.folder), "cube.zarr", str(tmp_path / "a.png"), "--event", "1"]
    main([*words, "--months", "2021-05", "2021-06"])
    assert "| confirmed |" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size < 300_000
