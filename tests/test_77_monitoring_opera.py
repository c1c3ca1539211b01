"""The rule of DIST-ALERT: its products in every pixel, and each branch by hand.

By hand, with c detections and n other acquisitions: C' = trunc(c² (C / c² (c + n) + m) / (c + n +
1)).
"""

import json
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from sarcast.monitoring.confirmation import ConfirmationRule, Opera, OperaOptions
from sarcast.monitoring.encoding import decode_dist, encode_dist
from sarcast.monitoring.layers import NO_DAY, NO_PERCENTAGE, Layers, Look, Status

DAY = np.datetime64("2024-01-01", "D")
UNSEEN = np.nan
CHANGED_PIXELS = 23_139
"""Pixels of the last product of the fire in Chile that are in alert."""


@pytest.fixture(scope="module")
def fire(data_dir: Path):
    """Ten products as each acquisition alone gave them, the same after confirmation, and tags."""
    folder = data_dir / "opera-dist-alert"
    tags = json.loads((folder / "chile-fire-2024.json").read_text())["golden"]["tags"]
    with np.load(folder / "chile-fire-2024.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}, tags


def product(arrays, kind: str, index: int):
    names = [name for name in arrays if name.startswith(f"{kind}__")]
    return {n.removeprefix(f"{kind}__").replace("_", "-"): arrays[n][index] for n in names}


def looks_of(arrays):
    for stamp, metric in zip(arrays["dates_input"], arrays["input__GEN_METRIC"], strict=True):
        time = np.datetime64(f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}T{stamp[9:11]}:{stamp[11:13]}")
        yield Look(time, metric, np.full((1, *metric.shape), np.nan, dtype=np.float32))


def different(found, wanted):
    """Number of pixels that differ, by layer."""
    assert found.keys() == wanted.keys()
    assert {n: a.dtype for n, a in found.items()} == {n: a.dtype for n, a in wanted.items()}
    unequal = {n: ~np.isclose(a, wanted[n], 0, 0, equal_nan=True) for n, a in found.items()}
    return {name: int(where.sum()) for name, where in unequal.items() if where.any()}


def test_every_pixel_of_every_layer_of_ten_products(fire) -> None:
    """The first product has no one before it: unconfirmed, it is where the rule starts."""
    arrays, tags = fire
    rule = Opera(OperaOptions(**{name: tags[name] for name in OperaOptions.model_fields}))
    looks = list(looks_of(arrays))
    layers = decode_dist(product(arrays, "input", 0), bands=1)
    for index, look in enumerate(looks):
        layers = layers if index == 0 else rule.advance(layers, look)
        assert not different(encode_dist(layers), product(arrays, "golden", index)), index
    assert (layers.status > 0).sum() == CHANGED_PIXELS


def test_from_nothing_the_products_are_met_at_the_fourth(fire) -> None:
    """What the first product holds otherwise is over when the fire begins."""
    arrays, _ = fire
    layers = Layers.empty(arrays["input__GEN_METRIC"].shape[1:], 1)
    for index, look in enumerate(looks_of(arrays)):
        layers = Opera().advance(layers, look)
        if index >= 3:
            assert not different(encode_dist(layers), product(arrays, "golden", index)), index


def test_defaults_are_the_parameters_of_the_products(fire) -> None:
    _, tags = fire
    assert OperaOptions(**{n: tags[n] for n in OperaOptions.model_fields}) == OperaOptions()


def follow(*series, **options):
    """Layers of one pixel after each acquisition, given as pairs of day and metric."""
    rule, layers, after = Opera(OperaOptions(**options)), Layers.empty((1, 1), 1), []
    for day, metric in series:
        image = np.full((1, 1), metric, dtype=np.float32)
        layers = rule.advance(layers, Look(DAY + day, image, image[None]))
        after.append({name: values.item() for name, values in layers.arrays().items()})
    return after


def column(after, name: str):
    return [state[name] for state in after]


def since_start(day: int) -> int:
    return int((DAY + day).astype(np.int64))


def test_it_is_a_rule() -> None:
    assert isinstance(Opera(), ConfirmationRule)
    assert Opera().name == "opera"


def test_low_detections_are_confirmed_at_the_fifth() -> None:
    after = follow(*[(6 * k, 3.0) for k in range(5)])
    assert column(after, "confidence") == [3.0, 6.0, 11.0, 18.0, 27.0]
    assert column(after, "status") == [1, 2, 2, 2, 3]
    assert column(after, "acquisition_status") == [1] * 5
    assert column(after, "count") == column(after, "looks") == [1, 2, 3, 4, 5]
    assert column(after, "duration") == [1, 7, 13, 19, 25]
    assert column(after, "percentage") == [100] * 5
    assert column(after, "first_day") == [since_start(0)] * 5
    assert column(after, "confirmed_day") == [NO_DAY] * 4 + [since_start(24)]
    assert column(after, "last_day") == [since_start(6 * k) for k in range(5)]


def test_high_detections_are_confirmed_at_the_third() -> None:
    after = follow((0, 10.0), (6, 10.0), (12, 10.0), (18, 3.0))
    assert column(after, "confidence") == [10.0, 20.0, 37.0, 39.0]
    assert column(after, "status") == [4, 5, 6, 6]
    assert column(after, "acquisition_status") == [4, 4, 4, 1]
    assert column(after, "greatest_metric") == [10.0] * 4
    assert after[3]["confirmed_day"] == since_start(12)


def test_the_confidence_is_multiplied_by_the_count_twice() -> None:
    """By its square, the third, exactly 15, would be rounded to less and truncated to 14."""
    assert column(follow((0, 4.0), (6, 4.0), (12, 4.0)), "confidence") == [4.0, 8.0, 15.0]


def test_the_thresholds_themselves_are_reached() -> None:
    assert follow((0, 2.5))[0]["status"] == Status.FIRST_LOW
    assert follow((0, 4.5))[0]["status"] == Status.FIRST_HIGH
    assert follow((0, 2.4999))[0]["status"] == Status.NONE


def test_thresholds_can_be_chosen() -> None:
    chosen = {"low_confidence_alert_threshold": 5.0, "high_confidence_alert_threshold": 6.0}
    assert column(follow((0, 4.9), (6, 5.0), (12, 6.0), **chosen), "status") == [0, 1, 5]
    later = follow(*[(6 * k, 3.0) for k in range(5)], confirmation_confidence_threshold=27.5)
    assert column(later, "status") == [1, 2, 2, 2, 2]


def test_an_acquisition_without_detection_weighs_on_the_confidence() -> None:
    after = follow((0, 5.0), (6, 5.0), (12, 1.0), (18, 5.0))
    assert column(after, "confidence") == [5.0, 10.0, 8.0, 15.0]
    assert column(after, "percentage") == [100, 100, 66, 75]
    assert column(after, "status") == [4, 5, 5, 5]
    assert column(after, "duration") == [1, 7, 7, 19]
    assert column(after, "looks") == [1, 2, 3, 4]
    assert column(after, "clean_looks") == [0, 0, 1, 0]
    assert column(after, "magnitude") == [5.0] * 4


def test_a_single_detection_is_forgotten_at_once() -> None:
    after = follow((0, 50.0), (6, 1.0), (12, 1.0))
    assert column(after, "status") == [4, 0, 0]  # on its first day it is not confirmed
    assert column(after, "confidence") == [50.0, 0.0, 0.0]
    assert column(after, "percentage") == [100, 0, NO_PERCENTAGE]
    assert column(after, "count") == column(after, "duration") == [1, 0, 0]
    assert column(after, "looks") == [1, 0, 0]
    assert column(after, "clean_looks") == [0, 0, 0]
    assert column(after, "first_day") == [since_start(0), NO_DAY, NO_DAY]
    assert column(after, "last_day") == [since_start(0), since_start(6), since_start(12)]


def test_metric_and_confidence_are_capped() -> None:
    after = follow((0, 500.0), (6, 500.0))
    assert column(after, "confidence") == [100.0, 200.0]
    assert column(after, "greatest_metric") == [500.0] * 2
    lower = follow((0, 500.0), (6, 500.0), metric_value_upper_lim=60.0)
    assert column(lower, "confidence") == [60.0, 120.0]
    assert follow((0, 500.0), (6, 500.0), confidence_upper_lim=150)[1]["confidence"] == 150.0


def test_detections_are_counted_up_to_a_number() -> None:
    after = follow(*[(6 * k, 3.0) for k in range(6)], (36, 1.0), max_obs_num_year=3)
    assert column(after, "count") == [1, 2, 3, 3, 3, 3, 3]
    assert column(after, "percentage") == [100] * 6 + [75]
    assert after[5]["looks"] == 6


@pytest.mark.parametrize("metric", [1.0, UNSEEN])
def test_an_alert_ends_thirty_days_after_its_last_detection(metric: float) -> None:
    after = follow((0, 5.0), (6, 5.0), (35, metric), (36, metric))
    assert column(after, "status") == [4, 5, 5, 0]
    assert after[3]["first_day"] == NO_DAY
    assert follow((0, 5.0), (6, 5.0), (35, metric), no_day_limit=29)[2]["status"] == 0


def test_a_detection_after_a_gap_goes_on() -> None:
    after = follow((0, 5.0), (6, 5.0), (60, 5.0))
    assert (after[2]["count"], after[2]["first_day"]) == (3, since_start(0))


@pytest.mark.parametrize(("metric", "status"), [(3.0, 7), (10.0, 8)])
def test_a_confirmed_alert_is_finished_and_a_detection_begins_anew(metric, status) -> None:
    series = [(6 * k, metric) for k in range(5)]
    after = follow(*series, (54, UNSEEN), (60, 1.0), (66, UNSEEN), (72, 3.0))
    assert column(after, "status")[4:] == [status - 4 if status == 7 else 6, *[status] * 3, 1]
    assert after[7]["confirmed_day"] == after[4]["confirmed_day"] != NO_DAY
    assert (after[7]["count"], after[7]["confidence"]) == (5, after[4]["confidence"])
    new = after[8]
    assert (new["count"], new["confirmed_day"], new["looks"]) == (1, NO_DAY, 1)
    assert (new["first_day"], new["confidence"], new["magnitude"]) == (since_start(72), 3.0, 3.0)


def test_an_alert_ends_below_a_percentage() -> None:
    series = (0, 5.0), (2, 5.0), (4, 1.0), (6, 1.0), (8, 1.0)
    after = follow(*series, percent_reset_thresh=50)
    assert column(after, "percentage") == [100, 100, 66, 50, 0]
    assert column(after, "status") == [4, 5, 5, 5, 0]
    assert column(follow(*series), "percentage") == [100, 100, 66, 50, 40]


def test_an_alert_ends_at_the_acquisition_after_the_seventh_without_detection() -> None:
    series = [(k, 3.0) for k in range(5)] + [(k, 0.5) for k in range(5, 13)]
    after = follow(*series)
    assert column(after, "percentage")[5:] == [83, 71, 62, 55, 50, 45, 41, 38]
    assert column(after, "status")[4:] == [3] * 8 + [7]
    assert column(follow(*series, (13, 0.5), (14, UNSEEN)), "status")[-3:] == [7, 7, 7]
    assert column(follow(*series, no_count_reset_thresh=3), "status")[4:9] == [3, 3, 3, 3, 7]


def test_two_without_detection_in_a_row_end_an_alert_on_request() -> None:
    series = [(0, 5.0), (6, 5.0), (12, 1.0), (15, UNSEEN), (18, 5.0)]
    series += [(24, 1.0), (27, UNSEEN), (30, 1.0)]
    assert column(follow(*series), "status") == [4, 5, 5, 5, 5, 5, 5, 5]
    after = follow(*series, exclude_consecutive_no_dist=False)
    assert column(after, "status") == [4, 5, 5, 5, 5, 5, 5, 0]
    quiet = (0, 1.0), (6, 1.0)
    assert column(follow(*quiet, exclude_consecutive_no_dist=False), "percentage") == [0, 0]
    assert column(follow(*quiet), "percentage") == [NO_PERCENTAGE] * 2


def test_an_alert_lasts_a_year() -> None:
    year = [(5 * k, 10.0) for k in range(74)]
    after = follow(*year)
    assert (after[-1]["status"], after[-1]["count"]) == (Status.CONFIRMED_HIGH, 74)
    anew = follow(*year, (366, 3.0))[-1]
    assert (anew["status"], anew["count"], anew["first_day"]) == (1, 1, since_start(366))
    over = follow(*year, (366, 1.0), (370, 1.0))
    assert column(over, "status")[-2:] == [0, 0]
    assert column(over, "percentage")[-2:] == [0, NO_PERCENTAGE]
    unseen = follow(*year, (366, UNSEEN))[-1]
    assert unseen["status"] == Status.CONFIRMED_HIGH


def test_unseen_acquisitions_change_what_is_of_the_acquisition_alone() -> None:
    seen, unseen = follow((0, 5.0), (6, UNSEEN))
    of_the_acquisition = {"metric", "acquisition_status"}
    assert {n for n in seen if seen[n] != unseen[n]} == of_the_acquisition
    assert np.isnan(unseen["metric"])
    assert unseen["acquisition_status"] == Status.NO_DATA


def test_a_pixel_without_data_waits_for_its_first_acquisition() -> None:
    never, clean, hit = follow((0, UNSEEN), (40, 1.0), (46, 5.0))
    empty = {name: values.item() for name, values in Layers.empty((1, 1), 1).arrays().items()}
    assert never == pytest.approx(empty, abs=0, nan_ok=True)
    assert (clean["status"], clean["percentage"], clean["greatest_metric"]) == (0, 255, 0.0)
    assert (hit["status"], hit["count"], hit["first_day"]) == (4, 1, since_start(46))


def test_a_low_confirmed_alert_may_become_provisional_with_high_magnitude() -> None:
    confirmed = [(k, 3.0) for k in range(5)]
    options = {"high_confidence_alert_threshold": 3.1, "confirmation_confidence_threshold": 27.0}
    after = follow(*confirmed, *[(k, 0.5) for k in range(5, 11)], (11, 3.1), **options)
    assert column(after, "confidence")[4:] == [27, 24, 22, 20, 19, 18, 17, 24]
    assert column(after, "status")[4:] == [3] * 7 + [5]
    assert after[-1]["confirmed_day"] == NO_DAY


def test_unknown_and_contradictory_parameters_are_refused() -> None:
    with pytest.raises(ValidationError, match="high_confidence_alert_threshold is below"):
        OperaOptions(low_confidence_alert_threshold=5.0)
    with pytest.raises(ValidationError, match="no_days"):
        OperaOptions(no_days=30)
