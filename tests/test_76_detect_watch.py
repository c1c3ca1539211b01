"""Which acquisitions are watched, from which baseline, and which earlier ones are replayed."""

import datetime as dt

import numpy as np
import pydantic
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sarcast.detection.watch import (
    Watch,
    WatchOptions,
    knows_season,
    plan_replays,
    plan_watch,
)
from sarcast.errors import SarcastError

DAY = np.timedelta64(1, "D")
START = np.datetime64("2020-01-01T17:00", "ns")


def cube_of(times: np.ndarray) -> xr.Dataset:
    return xr.Dataset(coords={"time": times})


def every_six_days(count: int = 20) -> xr.Dataset:
    return cube_of(START + np.arange(count) * 6 * DAY)


def date(index: int) -> str:
    """Date of an acquisition of ``every_six_days``."""
    return str((START + index * 6 * DAY).astype("datetime64[D]"))


def planned(cube: xr.Dataset, **settings: object) -> Watch:
    return plan_watch(cube, WatchOptions(**settings))


@pytest.mark.parametrize(
    ("settings", "targets", "before"),
    [
        ({}, range(17, 20), 17),
        ({"acquisitions": 1}, [19], 19),
        ({"acquisitions": 19}, range(1, 20), 1),
        ({"until": "latest", "acquisitions": 2}, [18, 19], 18),
        ({"until": date(10)}, range(8, 11), 8),
        ({"until": "2020-03"}, range(13, 16), 13),  # the last ones of March
        ({"until": "2020-03-01T16:59:59"}, range(7, 10), 7),  # one second too early
        ({"since": date(15)}, range(15, 20), 15),
        ({"since": date(15), "until": date(16)}, [15, 16], 15),
        ({"at": date(10)}, [10], 10),
        ({"gap": 2}, range(17, 20), 15),
        ({"at": date(10), "gap": 10}, [10], 0),
        ({"baseline": date(12)}, range(17, 20), 12),
        ({"baseline": date(12), "gap": 8}, range(17, 20), 9),
        ({"baseline": date(18), "acquisitions": 2}, [18, 19], 18),
    ],
)
def test_what_is_watched(settings: dict[str, object], targets: list[int], before: int) -> None:
    cube = every_six_days()
    if before == 0:
        with pytest.raises(SarcastError, match="no image precedes"):
            planned(cube, **settings)
        return
    watch = planned(cube, **settings)
    assert watch.targets == tuple(targets)
    used = cube["time"].values < watch.before
    np.testing.assert_array_equal(used, np.arange(20) < before)


@pytest.mark.parametrize(
    "until",
    [
        dt.date(2020, 3, 1),
        dt.datetime(2020, 3, 1, 17, tzinfo=dt.UTC),
        np.datetime64("2020-03-01"),
        every_six_days()["time"][10],
    ],
)
def test_a_date_can_be_text_or_any_date_object(until: object) -> None:
    assert planned(every_six_days(), until=until) == planned(every_six_days(), until=date(10))


@given(
    order=st.permutations(range(12)),
    count=st.integers(1, 4),
    gap=st.integers(0, 3),
    until=st.integers(7, 11),
)
def test_the_order_of_the_cube_has_no_effect(
    order: list[int], count: int, gap: int, until: int
) -> None:
    """Against the plain definition: the last ones up to a date, oldest first."""
    times = (START + np.arange(12) * 6 * DAY)[np.array(order)]
    options = WatchOptions(until=date(until), acquisitions=count, gap=gap)
    watch = plan_watch(cube_of(times), options)
    wanted = [START + index * 6 * DAY for index in range(until - count + 1, until + 1)]
    np.testing.assert_array_equal(times[list(watch.targets)], wanted)
    baseline = sorted(time for time in times if time < watch.before)
    assert len(baseline) == until - count + 1 - gap


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"acquisitions": 30}, "30 acquisitions are to be watched, but only 20 exist until latest"),
        ({"acquisitions": 20}, "no image precedes the watched acquisitions from 2020-01-01 on"),
        ({"until": "2019-12-31"}, "only 0 exist until 2019-12-31; choose fewer .* later --until"),
        ({"baseline": date(18)}, f"but only 2 exist from {date(18)} .--baseline. until latest"),
        ({"baseline": "2019-01-01"}, "and the baseline's end, 2019-01-01; watch later or"),
        ({"since": "2021-01-01"}, "between 2021-01-01 .--since. and latest .* to 2020-04-24$"),
        ({"since": date(5), "until": date(4)}, "no acquisition lies between"),
        ({"at": "2020-01-02"}, "no acquisition at 2020-01-02; the nearest is 2020-01-01"),
        ({"until": "yesterday"}, "'yesterday' is not a date"),
        ({"at": date(3), "gap": 3}, "no image precedes .* or a shorter gap"),
    ],
)
def test_what_cannot_be_watched_is_one_line(settings: dict[str, object], message: str) -> None:
    with pytest.raises(SarcastError, match=message) as error:
        planned(every_six_days(), **settings)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"at": date(3), "until": date(5)},
        {"at": date(3), "acquisitions": 2},
        {"at": date(3), "since": date(2)},
        {"since": date(3), "acquisitions": 2},
        {"acquisitions": 0},
        {"gap": -1},
        {"untill": date(3)},
    ],
)
def test_options_that_exclude_each_other(settings: dict[str, object]) -> None:
    with pytest.raises(pydantic.ValidationError):
        WatchOptions(**settings)


# --- replays --------------------------------------------------------------------------------------


@given(
    dates=st.integers(4, 60),
    count=st.integers(1, 4),
    gap=st.integers(0, 2),
    previous=st.integers(1, 6),
    most=st.integers(0, 8),
)
def test_replays_repeat_the_watch_in_its_past(
    dates: int, count: int, gap: int, previous: int, most: int
) -> None:
    """As many targets, as far from the baseline, none twice, all before the watch's baseline."""
    if dates < count + gap + 1:
        return
    times = START + np.arange(dates) * 6 * DAY
    watch = plan_watch(cube_of(times), WatchOptions(acquisitions=count, gap=gap))
    replays = plan_replays(times, watch, previous=previous, most=most)
    baseline = int((times < watch.before).sum())
    room = max(0, baseline - previous - gap) // count
    assert len(replays) == min(most, room)
    targets = [target for replay in replays for target in replay.targets]
    assert len(set(targets)) == len(targets)
    assert targets == [] or max(targets) < baseline
    assert [replay.targets for replay in replays] == sorted(
        (replay.targets for replay in replays), reverse=True
    )
    for replay in replays:
        assert len(replay.targets) == count
        before = int((times < replay.before).sum())
        assert before >= previous
        assert replay.targets[0] - before == gap


def test_a_distant_baseline_is_repeated() -> None:
    """--baseline years ago: the replays are as far from theirs, or do not exist."""
    times = START + np.arange(40) * 6 * DAY
    watch = plan_watch(cube_of(times), WatchOptions(acquisitions=2, baseline=date(20)))
    assert watch.targets == (38, 39)
    assert plan_replays(times, watch, previous=4, most=8) == []
    near = plan_watch(cube_of(times), WatchOptions(acquisitions=2, baseline=date(35)))
    for replay in plan_replays(times, near, previous=4, most=8):
        assert replay.targets[0] - int((times < replay.before).sum()) == 38 - 35


def test_replays_are_those_nearest_in_season() -> None:
    """Three years of acquisitions: with room for six replays, they are near May in every year."""
    times = np.datetime64("2018-01-05T05:00", "ns") + np.arange(100) * 12 * DAY
    watch = plan_watch(cube_of(times), WatchOptions(acquisitions=2, until="2021-04-20"))
    replays = plan_replays(times, watch, previous=4, most=6)
    away = [
        abs((times[each.targets[0]] - times[watch.targets[0]]) / DAY + 365.25 * years)
        for each in replays
        for years in [round(float((times[watch.targets[0]] - times[each.targets[0]]) / DAY) / 365)]
    ]
    assert len(away) == 6
    assert max(away) < 90
    assert len({str(times[each.targets[0]])[:4] for each in replays}) >= 2


def test_a_watch_after_a_gap_is_like_one_after_a_gap() -> None:
    """Blocks of twelve dates, sixty days apart: the start of the last is like that of another."""
    starts = np.cumsum([0, *([6] * 11), 60, *([6] * 11), 60, 6])
    times = START + starts * DAY
    watch = plan_watch(cube_of(times), WatchOptions(acquisitions=2))
    assert watch.targets == (24, 25)
    (replay,) = plan_replays(times, watch, previous=4, most=1)
    assert replay.targets == (12, 13)


@pytest.mark.parametrize(
    ("days_before", "known"), [(12, False), (250, False), (330, True), (400, True), (720, True)]
)
def test_a_season_is_known_from_an_earlier_year(days_before: int, known: bool) -> None:
    times = np.array(["2022-06-30", "2022-06-30"], dtype="datetime64[ns]")
    times[0] -= np.timedelta64(days_before, "D")
    watch, earlier = Watch((1,), times[1]), Watch((0,), times[0])
    assert knows_season(times, watch, [earlier]) is known
    assert knows_season(times, watch, []) is False
