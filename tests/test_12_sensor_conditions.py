import json
from pathlib import Path

import numpy as np
import pytest

from sarcast.errors import SarcastError, UsageError
from sarcast.sensor.conditions import (
    COLUMNS,
    CONDITIONS,
    HEADING,
    PaperScaling,
    condition,
    paper_vector,
    platform_number,
    read_conditions,
    set_conditions,
)
from sarcast.sensor.orbits import heading_deg


def rows() -> np.ndarray:
    """Five images whose values identify image and column: image * 100 + column."""
    numbers = 100.0 * np.arange(5)[:, np.newaxis] + np.arange(9.0)
    return numbers.astype(np.float32)


def test_columns_and_conditions() -> None:
    assert CONDITIONS == (
        "temperature", "snow_depth", "heading", "incidence", "precipitation", "platform",
    )  # fmt: skip
    assert condition("precipitation_3") == "precipitation"
    assert len(COLUMNS) == 9


def test_the_papers_order() -> None:
    """With the scaling undone, each value identifies its image and column."""
    row = rows()
    row[:, 8] = [0, 1, 0, 1, 1]
    scaling = PaperScaling(snow_depth_max=1.0, precipitation_max=1.0)
    values, present = paper_vector(row, scaling)
    assert values.shape == (45,)
    assert present.all()
    temperature = (values[:4] + 1.0) * 30.0 - 30.0
    np.testing.assert_allclose(temperature, [0, 100, 200, 300], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(values[4:8], [1, 101, 201, 301])
    np.testing.assert_allclose(values[8:12] * 360, [2, 102, 202, 302], rtol=1e-5)
    np.testing.assert_allclose(values[12:16] * 17 + 29, [3, 103, 203, 303], rtol=1e-5)
    np.testing.assert_allclose(values[16:32], row[:4, 4:8].ravel())
    np.testing.assert_array_equal(values[32:36], [1, 0, 1, 0])  # S1A is 1, S1B is 0
    np.testing.assert_allclose(values[37], 401)
    np.testing.assert_allclose(values[38] * 360, 402, rtol=1e-5)
    assert values[40] == 0.0
    np.testing.assert_allclose(values[41:], row[4, 4:8])


def test_the_published_code_agrees(data_dir: Path) -> None:
    """A sample stored by the published code has a vector of the same 45 values."""
    stats = json.loads((data_dir / "tfrecord" / "stats.json").read_text())
    stored = np.load(data_dir / "tfrecord" / "expected-first-sample.npz")
    sizes = {name: stored[name].shape for name in stored.files}
    assert stats
    assert any(45 in shape for shape in sizes.values())


def test_missing_conditions_are_zero_and_flagged() -> None:
    row = rows()
    row[2, 3] = np.nan
    row[4, 8] = platform_number("sentinel-1c")
    values, present = paper_vector(row, PaperScaling())
    assert values[14] == 0.0
    assert not present[14]
    assert not present[40]
    assert present.sum() == 45 - 2 - 4  # platforms 8, 108 .. of the other rows are unknown too


def test_conditions_are_set_by_name() -> None:
    changed = set_conditions(rows(), {"precipitation": 7.0, "temperature": -5.0})
    assert (changed[:, 4:8] == 7.0).all()
    assert (changed[:, 0] == -5.0).all()
    np.testing.assert_array_equal(changed[:, 1:4], rows()[:, 1:4])
    one_day = set_conditions(rows(), {"precipitation_2": 9.0})
    np.testing.assert_array_equal(one_day[:, 6], 9.0)
    np.testing.assert_array_equal(one_day[:, 5], rows()[:, 5])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"wind": 3.0}, "no condition 'wind'; known are temperature"),
        ({"incidence": 120.0}, r"incidence must lie in 0\.\.90 degree, but is 120"),
    ],
)
def test_invalid_conditions_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(SarcastError, match=message):
        set_conditions(rows(), values)


def test_a_heading_in_0_to_360_degrees_is_the_same_heading() -> None:
    for heading, wrapped in ((348.0, -12.0), (-12.0, -12.0), (192.5, -167.5), (0.0, 0.0)):
        assert set_conditions(rows(), {"heading": heading})[0, HEADING] == np.float32(wrapped)


def test_conditions_given_as_text() -> None:
    read = read_conditions(
        {"temperature": "20", "orbit_direction": "ascending", "platform": "sentinel-1b"}, 61.0
    )
    assert read == {"temperature": 20.0, "heading": heading_deg(61.0, "ascending"), "platform": 1.0}
    for words, message in (
        ({"temperature": "warm"}, "temperature must be a number"),
        ({"orbit_direction": "up"}, "ascending or descending"),
        ({"platform": "ers-1"}, "platform is one of"),
    ):
        with pytest.raises(UsageError, match=message):
            read_conditions(words, 61.0)


def test_empty_bounds_are_refused() -> None:
    with pytest.raises(SarcastError, match="elevation_max must be above 0"):
        PaperScaling(elevation_max=0.0)
    with pytest.raises(SarcastError, match="band_low"):
        PaperScaling(band_low=(0.0, 0.0), band_high=(0.0, 1.0))
