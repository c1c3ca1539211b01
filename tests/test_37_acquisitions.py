"""Slices grouped into acquisitions, and the versions of a slice compared."""

import datetime as dt
from collections.abc import Callable
from itertools import permutations
from pathlib import Path

import numpy as np
import pystac
import pytest

from conftest import GRID
from sarcast.ingest.scenes.acquisition import acquisitions, newest_versions
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog

START = dt.datetime(2026, 3, 1, 5, 11, 22, tzinfo=dt.UTC)
POWER = np.full(GRID.shape, 0.1, np.float32)


def item(
    name: str,
    after_s: float | None = 0.0,
    orbit: int | None = 80,
    state: str | None = "ascending",
    platform: str | None = "sentinel-1a",
    **more: object,
) -> pystac.Item:
    """A slice that starts some seconds after ``START``; None if only its date is known."""
    properties = {"platform": platform, "sat:orbit_state": state, "sat:relative_orbit": orbit}
    known = {key: value for key, value in {**properties, **more}.items() if value is not None}
    day = START.replace(hour=0, minute=0, second=0)
    time = None if after_s is None else START + dt.timedelta(seconds=after_s)
    last = None if after_s is not None else day + dt.timedelta(hours=23, minutes=59)
    made = pystac.Item(
        name, None, [27.0, 62.0, 28.0, 62.5], time, known,
        start_datetime=None if last is None else day, end_datetime=last,
    )  # fmt: skip
    fields = {"bands": [{"name": "VV", "unit": "dB"}], "sarcast:quantity": "sigma0"}
    made.add_asset("vv", pystac.Asset("vv.tif", extra_fields=fields))
    return made


def passes(*items: pystac.Item) -> list[str]:
    """Ids of the acquisitions, the same in every order of the items."""
    found = {tuple(each.scene_id for each in acquisitions(order)) for order in permutations(items)}
    assert len(found) == 1
    return list(found.pop())


def moved(one: pystac.Item, degrees: float) -> pystac.Item:
    assert one.bbox is not None
    one.bbox = [corner + degrees * (index % 2) for index, corner in enumerate(one.bbox)]
    return one


@pytest.mark.parametrize("platform", ["sentinel-1a", "sentinel-1c", None])
@pytest.mark.parametrize("first", [80, 175])
def test_a_pass_over_the_ascending_node_is_one_acquisition(
    platform: str | None, first: int
) -> None:
    """The relative orbit counts up at the node, from 175 to 1; the first slice gives it."""
    slices = [
        moved(item("a", 0, first, platform=platform), 0.0),
        moved(item("b", 3, first % 175 + 1, platform=platform), 0.2),
        moved(item("c", 28, first % 175 + 1, platform=platform), 0.4),
    ]
    assert passes(*slices) == ["a+b+c"]
    (whole,) = acquisitions(slices)
    assert whole.relative_orbit == first
    assert whole.time == np.datetime64("2026-03-01T05:11:22")


@pytest.mark.parametrize(
    ("second", "together"),
    [
        (item("b", 25), True),
        (item("b", 25, orbit=None), True),
        (item("b", 25, state=None), True),
        (item("b", 599), True),
        (item("b", 601), False),
        (item("b", 98.7 * 60, orbit=81), False),  # the next revolution
        (item("b", 25, platform="sentinel-1d"), False),
        (item("b", 25, orbit=79), False),  # cannot follow 80
        (item("b", 25, orbit=95), False),
        (item("b", 25, orbit=None, state="descending"), False),
        (item("b", 25, orbit=80, state="descending"), True),  # past the northernmost point
    ],
)
def test_which_slices_are_one_pass(second: pystac.Item, together: bool) -> None:
    found = acquisitions([item("a"), moved(second.clone(), 0.2)])
    assert [each.scene_id for each in found] == (["a+b"] if together else ["a", "b"])


def test_a_slice_with_only_a_date_belongs_to_the_pass_of_that_date() -> None:
    """That of its platform, relative orbit and direction; the time is that of the other slices."""
    known = item("known", 0)
    date = moved(item("date", None), 0.2)
    assert passes(known, date) == ["known+date"]
    (whole,) = acquisitions([date, known])
    assert whole.time == np.datetime64("2026-03-01T05:11:22")
    evening = item("evening", 12 * 3600, 95, "descending")
    other = moved(item("other", None, 95, "descending"), 0.2)
    assert passes(known, date, evening, other) == ["known+date", "evening+other"]
    for apart in (
        item("apart", None, 95, "descending"),
        item("apart", None, 80, "descending"),
        item("apart", None, None, None),
        item("apart", None, platform="sentinel-1c"),
    ):
        assert sorted(passes(known, moved(apart, 0.2))) == ["apart", "known"]
    assert passes(date, moved(item("next", None), 0.4)) == ["date+next"]


# --- versions -------------------------------------------------------------------------------------


def test_the_newest_is_chosen_by_parsed_times() -> None:
    """As text the first would be later; ids that sort otherwise do not matter."""
    times = ("2026-03-02T01:00:00+09:00", "2026-03-01T23:30:00Z")  # the first is 16:00 UTC
    for names in (("a", "b"), ("b", "a")):
        older, newer = (
            item(name, **{"processing:datetime": time})
            for name, time in zip(names, times, strict=True)
        )
        for order in permutations((older, newer)):
            assert newest_versions(order) == [newer]


def test_times_of_the_same_property_are_compared() -> None:
    """An item that was updated later is not newer, if its product was processed before."""
    old = item("b", updated="2026-09-01", **{"processing:datetime": "2026-03-01T06:00:00Z"})
    new = item("a", updated="2026-04-01", **{"processing:datetime": "2026-03-02T06:00:00Z"})
    assert newest_versions([old, new]) == [new]
    del old.properties["processing:datetime"]  # now only the updates can be compared
    assert newest_versions([old, new]) == [old]
    old.properties["updated"] = "2026-04-01T00:00:00Z"
    new.properties["created"], old.properties["created"] = "2026-03-09", "2026-03-08"
    assert newest_versions([old, new]) == [new]  # updated at the same time


def test_versions_of_unknown_age_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """The choice does not depend on the order, and is a warning."""
    twins = [item("C5F1"), item("07AB"), item("9E22", created="yesterday")]
    chosen = {newest_versions(order)[0].id for order in permutations(twins)}
    assert chosen == {"C5F1"}
    line = "no processing time states which is newer: C5F1 is used instead of"
    assert f"warning: 1 slice has more than one version, and {line}" in capsys.readouterr().err
    stated = item("0000", created="2026-03-05")
    assert newest_versions([*twins, stated]) == [stated]


def test_boxes_across_180_degrees_are_compared_by_what_they_cover() -> None:
    first, second = item("a", created="2026-03-02"), item("b", created="2026-03-03")
    first.bbox = [179.0, -17.0, -179.0, -16.0]
    for same in ([179.0, -17.0, 181.0, -16.0], [-181.0, -17.0, -179.0, -16.0]):
        second.bbox = same
        assert newest_versions([first, second]) == [second]
    second.bbox = [-180.0, -17.0, -178.0, -16.0]
    assert len(newest_versions([first, second])) == 2


Names = Callable[[str], str]

NAMES: dict[str, Names] = {
    "opera": lambda made: (
        f"OPERA_L2_RTC-S1_T058-123456-IW2_20260301T051122Z_{made}Z_S1A_30_v1.0_VV"
    ),
}


@pytest.mark.parametrize("source", NAMES)
def test_the_processing_time_in_a_name(source: str, tmp_path: Path) -> None:
    made = ("20260305T000000", "20260304T235959")
    for time in made:
        write_cog(tmp_path / f"{NAMES[source](time)}.tif", POWER, GRID)
    items = find_items([tmp_path], IndexOptions())
    assert {each.properties["processing:datetime"] for each in items} == {
        "2026-03-05T00:00:00Z", "2026-03-04T23:59:59Z",
    }  # fmt: skip
    (kept,) = newest_versions(items)
    assert made[0] in kept.id
