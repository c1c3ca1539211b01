"""Events followed over acquisitions: ids that last, merges, splits, ends."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import shapely
from scipy import ndimage

from conftest import GRID
from sarcast.io.outlines import outlines_of
from sarcast.monitoring import pixels
from sarcast.monitoring.alerts import Site
from sarcast.monitoring.events import Step, Tracked, draw
from sarcast.monitoring.layers import NO_DAY, Layers, Status
from sarcast.monitoring.sequential import ACTIVE

BANDS = ("VV", "VH")
DAY = 18_700
MIN_PIXELS = 6
Box = tuple[int, int, int, int]
A, B = (5, 5, 4, 10), (5, 30, 4, 6)
"""Row, column, height and width of two squares that do not touch."""


def layers_of(boxes: dict[Box, int], **values: Any) -> Layers:
    """Layers in which some boxes have a status, and the rest none."""
    layers = Layers.empty(GRID.shape.yx, 2)
    layers = layers.updated(np.ones(GRID.shape.yx, dtype=bool), status=Status.NONE)
    for (row, column, height, width), status in boxes.items():
        where = np.zeros(GRID.shape.yx, dtype=bool)
        where[row : row + height, column : column + width] = True
        known = {"first_day": DAY, "duration": 1, "greatest_metric": 5.0, "magnitude": -3.0}
        layers = layers.updated(where, status=status, count=1, **{**known, **values})
    return layers


def joined(tracked: Tracked, layers: Layers, day: int) -> Step:
    """Join an acquisition."""
    labels = np.zeros(GRID.shape.yx, dtype=np.int32)
    return tracked.advance(layers.arrays(), day, Site(GRID, MIN_PIXELS), labels)


def follow(*acquisitions: dict[Box, int]) -> list[Step]:
    """Steps of several acquisitions, six days apart."""
    tracked, steps = Tracked.none(GRID.shape.yx, BANDS), []
    for index, boxes in enumerate(acquisitions):
        step = joined(tracked, layers_of(boxes), DAY + 6 * index)
        steps.append(step)
        tracked = step.tracked
    return steps


def ids_in(step: Step, box: Box) -> set[int]:
    row, column, height, width = box
    return set(step.tracked.labels[row : row + height, column : column + width].ravel().tolist())


FIRST, CONFIRMED, FINISHED = Status.FIRST_LOW, Status.CONFIRMED_LOW, Status.FINISHED_LOW


def test_an_event_keeps_its_id_while_it_grows_and_moves() -> None:
    grown: Box = (4, 4, 8, 20)
    one, two, three = follow({A: FIRST, B: FIRST}, {grown: FIRST, B: FIRST}, {A: CONFIRMED})
    assert one.changed["new"] == [1, 2]
    assert ids_in(two, grown) == ids_in(three, A) == {1}
    assert two.changed["new"] == []
    assert three.changed["confirmed"] == [1]
    assert three.changed["dismissed"] == [2]
    table = three.tracked.table
    assert table["state"].tolist() == ["confirmed", "dismissed"]
    assert table["confirmed_day"].tolist() == [DAY + 12, NO_DAY]
    assert table["ended_day"].tolist() == [NO_DAY, DAY + 12]
    assert table["confirmed_px"].tolist() == [40, 0]


def test_what_is_measured() -> None:
    tracked = Tracked.none(GRID.shape.yx, BANDS)
    layers = layers_of({A: FIRST, (8, 5, 1, 10): CONFIRMED})
    deeper = layers.updated(layers.status == CONFIRMED, first_day=DAY - 6, duration=13)
    deeper = deeper.updated(layers.status == CONFIRMED, greatest_metric=9.0, magnitude=-5.0)
    (row,) = joined(tracked, deeper, DAY + 6).tracked.table.itertuples()
    assert (row.alert_px, row.confirmed_px, row.finished_px) == (30, 10, 0)
    assert (row.first_day, row.last_day) == (DAY - 6, DAY + 6)
    assert row.evidence == 9.0
    assert row.mean_vv_db == row.mean_vh_db == pytest.approx(-3.5)
    assert (row.first_row, row.end_row, row.first_column, row.end_column) == (5, 9, 5, 15)


def test_events_that_grow_together_keep_the_id_of_the_larger() -> None:
    bridge: Box = (5, 5, 4, 40)
    _, two, three = follow({A: FIRST, B: FIRST}, {bridge: FIRST}, {bridge: FIRST})
    assert ids_in(two, bridge) == {1}
    assert two.changed["merged"] == [2]
    table = two.tracked.table
    assert table.at[2, "state"] == "merged"
    assert table.at[2, "merged_into"] == 1
    assert table.at[1, "parents"] == "2"
    assert three.changed["merged"] == three.changed["new"] == []
    pd.testing.assert_series_equal(three.tracked.table.loc[2], table.loc[2])


def test_an_event_that_falls_apart_keeps_the_id_in_its_largest_part() -> None:
    bridge: Box = (5, 5, 4, 31)
    _, two = follow({bridge: FIRST}, {A: FIRST, B: FIRST, (20, 20, 1, 2): FIRST})
    assert ids_in(two, A) == {1}
    assert ids_in(two, B) == {2}
    assert two.changed["new"] == [2]
    assert two.tracked.table.at[2, "parents"] == "1"
    assert ids_in(two, (20, 20, 1, 2)) == {0}  # small and new


def test_a_small_part_of_an_event_lasts() -> None:
    _, two = follow({A: FIRST}, {(6, 6, 1, 2): FIRST})
    assert ids_in(two, (6, 6, 1, 2)) == {1}


def test_parts_that_touch_at_a_corner_are_one_event() -> None:
    (one,) = follow({(5, 5, 3, 3): FIRST, (8, 8, 3, 3): FIRST})
    assert one.changed["new"] == [1]


def test_a_finished_event_stays_and_its_place_can_be_alerted_anew() -> None:
    _, two, three = follow(
        {A: CONFIRMED}, {A: FINISHED}, {(5, 5, 4, 4): FIRST, (5, 9, 4, 6): FINISHED}
    )
    assert two.changed["finished"] == [1]
    kept = two.tracked.table.loc[1]
    assert kept["state"] == "finished"
    assert kept["finished_px"] == 40
    outline = shapely.from_wkb(kept["outline"])
    assert outline.equals(shapely.box(500_050.0, 6_899_910.0, 500_150.0, 6_899_950.0))
    assert three.changed["new"] == [2]
    assert three.tracked.table.at[2, "parents"] == ""
    pd.testing.assert_series_equal(three.tracked.table.loc[1], kept)
    assert ids_in(three, A) == {1, 2}


def test_part_of_an_event_can_be_finished() -> None:
    _, two = follow({A: CONFIRMED}, {(5, 5, 4, 6): CONFIRMED, (5, 11, 4, 4): FINISHED})
    row = two.tracked.table.loc[1]
    assert (row["state"], row["confirmed_px"], row["finished_px"]) == ("confirmed", 24, 16)
    assert ids_in(two, A) == {1}


def test_touched_rows_are_those_of_live_events_and_of_those_that_ended() -> None:
    one, two, three = follow({A: FIRST, B: CONFIRMED}, {B: CONFIRMED}, {B: CONFIRMED})
    assert [step.touched.index.tolist() for step in (one, two, three)] == [[1, 2], [1, 2], [2]]


def test_without_events_the_columns_are_the_same() -> None:
    empty = Tracked.none(GRID.shape.yx, BANDS)
    (one,) = follow({A: FIRST})
    nothing = joined(empty, layers_of({}), DAY).tracked
    assert nothing.table.empty
    assert nothing.table.dtypes.equals(one.tracked.table.dtypes)


# --- parts ----------------------------------------------------------------------------------------


def random_layers(rng: np.random.Generator) -> Layers:
    """Blobs of alerts of all states, some of which are too small for an event."""
    shape = GRID.shape.yx
    noise = ndimage.gaussian_filter(rng.normal(size=shape), 2.0)
    status = np.where(noise > 0.1, rng.choice([FIRST, CONFIRMED], shape), Status.NONE)
    status = np.where((noise > 0.07) & (status == Status.NONE), FINISHED, status)
    alert = status > Status.NONE
    empty = Layers.empty(shape, 2)
    return empty.updated(
        np.ones(shape, dtype=bool), status=status, magnitude=np.nan
    ).updated(
        alert,
        count=1,
        first_day=DAY - rng.integers(0, 40, shape),
        duration=rng.integers(1, 40, shape),
        greatest_metric=rng.uniform(3.0, 9.0, shape),
        magnitude=np.where(rng.random(shape) < 0.1, np.nan, rng.normal(-3.0, 2.0, shape)),
    )  # fmt: skip


@pytest.mark.parametrize("side", [7, 16, 33])
def test_events_do_not_depend_on_the_parts(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten acquisitions of random blobs, which merge, split and end across the edges of parts."""
    acquisitions = [random_layers(np.random.default_rng(seed)) for seed in range(10)]

    def all_steps() -> list[Step]:
        tracked, steps = Tracked.none(GRID.shape.yx, BANDS), []
        for index, layers in enumerate(acquisitions):
            steps.append(joined(tracked, layers, DAY + 6 * index))
            tracked = steps[-1].tracked
        return steps

    whole = all_steps()
    monkeypatch.setattr(pixels, "PART_PX", side)
    parts = all_steps()
    assert {"merged", "dismissed", "finished"} <= set(whole[-1].tracked.table["state"])
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(other.tracked.labels, one.tracked.labels)
        pd.testing.assert_frame_equal(other.tracked.table, one.tracked.table, check_exact=True)
        assert other.changed == one.changed


def test_events_are_measured_as_by_hand() -> None:
    """Sums and extremes of each event against those of its pixels alone."""
    layers = random_layers(np.random.default_rng(0))
    step = joined(Tracked.none(GRID.shape.yx, BANDS), layers, DAY)
    labels, table = np.asarray(step.tracked.labels), step.tracked.table
    connected, count = ndimage.label(np.isin(layers.status, ACTIVE), np.ones((3, 3)))
    sizes = np.bincount(connected.ravel())
    # ids are given by the first pixel, row by row, as scipy numbers connected pixels
    expected = [n for n in range(1, count + 1) if sizes[n] >= MIN_PIXELS]
    assert len(expected) > 5
    assert table.index.tolist() == list(range(1, len(expected) + 1))
    for number, part in enumerate(expected, start=1):
        inside = connected == part
        np.testing.assert_array_equal(labels == number, inside)
        row = table.loc[number]
        rows, columns = np.nonzero(inside)
        assert (row["first_row"], row["end_row"]) == (rows.min(), rows.max() + 1)
        assert (row["first_column"], row["end_column"]) == (columns.min(), columns.max() + 1)
        assert row["alert_px"] == (inside & (layers.status == FIRST)).sum()
        assert row["confirmed_px"] == (inside & (layers.status == CONFIRMED)).sum()
        assert row["first_day"] == layers.first_day[inside].min()
        assert row["last_day"] == (layers.first_day + layers.duration - 1)[inside].max()
        assert row["evidence"] == layers.greatest_metric[inside].max()
        assert row["mean_vv_db"] == pytest.approx(np.nanmean(layers.magnitude[0][inside]), abs=1e-5)


def test_outlines_are_those_of_the_whole_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "PART_PX", 16)
    tracked = joined(
        Tracked.none(GRID.shape.yx, BANDS), random_layers(np.random.default_rng(1)), DAY
    ).tracked
    rows = tracked.table.iloc[::-1]
    drawn = draw(tracked.labels, rows, GRID)
    labels = np.asarray(tracked.labels)
    whole = outlines_of(labels, len(rows), GRID)
    assert len(drawn) > 5
    for number, outline in zip(rows.index, drawn, strict=True):
        assert outline.equals(whole[number - 1])
        assert outline.area == pytest.approx((labels == number).sum() * 100.0)
