import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sarcast.errors import SarcastError
from sarcast.sensor.units import DB, FLOOR_DB, LINEAR_POWER, guess_unit, to_db, to_power


def test_known_decibels() -> None:
    power = np.array([1.0, 10.0, 0.5, 0.0, -0.001, np.nan], dtype=np.float32)
    expected = [0.0, 10.0, -3.0103, FLOOR_DB, FLOOR_DB, np.nan]
    np.testing.assert_allclose(to_db(power), expected, atol=1e-4)


@given(st.floats(-60.0, 20.0))
def test_conversion_to_power_and_back(decibels: float) -> None:
    power = to_power(np.array([decibels], dtype=np.float32))
    np.testing.assert_allclose(power, 10.0 ** (decibels / 10.0), rtol=1e-5)
    np.testing.assert_allclose(to_db(power), decibels, atol=1e-4)


def test_units_are_checked_and_updated() -> None:
    power = xr.DataArray([1.0, 10.0], dims="x", attrs={"units": LINEAR_POWER, "long_name": "a"})
    decibels = to_db(power)
    assert decibels.attrs == {"units": DB, "long_name": "a"}
    assert to_power(decibels).attrs["units"] == LINEAR_POWER
    with pytest.raises(SarcastError, match="must be in 'linear power', but its units are 'dB'"):
        to_db(decibels)
    with pytest.raises(SarcastError, match="must be in 'dB', but its units are 'linear power'"):
        to_power(power)


def test_lazy_arrays_stay_lazy() -> None:
    power = xr.DataArray(np.ones(4), dims="x", attrs={"units": LINEAR_POWER}).chunk(x=2)
    assert to_db(power).chunks == ((2, 2),)


@pytest.mark.parametrize("mean_db", [-22.0, -15.0, -9.0, -3.0])
def test_the_unit_is_guessed_from_the_values(mean_db: float) -> None:
    rng = np.random.default_rng(1)
    power = 10.0 ** (mean_db / 10.0) * rng.gamma(4.4, 1 / 4.4, 1000)
    assert guess_unit(power) == LINEAR_POWER
    assert guess_unit(10.0 * np.log10(power)) == DB


def test_an_ambiguous_unit_is_none() -> None:
    assert guess_unit(np.full(10, np.nan)) is None
    assert guess_unit(np.array([-0.5, 0.2, 0.4, 0.1])) is None


def test_zeros_do_not_count_for_the_unit() -> None:
    """Many files in decibels contain 0 where there is no data."""
    few = np.append(np.zeros(990), np.linspace(-14.0, -6.0, 10))
    assert guess_unit(few) == DB
    assert guess_unit(np.abs(few)) is None
    assert guess_unit(np.abs(few) / 100.0) == LINEAR_POWER
    assert guess_unit(np.zeros(10)) is None
