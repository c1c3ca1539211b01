"""Conventional strategies, each against its definition worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest

from sarcast.errors import SarcastError
from sarcast.prediction.strategies import (
    STRATEGIES,
    Oracle,
    counts_in_paper,
    geometry_distance,
    is_same_pass,
)
from sarcast.sensor.conditions import COLUMNS
from sarcast.windows import Window

ASCENDING, DESCENDING = -12.0, -168.0


def window(incidence, heading, days=None):
    """Window whose previous image n has the value n everywhere; the target is last in each list."""
    count = len(heading) - 1
    conditions = np.full((count + 1, len(COLUMNS)), np.nan, dtype=np.float32)
    conditions[:, COLUMNS.index("incidence")] = incidence
    conditions[:, COLUMNS.index("heading")] = heading
    images = np.arange(count, dtype=np.float32)[:, None, None, None] * np.ones((1, 2, 3, 3))
    days = range(count + 1) if days is None else days
    return Window(
        previous=images.astype(np.float32),
        target=np.zeros((2, 3, 3), dtype=np.float32),
        conditions=conditions,
        times=np.array(
            [np.datetime64("2024-06-01", "ns") + np.timedelta64(int(day), "D") for day in days]
        ),
        elevation=np.zeros((3, 3), dtype=np.float32),
    )


def chosen(strategy, source):
    """Number of the previous image that a strategy takes."""
    (expected,) = STRATEGIES[strategy].expect([source])
    values = np.unique(expected.mean)
    assert values.size == 1
    return values[0]


def test_closest_geometry_scales_incidence_and_heading_alike():
    mixed = window(
        [30.0, 40.0, 39.0, 44.0, 39.5], [ASCENDING, DESCENDING, ASCENDING, ASCENDING, -13]
    )
    scaled_incidence = (np.array([30, 40, 39, 44, 39.5]) - 30.0) / 14.0
    scaled_heading = (np.array([-12, -168, -12, -12, -13]) + 168.0) / 156.0
    by_hand = np.sqrt(
        (scaled_incidence[:-1] - scaled_incidence[-1]) ** 2
        + (scaled_heading[:-1] - scaled_heading[-1]) ** 2
    )
    np.testing.assert_allclose(geometry_distance(mixed), by_hand, rtol=1e-6)
    assert chosen("closest-geometry", mixed) == 2


def test_ties_go_to_the_latest():
    assert chosen("closest-geometry", window([38.0] * 4, [ASCENDING] * 4)) == 2


def test_unknown_geometry_counts_as_equal():
    unknown_heading = window([30.0, 38.0, 45.0, 38.5], [np.nan, ASCENDING, ASCENDING, ASCENDING])
    assert chosen("closest-geometry", unknown_heading) == 1
    unknown = window([np.nan] * 4, [np.nan] * 4)
    assert chosen("closest-geometry", unknown) == chosen("latest-same-pass", unknown) == 2
    assert counts_in_paper(unknown)


def test_the_pass_follows_from_the_heading():
    headings = [ASCENDING, DESCENDING, 192.0, 348.0, -10.0]
    np.testing.assert_array_equal(
        is_same_pass(window([38.0] * 5, headings)), [True, False, False, True]
    )


def test_latest_same_pass_and_latest():
    mixed = window([38.0] * 5, [ASCENDING, ASCENDING, DESCENDING, DESCENDING, ASCENDING])
    assert chosen("latest-same-pass", mixed) == 1
    assert chosen("latest", mixed) == 3
    other_pass = window([38.0] * 3, [DESCENDING, DESCENDING, ASCENDING])
    assert chosen("latest-same-pass", other_pass) == 1


def test_pass_mean_averages_the_images_of_the_pass():
    mixed = window([38.0] * 5, [ASCENDING, ASCENDING, DESCENDING, DESCENDING, ASCENDING])
    assert chosen("pass-mean", mixed) == pytest.approx(np.mean([0, 1]))
    other_pass = window([38.0] * 3, [DESCENDING, DESCENDING, ASCENDING])
    assert chosen("pass-mean", other_pass) == pytest.approx(np.mean([0, 1]))


def test_mean_is_over_images_with_data():
    gaps = window([38.0] * 4, [ASCENDING] * 4)
    gaps.previous[0, 0, 0, 0] = np.nan
    gaps.previous[:, 1, 2, 2] = np.nan
    (expected,) = STRATEGIES["mean"].expect([gaps])
    by_loop = np.full((2, 3, 3), np.nan)
    for index in np.ndindex(by_loop.shape):
        valid = [image[index] for image in gaps.previous if np.isfinite(image[index])]
        by_loop[index] = np.mean(valid) if valid else np.nan
    np.testing.assert_allclose(expected.mean, by_loop)


def test_same_season_takes_the_nearest_day_of_the_year():
    of_one_pass = window([38.0] * 5, [ASCENDING] * 5, days=[20, 350, 370, 550, 731])
    assert chosen("same-season", of_one_pass) == 2
    of_two_passes = window(
        [38.0] * 4, [ASCENDING, ASCENDING, DESCENDING, ASCENDING], days=[0, 700, 725, 731]
    )
    assert chosen("same-season", of_two_passes) == 0


def test_same_season_spans_new_year():
    dates = ["2021-12-30", "2022-06-01", "2022-11-01", "2023-01-02"]
    source = window([38.0] * 4, [ASCENDING] * 4)
    assert chosen("same-season", replace(source, times=np.array(dates, "datetime64[ns]"))) == 0


def test_season_mean_averages_the_season_of_all_years():
    """Of a target on 15 March: within 13 February and 14 April of 2021, 2022 and 2023."""
    days = ["2021-02-10", "2021-02-13", "2022-02-14", "2022-03-14", "2022-04-14", "2022-10-01",
            "2023-03-09", "2023-03-15"]  # fmt: skip
    near = [1, 2, 3, 4, 6]
    of_years = window([38.0] * 8, [ASCENDING, DESCENDING] * 4)
    of_years = replace(of_years, times=np.array(days, "datetime64[ns]"))
    assert chosen("season-mean", of_years) == pytest.approx(np.mean(near))
    of_years.previous[1] = np.nan
    assert chosen("season-mean", of_years) == pytest.approx(np.mean([2, 3, 4, 6]))


def test_season_mean_takes_the_nearest_in_season_if_none_is_near():
    """Both images that are 50 days away, one in either direction; not the one of 60 days."""
    source = window([38.0] * 4, [ASCENDING] * 4, days=[731 - 315, 731 - 60, 731 - 50, 731])
    assert chosen("season-mean", source) == pytest.approx(np.mean([0, 2]))


@pytest.mark.parametrize(
    ("incidence", "heading", "counts"),
    [
        ([38.0, 30.0, 38.5], [ASCENDING] * 3, True),
        ([36.0, 30.0, 38.5], [ASCENDING] * 3, False),
        ([38.5, 38.5, 38.5], [DESCENDING, DESCENDING, ASCENDING], False),
    ],
)
def test_windows_that_the_paper_includes(incidence, heading, counts):
    assert counts_in_paper(window(incidence, heading)) is counts


def test_oracle_is_known_only_in_a_world():
    bare = window([38.0] * 3, [ASCENDING] * 3)
    with pytest.raises(SarcastError, match="only in a synthetic world"):
        Oracle().expect([bare])
    truth = np.full((2, 3, 3), -9.0, dtype=np.float32)
    assert Oracle().expect([replace(bare, expected=truth)])[0].mean is truth


def test_no_previous_image_is_an_error():
    empty = window([38.0], [ASCENDING])
    with pytest.raises(SarcastError, match="latest needs at least one previous image"):
        STRATEGIES["latest"].expect([empty])
