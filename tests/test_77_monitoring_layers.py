"""Layers of monitoring: stored, cut into blocks, and encoded as other systems do."""

import numpy as np
import pytest

from sarcast.errors import SarcastError
from sarcast.monitoring.confirmation import Opera
from sarcast.monitoring.encoding import (
    DIST_LAYERS,
    decode_days,
    decode_dist,
    decode_gfw,
    encode_days,
    encode_dist,
    encode_gfw,
)
from sarcast.monitoring.layers import LAYERS, NO_DAY, Layers, Look, Status, day_of, record_look

START = np.datetime64("2024-01-23T23:28:36", "s")


def random_looks(shape, number=30, seed=0):
    """Acquisitions at irregular intervals, with alerts, gaps and pixels that are never seen."""
    rng = np.random.default_rng(seed)
    share = rng.choice([0.05, 0.5, 0.95], shape)
    days = np.cumsum(rng.choice([1, 6, 12, 35], number, p=[0.3, 0.4, 0.2, 0.1]))
    for day in days:
        hit = rng.random(shape) < share
        metric = np.where(hit, rng.uniform(2.5, 9.0, shape), rng.uniform(0.0, 2.4, shape))
        magnitude = rng.standard_normal((2, *shape)).astype(np.float32)
        unseen = rng.random(shape) < 0.2
        unseen[0, :3] = True
        metric[unseen], magnitude[:, unseen] = np.nan, np.nan
        yield Look(START + np.timedelta64(int(day), "D"), metric.astype(np.float32), magnitude)


def advanced(looks, rule=None, layers=None):
    rule = rule or Opera()
    for look in looks:
        layers = Layers.empty(look.metric.shape, 2) if layers is None else layers
        layers = rule.advance(layers, look)
    return layers


def assert_equal(one, other):
    for name, values in one.arrays().items():
        np.testing.assert_array_equal(values, other.arrays()[name], err_msg=name, strict=True)


def test_two_halves_equal_the_whole() -> None:
    looks = list(random_looks((12, 20)))
    whole = advanced(looks)
    assert set(np.unique(whole.status)) >= {0, 2, 5, 6, 8, 255}
    for rows, columns in [(slice(5), slice(None)), (slice(5, 12), slice(3, 17))]:
        part = advanced(look.block(rows, columns) for look in looks)
        assert_equal(part, whole.block(rows, columns))


def test_stored_layers_go_on_as_if_never_stored() -> None:
    looks = list(random_looks((6, 8)))
    stored = {name: values.copy() for name, values in advanced(looks[:15]).arrays().items()}
    assert_equal(advanced(looks[15:], layers=Layers.from_arrays(stored)), advanced(looks))


def test_advancing_leaves_the_layers_before_as_they_were() -> None:
    looks = list(random_looks((6, 8)))
    before = advanced(looks[:10])
    kept = Layers.from_arrays({name: a.copy() for name, a in before.arrays().items()})
    metric = looks[10].metric.copy()
    Opera().advance(before, looks[10])
    assert_equal(before, kept)
    np.testing.assert_array_equal(looks[10].metric, metric)


def test_types_stay_those_that_are_stored() -> None:
    layers = advanced(random_looks((6, 8)))
    assert {name: a.dtype for name, a in layers.arrays().items()} == {
        name: np.dtype(layer.dtype) for name, layer in LAYERS.items()
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("status"), r"missing are \['status'\]"),
        (lambda arrays: arrays.update(colour=arrays["status"]), r"unknown are \['colour'\]"),
        (lambda arrays: arrays.update(count=arrays["count"][:3]), r"count as uint16 of shape"),
        (lambda arrays: arrays.update(count=arrays["looks"] * 1.0), "got float64"),
        (lambda arrays: arrays.update(magnitude=arrays["metric"]), "magnitude"),
    ],
)
def test_layers_of_another_version_are_refused(change, message: str) -> None:
    arrays = Layers.empty((6, 8), 2).arrays()
    change(arrays)
    with pytest.raises(SarcastError, match=message):
        Layers.from_arrays(arrays)


def test_a_look_has_one_shape() -> None:
    with pytest.raises(ValueError, match="expected a magnitude of dims"):
        Look(START, np.zeros((3, 4), np.float32), np.zeros((2, 4, 3), np.float32))


def test_days_begin_at_midnight_utc() -> None:
    assert day_of(np.datetime64("1970-01-02T00:00:00", "ns")) == 1
    assert day_of(np.datetime64("2024-01-23T23:59:59.9", "ns")) == 19_745
    assert day_of(np.datetime64("1969-12-31T23:00", "s")) == -1


def test_the_magnitude_is_the_mean_over_the_detections_of_each_band() -> None:
    layers, nan = Layers.empty((1, 1), 2), np.nan
    series = [(True, -4.0, -2.0), (True, -2.0, nan), (False, 9.0, 9.0), (True, -3.0, -4.0)]
    for day, (is_hit, vv, vh) in enumerate(series):
        hit = np.array([[is_hit]])
        magnitude = np.array([vv, vh], dtype=np.float32)[:, None, None]
        look = Look(START + np.timedelta64(day, "D"), np.ones((1, 1), np.float32), magnitude)
        layers = record_look(layers, look, hit, hit & (day == 0))
    np.testing.assert_allclose(layers.magnitude[:, 0, 0], [-3.0, -3.0])
    assert layers.magnitude_looks[:, 0, 0].tolist() == [3, 2]
    assert (layers.looks.item(), layers.clean_looks.item(), layers.duration.item()) == (4, 0, 4)


def test_products_of_dist_alert_come_back() -> None:
    layers = advanced(random_looks((12, 20)))
    product = encode_dist(layers)
    assert product.keys() == DIST_LAYERS.keys()
    unseen = layers.status == Status.NO_DATA
    assert unseen.any()
    for name, values in product.items():
        _, dtype, no_data = DIST_LAYERS[name]
        assert values.dtype == dtype
        np.testing.assert_array_equal(values[unseen], dtype(no_data))
    again = encode_dist(decode_dist(product, bands=1))
    for name, values in product.items():
        np.testing.assert_array_equal(again[name], values, err_msg=name, strict=True)


def test_a_decoded_product_has_no_more_than_it_says() -> None:
    """Two detections and an acquisition without one; a pixel that was never seen."""
    layers = Layers.empty((1, 2), 2)
    for day, metric in enumerate((5.0, 5.0, 1.0)):
        image = np.array([[metric, np.nan]], dtype=np.float32)
        look = Look(START + np.timedelta64(day, "D"), image, np.stack([image, image]))
        layers = Opera().advance(layers, look)
    decoded = decode_dist(encode_dist(layers), bands=2)
    nothing = {"magnitude": np.nan, "magnitude_looks": 0}
    assert_equal(decoded, layers.updated(np.ones((1, 2), dtype=bool), **nothing))
    assert (decoded.looks[0, 0], decoded.clean_looks[0, 0]) == (3, 1)


def test_a_forgotten_alert_leaves_nothing() -> None:
    looks = list(random_looks((12, 20)))
    layers = advanced(looks)
    assert np.isin(layers.status, (6, 8)).any()
    forgotten = layers.without_alert(layers.status != Status.NO_DATA)
    empty = Layers.empty((12, 20), 2)
    kept = {name: layers.arrays()[name] for name in ("metric", "acquisition_status", "last_day")}
    blank = {"status": 0, "greatest_metric": 0.0, "confidence": 0.0}
    assert_equal(forgotten, empty.updated(layers.status != Status.NO_DATA, **kept, **blank))


def test_a_decoded_product_goes_on_as_the_layers_do() -> None:
    looks = list(random_looks((12, 20)))
    layers = advanced(looks[:20])
    decoded = advanced(looks[20:], layers=decode_dist(encode_dist(layers), bands=2))
    wanted = encode_dist(advanced(looks[20:], layers=layers))
    for name, values in encode_dist(decoded).items():
        np.testing.assert_array_equal(values, wanted[name], err_msg=name)


def test_part_of_a_product_is_refused() -> None:
    product = encode_dist(Layers.empty((2, 2), 1))
    del product["GEN-DIST-CONF"]
    with pytest.raises(SarcastError, match="GEN-DIST-CONF are missing"):
        decode_dist(product, bands=1)


def test_large_counts_do_not_read_as_no_data() -> None:
    layers = advanced(random_looks((1, 8)))
    many = layers.updated(layers.status != Status.NO_DATA, count=300)
    assert encode_dist(many)["GEN-DIST-COUNT"].tolist() == [[255] * 3 + [254] * 5]


def days(*dates):
    return np.array(dates, dtype="datetime64[D]").astype(np.int64).astype(np.int32)


def test_dates_of_dist_alert_begin_in_2021() -> None:
    some = days("2021-01-01", "2024-01-23", "2110-09-18")
    status = np.full(3, Status.FIRST_LOW)
    assert encode_days(some, status).tolist() == [1, 1118, 32_767]  # 1118: of the product of Chile
    np.testing.assert_array_equal(decode_days(encode_days(some, status)), some)
    none = np.full(2, NO_DAY)
    codes = encode_days(none, np.array([Status.NONE, Status.NO_DATA]))
    assert codes.tolist() == [0, -1]
    np.testing.assert_array_equal(decode_days(codes), none)


@pytest.mark.parametrize("date", ["2020-12-31", "2016-01-01", "2110-09-19"])
def test_dates_that_dist_alert_cannot_hold_are_refused(date: str) -> None:
    with pytest.raises(SarcastError, match=f"2021-01-01 to 2110-09-18.*{date}.*--encoding gfw"):
        encode_days(days(date), np.array([Status.FIRST_LOW]))


def test_published_codes_of_global_forest_watch() -> None:
    """Examples of the data set's description; 4 is an alert of several systems."""
    first = days("2015-01-01", "2015-02-24", "2020-01-21")
    status = np.array([Status.FIRST_HIGH, Status.CONFIRMED_LOW, Status.PROVISIONAL_LOW])
    assert encode_gfw(status, first).tolist() == [20_001, 30_055, 21_847]
    confirmed, day = decode_gfw(np.array([20_001, 30_055, 21_847, 41_847, 0], dtype=np.uint16))
    assert confirmed.tolist() == [False, True, False, True, False]
    np.testing.assert_array_equal(day, [*first, first[2], NO_DAY])


def test_codes_of_global_forest_watch_come_back() -> None:
    status = np.array(list(Status))
    first = np.where(np.isin(status, (0, 255)), NO_DAY, days("2024-02-02"))
    code = encode_gfw(status, first)
    assert code.dtype == np.uint16
    confirmed, day = decode_gfw(code)
    np.testing.assert_array_equal(confirmed, np.isin(status, (3, 6, 7, 8)))
    np.testing.assert_array_equal(day, first)


@pytest.mark.parametrize("date", ["2014-12-31", "2042-05-18"])
def test_dates_that_global_forest_watch_cannot_hold_are_refused(date: str) -> None:
    with pytest.raises(SarcastError, match=f"2015-01-01 to 2042-05-17.*{date}.*default encoding"):
        encode_gfw(np.array([Status.FIRST_LOW]), days(date))


@pytest.mark.parametrize("code", [1, 10_001, 50_001, 19_999])
def test_other_codes_are_refused(code: int) -> None:
    with pytest.raises(SarcastError, match=f"0 or 20001 to 49999, got {code}"):
        decode_gfw(np.array([0, code, 20_001]))
