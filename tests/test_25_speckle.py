"""Speckle filters, each compared with a loop over pixels and with known statistics."""

import math

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from scipy.special import digamma

from sarcast.errors import SarcastError
from sarcast.sensor import units
from sarcast.speckle import SpeckleOptions, despeckle, equivalent_looks, filters, images

LOOKS = 4.4
EVERY = {
    "lee": SpeckleOptions(speckle="lee", looks=LOOKS),
    "refined-lee": SpeckleOptions(speckle="refined-lee", looks=LOOKS),
    "refined-lee-local": SpeckleOptions(speckle="refined-lee"),
    "tv": SpeckleOptions(speckle="tv"),
    "quegan": SpeckleOptions(speckle="quegan"),
}


def speckle(*shape: int, looks: float = LOOKS, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).gamma(looks, 1.0 / looks, shape)


def scene(*shape: int, holes: bool = False, seed: int = 0) -> np.ndarray:
    """Speckle over a step, a slope and a bright point; optionally with missing pixels."""
    rows, columns = shape[-2:]
    level = np.where(np.arange(columns) > columns // 2, 6.0, 1.0)
    level = level * np.linspace(1.0, 2.0, rows)[:, None]
    power = level * speckle(*shape, seed=seed)
    power[..., 5, 5] = 80.0
    if holes:
        power[..., 3:6, -4:] = np.nan
        power[np.random.default_rng(seed + 1).random(shape) < 0.1] = np.nan
        power[..., : rows // 3, :2] = np.nan
    return power


def image(power: np.ndarray, unit: str = units.LINEAR_POWER) -> xr.DataArray:
    dims = ("time", "band", "y", "x")[-power.ndim :]
    array = xr.DataArray(power.astype(np.float32), dims=dims, attrs={"units": units.LINEAR_POWER})
    return array if unit == units.LINEAR_POWER else units.to_db(array)


def tensors(power: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    tensor = torch.as_tensor(power)
    return tensor, tensor.isfinite()


# --- slow reference implementations: loops over the valid pixels around each pixel --------------


def blend(pixel: float, values: np.ndarray, noise: float) -> float:
    mean = np.nanmean(values)
    variance = max(0.0, np.nanmean(values**2) - mean**2)
    signal = max(0.0, (variance - mean**2 * noise) / (1.0 + noise))
    return mean if variance == 0.0 else mean + signal / variance * (pixel - mean)


def lee_by_hand(power: np.ndarray, looks: float, size: int) -> np.ndarray:
    wide = np.pad(power, size // 2, mode="reflect")
    out = np.full(power.shape, np.nan)
    for y, x in np.argwhere(np.isfinite(power)):
        out[y, x] = blend(power[y, x], wide[y : y + size, x : x + size], 1.0 / looks)
    return out


EDGES = ((0, 1), (1, 0), (1, 1), (-1, 1))
"""Directions across an edge as (down, right), one of each opposite pair."""


def side_by_hand(square: np.ndarray) -> tuple[int, int]:
    """Direction of the half of a 7 x 7 window on the pixel's side of its strongest edge."""

    def mean(down: int, right: int) -> float:
        part = square[3 + 2 * down - 1 : 3 + 2 * down + 2, 3 + 2 * right - 1 : 3 + 2 * right + 2]
        return centre if np.isnan(part).all() else float(np.nanmean(part))

    centre = float(np.nanmean(square[2:5, 2:5]))
    steps = [(abs(mean(*edge) - mean(-edge[0], -edge[1])), edge) for edge in EDGES]
    _, (down, right) = max(steps, key=lambda step: step[0])
    near, far = abs(mean(down, right) - centre), abs(mean(-down, -right) - centre)
    return (-down, -right) if near > far else (down, right)


def local_speckle_by_hand(square: np.ndarray) -> float:
    parts = [square[y : y + 3, x : x + 3] for y in (0, 2, 4) for x in (0, 2, 4)]
    usable = [part for part in parts if np.isfinite(part).sum() >= 5]
    variation = sorted(np.nanvar(part) / np.nanmean(part) ** 2 for part in usable)
    return float(np.mean(variation[:5])) if variation else 1.0


def refined_lee_by_hand(power: np.ndarray, looks: float | None) -> np.ndarray:
    wide = np.pad(power, 3, mode="reflect")
    down, right = np.mgrid[-3:4, -3:4]
    out = np.full(power.shape, np.nan)
    for y, x in np.argwhere(np.isfinite(power)):
        square = wide[y : y + 7, x : x + 7]
        side = side_by_hand(square)
        half = side[0] * down + side[1] * right >= 0
        noise = local_speckle_by_hand(square) if looks is None else 1.0 / looks
        out[y, x] = blend(power[y, x], square[half], noise)
    return out


def total_variation_by_hand(power: np.ndarray, weight_db: float, iterations: int) -> np.ndarray:
    """Chambolle's projection with one dual value an edge; edges join pairs of valid pixels."""
    valid = {tuple(int(n) for n in pixel) for pixel in np.argwhere(np.isfinite(power))}
    noisy = {pixel: 10.0 * math.log10(power[pixel]) / weight_db for pixel in valid}
    steps = [(1, 0), (0, 1)]
    dual = {(p, d): 0.0 for p in valid for d in steps if (p[0] + d[0], p[1] + d[1]) in valid}

    def divergence(pixel: tuple[int, int]) -> float:
        incoming = [((pixel[0] - d[0], pixel[1] - d[1]), d) for d in steps]
        outgoing = [(pixel, d) for d in steps]
        return sum(dual.get(e, 0.0) for e in outgoing) - sum(dual.get(e, 0.0) for e in incoming)

    for _ in range(iterations):
        error = {pixel: divergence(pixel) - noisy[pixel] for pixel in valid}
        slope = {(p, d): error[p[0] + d[0], p[1] + d[1]] - error[p] for p, d in dual}
        for pixel, step in dual:
            gradient = math.hypot(*(slope.get((pixel, d), 0.0) for d in steps))
            ascended = dual[pixel, step] + 0.25 * slope[pixel, step]
            dual[pixel, step] = ascended / (1.0 + 0.25 * gradient)
    out = np.full(power.shape, np.nan)
    for pixel in valid:
        out[pixel] = 10.0 ** ((noisy[pixel] - divergence(pixel)) * weight_db / 10.0)
    return out


def quegan_by_hand(power: np.ndarray, size: int) -> np.ndarray:
    half = size // 2
    wide = np.pad(power, ((0, 0), (half, half), (half, half)), mode="reflect")
    mean = np.full(power.shape, np.nan)
    for date, y, x in np.argwhere(np.isfinite(power)):
        mean[date, y, x] = np.nanmean(wide[date, y : y + size, x : x + size])
    with np.errstate(invalid="ignore"):
        ratio = np.nansum(power / mean, axis=0) / np.isfinite(power).sum(axis=0)
    return mean * ratio


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("size", [3, 5, 9])
def test_lee_equals_a_loop_over_pixels(size, holes):
    power = scene(23, 26, holes=holes)
    tensor, valid = tensors(power)
    filtered = filters.lee(tensor, LOOKS, size=size, valid=valid if holes else None).numpy()
    expected = lee_by_hand(power, LOOKS, size)
    assert filtered[valid] == pytest.approx(expected[valid], rel=1e-9)


@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("looks", [LOOKS, None])
def test_refined_lee_equals_a_loop_over_pixels(looks, holes):
    power = scene(25, 28, holes=holes)
    tensor, valid = tensors(power)
    filtered = filters.refined_lee(tensor, looks, valid=valid if holes else None).numpy()
    expected = refined_lee_by_hand(power, looks)
    # At a corner of the mirrored image all edges tie; the half windows have float32 weights.
    valid[[0, 0, -1, -1], [0, -1, 0, -1]] = False
    assert filtered[valid] == pytest.approx(expected[valid], rel=1e-5)


@pytest.mark.parametrize("holes", [False, True])
def test_total_variation_equals_a_loop_over_edges(holes):
    power = scene(11, 13, holes=holes)
    tensor, valid = tensors(power)
    filtered = filters.total_variation(tensor, 2.0, iterations=12, valid=valid if holes else None)
    expected = total_variation_by_hand(power, 2.0, 12)
    assert filtered.numpy()[valid] == pytest.approx(expected[valid], rel=1e-9)


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("holes", [False, True])
def test_quegan_equals_a_loop_over_pixels(holes):
    power = np.stack([scene(14, 15, holes=holes, seed=seed) for seed in range(4)])
    tensor, valid = tensors(power)
    filtered = filters.quegan(tensor, size=5, valid=valid if holes else None).numpy()
    assert filtered[valid] == pytest.approx(quegan_by_hand(power, 5)[valid], rel=1e-9)


# --- known statistics ----------------------------------------------------------------------------


def looks_of(values: np.ndarray | torch.Tensor) -> float:
    array = np.asarray(values)[..., 8:-8, 8:-8]
    return float(array.mean() ** 2 / array.var())


@pytest.mark.parametrize("size", [3, 7])
def test_lee_with_few_looks_is_a_mean_filter_of_known_looks(size):
    flat = torch.as_tensor(speckle(400, 400))
    smooth = filters.lee(flat, LOOKS / 8.0, size=size)
    assert looks_of(smooth) == pytest.approx(LOOKS * size**2, rel=0.06)
    assert smooth.mean() == pytest.approx(1.0, abs=0.005)


def test_refined_lee_with_few_looks_averages_28_pixels():
    # The data select the half window, so the gain is less than that of 28 independent pixels.
    flat = torch.as_tensor(speckle(400, 400))
    smooth = filters.refined_lee(flat, LOOKS / 8.0)
    assert 0.6 * 28 * LOOKS < looks_of(smooth) < 28 * LOOKS
    assert smooth.mean() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("dates", [2, 8])
@pytest.mark.parametrize("size", [5, 9])
def test_quegan_reaches_the_looks_of_quegan_and_yu(dates, size):
    stack = torch.as_tensor(speckle(dates, 300, 300, looks=16.0))
    smooth = filters.quegan(stack, size=size)
    pixels = size**2
    known = dates * pixels * 16.0 / (dates + pixels - 1)
    assert looks_of(smooth[0]) == pytest.approx(known, rel=0.05)
    assert smooth.mean() == pytest.approx(1.0, abs=0.005)


def test_quegan_keeps_the_level_of_each_date_and_the_detail_of_all():
    stack = speckle(6, 120, 120) * np.geomspace(0.1, 10.0, 6)[:, None, None]
    stack[:, 60, 60] *= 50.0
    smooth = filters.quegan(torch.as_tensor(stack), size=7).numpy()
    levels = smooth[:, :50].mean((1, 2)) / np.geomspace(0.1, 10.0, 6)
    assert levels == pytest.approx(np.ones(6), abs=0.02)
    assert (smooth[:, 60, 60] > 10.0 * smooth[:, 60, 50]).all()


def test_total_variation_keeps_the_mean_in_decibels_and_lowers_the_mean_power_as_known():
    power = image(speckle(1, 200, 200))
    smooth = despeckle(power, SpeckleOptions(speckle="tv", speckle_weight=50.0))
    decibels = [float(units.to_db(each).mean()) for each in (power, smooth)]
    assert decibels[1] == pytest.approx(decibels[0], abs=1e-3)
    known = units.DB_PER_NEPER * (digamma(LOOKS) - math.log(LOOKS))
    assert 10.0 * math.log10(float(smooth.mean())) == pytest.approx(known, abs=0.05)


def test_total_variation_reduces_a_step_by_weight_over_plateau_width():
    # Two plateaus of n pixels each: they approach each other by weight / n (Strong, Chan 2003).
    step = np.where(np.arange(40) < 20, -14.0, -6.0) + np.zeros((6, 1))
    fitted = filters.total_variation(torch.as_tensor(10 ** (step / 10)), 4.0, iterations=3000)
    fitted = fitted.numpy()
    assert 10 * np.log10(fitted[0, 5]) == pytest.approx(-14.0 + 4.0 / 20, abs=0.01)
    assert 10 * np.log10(fitted[0, 35]) == pytest.approx(-6.0 - 4.0 / 20, abs=0.01)


def test_refined_lee_keeps_an_edge_that_a_mean_filter_blurs():
    truth = torch.ones(120, 120)
    truth[:, 60:] = 8.0
    assert filters.refined_lee(truth, LOOKS) == pytest.approx(truth, abs=1e-5)
    noisy = truth * torch.as_tensor(speckle(120, 120), dtype=torch.float32)
    box = torch.nn.functional.avg_pool2d(noisy[None], 7, 1, 3)[0]
    errors = [
        ((smooth - truth)[:, 57:63] / truth[:, 57:63]).pow(2).mean()
        for smooth in (filters.refined_lee(noisy, LOOKS), box)
    ]
    assert errors[0] < 0.5 * errors[1]


# --- the equivalent number of looks --------------------------------------------------------------


@pytest.mark.parametrize("looks", [1.0, 4.4, 30.0])
@pytest.mark.parametrize("chunks", [None, 57])
def test_looks_are_estimated_in_spite_of_edges_and_holes(looks, chunks):
    level = np.where(np.add.outer(np.arange(400) // 50, np.arange(360) // 60) % 2, 5.0, 1.0)
    power = level * speckle(400, 360, looks=looks)
    power[100:140, :90] = np.nan
    whole = image(power)
    array = whole if chunks is None else whole.chunk(y=chunks, x=chunks)
    assert equivalent_looks(array) == pytest.approx(looks, rel=0.08)
    assert equivalent_looks(units.to_db(array)) == pytest.approx(looks, rel=0.08)


def test_looks_of_a_too_small_image_are_refused():
    with pytest.raises(SarcastError, match=r"has 4 squares of 9 x 9 .* 8 are needed .* --looks"):
        equivalent_looks(image(speckle(18, 20)))
    with pytest.raises(SarcastError, match=r"has 0 squares"):
        equivalent_looks(image(np.ones((90, 90))))


# --- images --------------------------------------------------------------------------------------


@settings(max_examples=12)
@given(
    name=st.sampled_from(sorted(EVERY)),
    rows=st.integers(9, 60),
    columns=st.integers(9, 60),
    tile=st.integers(16, 40),
)
def test_chunks_do_not_change_the_result(name, rows, columns, tile):
    stack = image(np.stack([scene(2, 61, 53, holes=True, seed=seed) for seed in range(3)]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "TILE", tile)
        patch.setattr(images, "VARIATION_STEPS", 3)
        whole = despeckle(stack, EVERY[name])
        parts = despeckle(stack.chunk(time=1, band=1, y=rows, x=columns), EVERY[name])
        assert isinstance(parts.data, da.Array)
        assert parts.chunksizes["y"] == stack.chunk(y=rows).chunksizes["y"]
        xr.testing.assert_allclose(parts.compute(), whole, rtol=1e-5)


@pytest.mark.parametrize("name", sorted(EVERY))
def test_filtering_in_decibels_equals_filtering_power(name):
    stack = scene(3, 40, 40, holes=True)
    decibels, power = (
        despeckle(image(stack[:, None], unit), EVERY[name])
        for unit in (units.DB, units.LINEAR_POWER)
    )
    assert decibels.attrs["units"] == units.DB
    assert decibels.attrs["speckle_filter"] == EVERY[name].label
    # edges tie where the window reaches over the border, so that rounding decides
    inner = {"y": slice(3, -3), "x": slice(3, -3)}
    xr.testing.assert_allclose(decibels[inner], units.to_db(power)[inner], rtol=0.0, atol=2e-4)
    assert (decibels.isnull() == np.isnan(stack[:, None])).all()
    assert decibels.dims == ("time", "band", "y", "x")


def test_an_image_without_a_unit_or_already_filtered_is_refused():
    with pytest.raises(SarcastError, match="must be in 'linear power', but its units are None"):
        despeckle(xr.DataArray(speckle(20, 20), dims=("y", "x")), EVERY["lee"])
    once = despeckle(image(speckle(20, 20)), EVERY["lee"])
    with pytest.raises(SarcastError, match=r"already filtered \(lee, 7 x 7, 4.4 looks\)"):
        despeckle(once, EVERY["lee"])


def test_quegan_without_time_and_images_smaller_than_the_window_are_refused():
    with pytest.raises(SarcastError, match="must have the dim time .* but has band, y, x"):
        despeckle(image(speckle(1, 20, 20)), EVERY["quegan"])
    with pytest.raises(SarcastError, match="more than 3 pixels along y and x for lee"):
        despeckle(image(speckle(3, 20)), EVERY["lee"])


def test_no_filter_returns_the_image_itself():
    power = image(speckle(20, 20))
    assert despeckle(power, SpeckleOptions()) is power


def test_lee_estimates_missing_looks():
    power = image(speckle(300, 300))
    estimated = despeckle(power, SpeckleOptions(speckle="lee"))
    known = despeckle(power, SpeckleOptions(speckle="lee", looks=equivalent_looks(power)))
    assert (estimated == known).all()
    assert "looks" in estimated.attrs["speckle_filter"]


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("lee", "looks", 9.0),
        ("lee", "speckle_size", 3),
        ("refined-lee", "looks", 9.0),
        ("tv", "speckle_weight", 0.5),
        ("quegan", "speckle_size", 3),
    ],
)
def test_every_option_changes_the_result_or_is_refused(name, option, value):
    stack = image(scene(3, 1, 60, 60))
    plain = SpeckleOptions(speckle=name)
    other = SpeckleOptions(speckle=name, **{option: value})
    assert not np.allclose(despeckle(stack, plain), despeckle(stack, other))
    assert plain.label != other.label
    with pytest.raises(ValidationError, match=f"{option} has no meaning for the filter none"):
        SpeckleOptions(**{option: value})


def test_only_quegan_uses_dates_and_windows_are_odd():
    assert SpeckleOptions(speckle="quegan", speckle_dates=8).dates == 8
    assert SpeckleOptions(speckle="lee").dates == 1
    with pytest.raises(ValidationError, match="must be odd, not 6"):
        SpeckleOptions(speckle="lee", speckle_size=6)
