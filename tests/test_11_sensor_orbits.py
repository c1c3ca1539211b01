import datetime as dt
import re
from itertools import pairwise
from pathlib import Path

import pytest

from sarcast.errors import SarcastError
from sarcast.ingest.scenes.profile import parse_platform
from sarcast.sensor.conditions import PLATFORMS
from sarcast.sensor.orbits import (
    ASCENDING,
    DESCENDING,
    FIRST_ORBITS,
    ORBITS_PER_CYCLE,
    direction_of,
    heading_deg,
    look_direction_deg,
    opposite_heading,
    orbit_direction,
    relative_orbit,
    same_pass,
)
from sarcast.tfrecord.samples import MISSIONS
from sarcast.world.table import PLATFORM_DB
from sarcast.world.views import SERVICE


@pytest.fixture(scope="module")
def annotation(data_dir: Path) -> str:
    return next(data_dir.glob("grd/*.SAFE/annotation/*.xml")).read_text()


def test_a_real_annotation_agrees(annotation: str, data_dir: Path) -> None:
    fields = {
        name: re.search(rf"<{name}>([^<]+)", annotation)[1]  # type: ignore[index]
        for name in ("platformHeading", "pass", "absoluteOrbitNumber", "startTime")
    }
    latitudes = [float(text) for text in re.findall(r"<latitude>([^<]+)", annotation)]
    longitudes = [float(text) for text in re.findall(r"<longitude>([^<]+)", annotation)]
    latitude, longitude = (sum(values) / len(values) for values in (latitudes, longitudes))
    direction = orbit_direction(dt.datetime.fromisoformat(fields["startTime"]), longitude)
    assert direction == fields["pass"].lower()
    assert heading_deg(latitude, direction) == pytest.approx(
        float(fields["platformHeading"]), abs=0.3
    )
    manifest = next(data_dir.glob("grd/*.SAFE/manifest.safe")).read_text()
    orbit = re.search(r'relativeOrbitNumber type="start">(\d+)', manifest)[1]  # type: ignore[index]
    assert relative_orbit("sentinel-1b", int(fields["absoluteOrbitNumber"])) == int(orbit)


@pytest.mark.parametrize(
    ("time", "longitude", "direction"),
    [
        ("2021-11-19T01:58:55", -119.8, ASCENDING),  # OPERA track 137, California
        ("2018-03-01T17:32:00", 4.5, ASCENDING),  # Belgium
        ("2021-12-23T05:11:22+00:00", 12.5, DESCENDING),  # Rome
        ("2020-06-01T15:30:00", 27.0, ASCENDING),  # Finland, evening
        ("2020-06-01T04:40:00", 27.0, DESCENDING),
        ("2020-06-01T18:00:00", 179.0, DESCENDING),  # six in the morning at the date line
    ],
)
def test_known_passes(time: str, longitude: float, direction: str) -> None:
    assert orbit_direction(dt.datetime.fromisoformat(time), longitude) == direction


def test_the_heading_of_a_real_annotation() -> None:
    """Sentinel-1B over Rome, 2021-12-23; without the Earth's rotation it would be 2.8 less."""
    assert heading_deg(41.9, DESCENDING) == pytest.approx(-166.31, abs=0.3)


def test_headings_are_mirrored_between_passes() -> None:
    for latitude in (-60.0, 0.0, 45.0, 75.0):
        up, down = heading_deg(latitude, ASCENDING), heading_deg(latitude, DESCENDING)
        assert up + down == pytest.approx(-180.0)
        assert abs(up) < 90.0 < abs(down)
        assert opposite_heading(up) == pytest.approx(down)
        assert opposite_heading(down + 360.0) == pytest.approx(up)
        assert [direction_of(one) for one in (up, up + 360.0)] == [ASCENDING, ASCENDING]
        assert [direction_of(one) for one in (down, down + 360.0)] == [DESCENDING, DESCENDING]


def test_a_latitude_beyond_the_orbit() -> None:
    with pytest.raises(SarcastError, match=r"latitude 85\.00"):
        heading_deg(85.0, ASCENDING)


def test_the_antenna_looks_right() -> None:
    assert look_direction_deg(-12.0) == pytest.approx(78.0)
    assert look_direction_deg(-168.0) == pytest.approx(282.0)


def test_unknown_platforms_have_no_relative_orbit() -> None:
    assert relative_orbit("sentinel-1x", 100) is None


@pytest.mark.parametrize(
    ("platform", "absolute", "relative"),
    [
        ("sentinel-1a", 31482, 85),
        ("sentinel-1b", 30148, 22),  # the GRD over Rome
        ("sentinel-1c", 2417, 146),
        ("sentinel-1c", 8018, (8018 - 172) % 175 + 1),
        ("sentinel-1c", 8019, (8019 - 99) % 175 + 1),  # the first one after its move
        ("sentinel-1c", 8791, 118),
        ("sentinel-1d", 2389, 73),
    ],
)
def test_relative_orbits_of_all_satellites(platform: str, absolute: int, relative: int) -> None:
    assert relative_orbit(platform, absolute) == relative


@pytest.mark.parametrize("platform", PLATFORMS)
def test_relative_orbits_count_up_and_repeat(platform: str) -> None:
    """Within the validity of an offset, each orbit is one on, and a cycle returns to it."""
    for first, _ in FIRST_ORBITS[platform]:
        orbits = [relative_orbit(platform, first + k) for k in range(1, 2 * ORBITS_PER_CYCLE + 1)]
        assert sorted(orbits[:ORBITS_PER_CYCLE]) == list(range(1, ORBITS_PER_CYCLE + 1))
        assert orbits[:ORBITS_PER_CYCLE] == orbits[ORBITS_PER_CYCLE:]
        assert all(same_pass(one, two) for one, two in pairwise(orbits))
        assert not any(same_pass(two, one) for one, two in pairwise(orbits))


def test_every_table_by_platform_has_every_platform() -> None:
    """A platform that is added to ``PLATFORMS`` must be added to all of these."""
    assert set(FIRST_ORBITS) == set(PLATFORMS)
    assert {platform for platform, *_ in SERVICE} == set(PLATFORMS)
    assert len(MISSIONS) == len(PLATFORM_DB) == len(PLATFORMS)
    assert [parse_platform(mission) for mission in MISSIONS] == list(PLATFORMS)
    for name in ("sentinel-1a", "SENTINEL-1A", "S1A", "s1a", "Sentinel1A", "S1_A"):
        for letter, platform in zip("abcd", PLATFORMS, strict=True):
            spelled = name[:-1] + (letter if name[-1].islower() else letter.upper())
            assert parse_platform(spelled) == platform
