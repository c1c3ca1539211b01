"""The rule ``sequential`` and the baselines, pixel by pixel, by hand."""

import numpy as np
import pytest

from sarcast.monitoring.baselines import FIRST_FIXED, MOVING, NEW, RENEWED, Baselines, Fixed
from sarcast.monitoring.confirmation import ConfirmationRule
from sarcast.monitoring.layers import NO_DAY, Layers, Look, Status, day_of
from sarcast.monitoring.sequential import Sequential, SequentialOptions, region_metric

RULE = Sequential(4.0, 6.0, SequentialOptions(misses=2, longest_days=100, high_db=3.0))
START = np.datetime64("2021-03-01T04:51:02", "s")
NOTHING, ALERT, SURE = 3.0, 5.0, 7.0


def look(*metrics: float, day: int, loss_db: float = 1.0) -> Look:
    """One acquisition of a row of pixels, ``day`` days after the first."""
    metric = np.array([metrics], dtype=np.float32)
    magnitude = np.where(np.isnan(metric), np.nan, np.float32(-loss_db))
    return Look(START + np.timedelta64(day, "D"), metric, np.stack([magnitude, 0.0 * magnitude]))


def history(*metrics: float, days: int = 6, loss_db: float = 1.0) -> list[Layers]:
    """Layers of one pixel after each of several acquisitions."""
    layers, found = Layers.empty((1, 1), 2), []
    for index, metric in enumerate(metrics):
        layers = RULE.advance(layers, look(metric, day=index * days, loss_db=loss_db))
        found.append(layers)
    return found


def statuses(*metrics: float, **settings: float) -> list[int]:
    return [int(layers.status[0, 0]) for layers in history(*metrics, **settings)]


def test_it_is_a_rule() -> None:
    assert isinstance(RULE, ConfirmationRule)


def test_two_detections_and_one_of_the_accepted_rate_confirm() -> None:
    none, first = Status.NONE, Status.FIRST_LOW
    provisional, confirmed = Status.PROVISIONAL_LOW, Status.CONFIRMED_LOW
    assert statuses(NOTHING, ALERT, ALERT, ALERT) == [none, first, provisional, provisional]
    assert statuses(SURE, ALERT) == [first, confirmed]
    assert statuses(ALERT, NOTHING, SURE) == [first, first, confirmed]
    assert statuses(SURE, NOTHING) == [first, first]
    # what equals a threshold does not exceed it
    assert statuses(RULE.alert, ALERT, RULE.sure) == [none, first, provisional]


def test_a_threshold_that_falls_confirms_at_the_next_detection_only() -> None:
    layers = history(ALERT, ALERT)[-1]
    lower = Sequential(RULE.alert, ALERT - 0.5, RULE.options)
    missed = lower.advance(layers, look(NOTHING, day=12))
    assert missed.status[0, 0] == Status.PROVISIONAL_LOW
    assert lower.advance(missed, look(NOTHING, day=18)).status[0, 0] == Status.NONE
    found = lower.advance(missed, look(RULE.alert + 0.1, day=18))
    assert found.status[0, 0] == Status.CONFIRMED_LOW


def test_the_share_of_detections_holds_beyond_655_of_them() -> None:
    layers = RULE.advance(Layers.empty((1, 1), 2), look(ALERT, day=0))
    many = np.full((1, 1), 699, dtype=np.uint16)
    layers = layers.updated(np.ones((1, 1), dtype=bool), count=many, looks=many)
    assert RULE.advance(layers, look(ALERT, day=1)).percentage[0, 0] == 100


def test_misses_in_a_row_dismiss_or_finish() -> None:
    assert statuses(ALERT, NOTHING, ALERT, NOTHING, NOTHING)[-1] == Status.NONE
    assert statuses(ALERT, NOTHING, ALERT, NOTHING)[-1] == Status.PROVISIONAL_LOW
    assert statuses(SURE, ALERT, NOTHING, NOTHING)[-1] == Status.FINISHED_LOW
    finished = statuses(SURE, ALERT, NOTHING, NOTHING, NOTHING, ALERT)
    assert finished[-2:] == [Status.FINISHED_LOW, Status.FIRST_LOW]


def test_an_alert_ends_after_its_longest_time() -> None:
    assert statuses(SURE, SURE, SURE, days=50)[-1] == Status.FINISHED_LOW
    assert statuses(ALERT, ALERT, ALERT, days=50)[-1] == Status.NONE
    assert statuses(SURE, SURE, SURE, days=49)[-1] == Status.CONFIRMED_LOW


def test_magnitude_is_high_by_the_mean_difference() -> None:
    assert statuses(SURE, SURE, loss_db=3.0) == [Status.FIRST_HIGH, Status.CONFIRMED_HIGH]
    assert statuses(SURE, SURE, NOTHING, NOTHING, loss_db=3.0)[-1] == Status.FINISHED_HIGH
    assert statuses(SURE, SURE, loss_db=2.9)[-1] == Status.CONFIRMED_LOW
    mixed = RULE.advance(Layers.empty((1, 1), 2), look(SURE, day=0, loss_db=4.0))
    mixed = RULE.advance(mixed, look(SURE, day=6, loss_db=1.0))
    assert mixed.status[0, 0] == Status.CONFIRMED_LOW
    np.testing.assert_allclose(mixed.magnitude[:, 0, 0], [-2.5, 0.0])


def test_dates_counts_and_days_are_kept() -> None:
    *_, last = history(NOTHING, ALERT, np.nan, SURE, NOTHING)
    first = day_of(START)
    assert last.first_day[0, 0] == first + 6
    assert last.confirmed_day[0, 0] == first + 18
    assert last.last_day[0, 0] == first + 24
    assert last.count[0, 0] == 2
    assert last.percentage[0, 0] == 66
    assert last.duration[0, 0] == 13
    assert last.greatest_metric[0, 0] == last.confidence[0, 0] == SURE
    assert last.acquisition_status[0, 0] == Status.NONE


def test_an_acquisition_that_does_not_see_a_pixel_leaves_its_status() -> None:
    assert statuses(np.nan, ALERT, np.nan, np.nan, np.nan, SURE) == [
        Status.NO_DATA, *[Status.FIRST_LOW] * 4, Status.CONFIRMED_LOW,
    ]  # fmt: skip


def test_blocks_are_advanced_as_the_whole() -> None:
    rng = np.random.default_rng(0)
    whole = Layers.empty((1, 40), 2)
    parts = [whole.block(slice(0, 1), columns) for columns in (slice(0, 17), slice(17, 40))]
    for day in range(0, 160, 6):
        metric = np.where(rng.random(40) < 0.2, np.nan, rng.uniform(1.0, 8.0, 40))
        shown = look(*metric, day=day, loss_db=float(rng.uniform(1.0, 4.0)))
        whole = RULE.advance(whole, shown)
        parts = [
            RULE.advance(part, shown.block(slice(0, 1), columns))
            for part, columns in zip(parts, (slice(0, 17), slice(17, 40)), strict=True)
        ]
    assert len(np.unique(whole.status)) > 3
    for name, values in whole.arrays().items():
        joined = np.concatenate([part.arrays()[name] for part in parts], axis=-1)
        np.testing.assert_array_equal(joined, values, err_msg=name)


def test_the_metric_of_a_region_is_its_peak() -> None:
    evidence = np.array([[8.0, 5.0, 4.0, 1.0, np.nan, 7.0]], dtype=np.float32)
    numbers = np.array([[2, 2, 0, 0, 0, 1]], dtype=np.int32)
    metric = region_metric(evidence, numbers, np.array([9.0, 8.0]))
    # a region that is too small is none, however great its evidence
    np.testing.assert_array_equal(metric, [[8.0, 8.0, 3.0, 1.0, np.nan, 9.0]])


# --- baselines ------------------------------------------------------------------------------------


def time(day: int) -> np.datetime64:
    return START + np.timedelta64(day, "D")


def no_alert(pixels: int) -> tuple[Fixed, Baselines]:
    """No fixed baseline, and the moving one for a row of pixels."""
    codes = np.full((1, pixels), MOVING, dtype=np.uint16)
    return Fixed.of(()), Baselines(codes, np.full((1, pixels), NO_DAY, dtype=np.int32))


def after(before: tuple[Fixed, Baselines], *statuses: int, day: int) -> tuple[Fixed, Baselines]:
    """Baselines of a row of pixels; the moving one ends 12 days before the acquisition."""
    fixed, baselines = before
    found = baselines.after(np.array([statuses], dtype=np.uint8), time(day))
    fixed, codes = fixed.with_new(found.in_use, time(day - 12))
    assert set(codes) == set(NEW).intersection(found.in_use)
    code = found.code.copy()
    for new, its in codes.items():
        code[code == new] = its
    assert Fixed.of(fixed.stored).stored == fixed.stored
    return fixed, Baselines(code, found.renewed_day)


def test_a_baseline_stays_under_an_alert_and_moves_on_without() -> None:
    first = after(no_alert(2), Status.FIRST_LOW, Status.NONE, day=0)
    fixed, later = after(first, Status.CONFIRMED_HIGH, Status.NONE, day=60)
    assert later.code.tolist() == [[FIRST_FIXED, MOVING]]
    assert fixed.end_of(FIRST_FIXED, time(48)) == time(-12)
    assert fixed.end_of(MOVING, time(48)) == time(48)
    _, none = after((fixed, later), Status.NONE, Status.NONE, day=66)
    assert none.in_use == []


def test_alerts_of_about_one_time_share_a_baseline() -> None:
    none, first = Status.NONE, Status.FIRST_LOW
    one = after(no_alert(3), first, none, none, day=0)
    two = after(one, first, first, none, day=48)
    fixed, three = after(two, first, first, first, day=49)
    assert three.code.tolist() == [[FIRST_FIXED, FIRST_FIXED, FIRST_FIXED + 1]]
    # never an end that is later than the own one: the change would be in the baseline
    assert [fixed.end_of(code, time(0)) for code in three.in_use] == [time(-12), time(37)]


def test_the_latest_images_follow_a_finished_alert_for_a_year() -> None:
    first = after(no_alert(1), Status.CONFIRMED_LOW, day=0)
    finished = after(first, Status.FINISHED_LOW, day=30)
    assert finished[1].code.tolist() == [[RENEWED]]
    assert finished[0].is_latest(RENEWED)
    assert finished[1].renewed_day[0, 0] == day_of(time(30))
    assert after(finished, Status.FINISHED_LOW, day=30 + 365)[1].in_use == [RENEWED]
    assert after(finished, Status.FINISHED_LOW, day=30 + 366)[1].in_use == []
    fixed, again = after(finished, Status.FIRST_LOW, day=90)
    (code,) = again.in_use
    assert code >= FIRST_FIXED
    assert fixed.is_latest(code)
    assert fixed.end_of(code, time(90)) == time(78)
    assert not first[0].is_latest(FIRST_FIXED)


def test_baselines_of_the_latest_images_are_fixed_apart() -> None:
    """Two pixels are alerted anew at one time, one of them in the year after an alert."""
    first = after(no_alert(2), Status.CONFIRMED_LOW, Status.NONE, day=0)
    done = after(first, Status.FINISHED_LOW, Status.NONE, day=30)
    fixed, both = after(done, Status.FIRST_LOW, Status.FIRST_LOW, day=90)
    latest, plain = both.code[0].tolist()
    assert fixed.is_latest(latest)
    assert not fixed.is_latest(plain)
    assert fixed.end_of(latest, time(0)) == fixed.end_of(plain, time(0)) == time(78)


@pytest.mark.parametrize("setting", [{"misses": 0}, {"alert_factor": 0.5}, {"high_db": -1.0}])
def test_impossible_options_are_refused(setting: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        SequentialOptions(**setting)
