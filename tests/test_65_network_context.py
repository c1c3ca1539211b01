"""Scene context: a robust fit of a scene's departures, and all that is seen of its target."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional

from sarcast.prediction.model import Model
from sarcast.prediction.networks import context as scene
from sarcast.prediction.networks.context import (
    BIWEIGHT,
    BLOCK_PX,
    EMBEDDING_LENGTH,
    ITERATIONS,
    KNOTS,
    MOST_DEPARTURE_DB,
    PROPERTIES,
    RESPONSE_DB2,
    RIDGE_BLOCKS,
    SMOOTHED_BLOCKS,
    TABLE_SHAPE,
    Blocks,
)
from sarcast.prediction.networks.scaling import scale
from sarcast.prediction.networks.temporal import Temporal, TemporalOptions
from sarcast.prediction.networks.unet import UNet, UNetOptions
from sarcast.prediction.training import augment
from sarcast.prediction.training.augment import AugmentOptions, add_context, with_context
from sarcast.sensor.conditions import COLUMNS, HEADING, PaperScaling
from sarcast.windows import Batch, Window, collate, cut_window
from sarcast.windows.synthetic import synthetic
from sarcast.world.options import StreamOptions
from small_cubes import learnable_cube

LEVEL = len(PROPERTIES)
"""Index of the summary in a table."""
SMALL = TemporalOptions(
    widths=(8, 8, 8, 8), blocks=(1, 1, 1, 1), decoder_width=8, fine_width=4, embedding=8
)


def _untrained() -> Temporal:
    torch.manual_seed(0)
    return Temporal(SMALL).eval()


def _network() -> Temporal:
    """A network in which every layer has an effect: none of its parameters is zero."""
    network = _untrained()
    for parameter in network.parameters():
        if not parameter.detach().any():
            torch.nn.init.normal_(parameter, std=0.2)
    return network


@pytest.fixture(scope="module")
def worlds() -> Batch:
    """Windows of 128 x 128 pixels, each of a world of its own, with unmodelled weather."""
    return synthetic(StreamOptions(size=128, previous=6, batch=20), seed=3)(0, 0)


def _windows(count: int = 1, pixels: int = 48, departure_db: float = 3.0) -> list[Window]:
    """Windows of noise about a pattern, whose targets depart from it by so many dB."""
    cube = learnable_cube(pixels=pixels)
    cut = [cut_window(cube, 9, (0, 0), (pixels, pixels), [5, 6, 7, 8]) for _ in range(count)]
    noise = np.random.default_rng(1).normal(0.0, 0.5, cut[0].target.shape).astype("f4")
    return [
        window.with_target(window.previous.mean(axis=0) + noise + np.float32(departure_db))
        for window in cut
    ]


def _mean(network: Temporal, batch: Batch) -> torch.Tensor:
    with torch.inference_mode():
        return network(*batch.inputs()).mean


# --- the fit ------------------------------------------------------------------------------------


def _blocks(rows: int, columns: int, seed: int = 0) -> Blocks:
    generator = torch.Generator().manual_seed(seed)

    def draw(channels: int) -> torch.Tensor:
        return torch.randn(1, channels, rows, columns, generator=generator)

    return Blocks(draw(len(PROPERTIES)), draw(2), draw(2).square())


def _hats(values: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Hat functions of one property, dims (block, knot)."""
    return np.stack([np.interp(values, knots, unit) for unit in np.eye(KNOTS)], axis=1)


def _plain_median(values: np.ndarray) -> float:
    """The lower one of the two middle values."""
    return float(np.sort(values)[(len(values) - 1) // 2])


def _plain_smooth(errors: np.ndarray, known: np.ndarray, side: int) -> np.ndarray:
    """Means over known blocks, dims (y, x), in a loop."""
    reach, smoothed = side // 2, np.zeros_like(errors)
    for y, x in np.argwhere(known):
        part = (
            slice(max(y - reach, 0), y + reach + 1),
            slice(max(x - reach, 0), x + reach + 1),
        )
        smoothed[y, x] = errors[part][known[part]].mean()
    return smoothed


def _plain_fit(properties: np.ndarray, departure: np.ndarray) -> tuple[np.ndarray, ...]:
    """Knots, dims (property, knot); coefficients, (band, column); scales; weights, (y, x)."""
    known = np.isfinite(departure).all(axis=0) & np.isfinite(properties).all(axis=0)
    ordered = np.sort(properties[:, known], axis=1)
    at = [round((k + 0.5) / KNOTS * (known.sum() - 1)) for k in range(KNOTS)]
    knots = ordered[:, at] + 1e-3 * np.arange(KNOTS)
    hats = [_hats(values, row) for values, row in zip(properties[:, known], knots, strict=True)]
    design = np.concatenate([np.ones((known.sum(), 1)), *hats], axis=1)
    penalty = np.diag(np.sqrt([1e-3] + [RIDGE_BLOCKS] * (design.shape[1] - 1)))
    start = np.array([_plain_median(band[known]) for band in departure])
    centred = departure[:, known] - start[:, np.newaxis]
    coefficients = np.zeros((2, design.shape[1]))
    for _ in range(ITERATIONS):
        squares = np.zeros(known.sum())
        for band in range(2):
            errors = np.zeros(known.shape)
            errors[known] = centred[band] - design @ coefficients[band]
            smoothed = _plain_smooth(errors, known, SMOOTHED_BLOCKS)[known]
            scale_db = 1.4826 * _plain_median(np.abs(smoothed))
            squares += (smoothed / (BIWEIGHT * scale_db)) ** 2
        weight = np.where(squares < 1.0, (1.0 - squares) ** 2, 0.0)
        root = np.sqrt(weight)[:, np.newaxis]
        for band in range(2):
            left = np.concatenate([root * design, penalty])
            right = np.concatenate([root[:, 0] * centred[band], np.zeros(design.shape[1])])
            coefficients[band] = np.linalg.lstsq(left, right)[0]
    fine = []
    for band in range(2):
        errors[known] = centred[band] - design @ coefficients[band]
        fine.append(1.4826 * _plain_median(np.abs(_plain_smooth(errors, known, 3)[known])))
    coefficients[:, 0] += start
    return knots, coefficients, np.array(fine), weight


@pytest.mark.parametrize("gaps", [False, True])
def test_the_table_is_that_of_a_plain_fit(gaps: bool) -> None:
    """A loop of weighted least squares with explicit hat functions, of a scene partly changed."""
    blocks = _blocks(11, 14)
    blocks.departure[:, :, 2:6, 3:7] -= 4.0
    blocks.departure.add_(0.8 * blocks.properties[:, :1])
    if gaps:
        blocks.departure[:, :, 8:, :5] = torch.nan
        blocks.variance[:, :, 8:, :5] = torch.nan
        for part in blocks:  # as outside of all tiles of a scene
            part[..., 12:] = torch.nan
    table = scene.fit(blocks)[0].numpy()
    properties, departure = (part[0].double().numpy() for part in blocks[:2])
    knots, coefficients, scales, weight = _plain_fit(properties, departure)
    np.testing.assert_allclose(table[:-1, :, 0], knots, atol=1e-5)
    effects = coefficients[:, 1:].reshape(2, len(PROPERTIES), KNOTS).transpose(1, 2, 0)
    np.testing.assert_allclose(table[:-1, :, 1:], effects, atol=1e-4)
    np.testing.assert_allclose(table[LEVEL, 0, 1:], coefficients[:, 0], atol=1e-4)
    assert table[LEVEL, 0, 0] == pytest.approx(weight.mean(), abs=1e-4)
    assert 0.2 < weight.mean() < 0.9
    np.testing.assert_allclose(table[LEVEL, 1, 1:], scales, rtol=1e-4)
    variance = blocks.variance[0].flatten(1).numpy()
    medians = [_plain_median(row[np.isfinite(row)]) for row in variance]
    np.testing.assert_allclose(table[LEVEL, 2, 1:], np.sqrt(medians), rtol=1e-5)
    assert not table[LEVEL, 1:, 0].any() and not table[LEVEL, 3:].any()


def test_a_departure_is_looked_up_as_by_plain_interpolation() -> None:
    """Level, and for each property the effect between knots; constant beyond the outer ones."""
    blocks = _blocks(10, 10)
    table = scene.fit(blocks)
    other = 5.0 * _blocks(6, 9, seed=1).properties
    found = scene.look_up(table, other)[0].numpy()
    rows, values = table[0].numpy(), other[0].numpy()
    expected = np.broadcast_to(rows[LEVEL, 0, 1:, np.newaxis, np.newaxis], found.shape).copy()
    for number in range(len(PROPERTIES)):
        for band in range(2):
            effect = rows[number, :, 1 + band]
            expected[band] += np.interp(values[number], rows[number, :, 0], effect)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    hidden = scene.look_up(torch.full_like(table, torch.nan), other)
    assert not hidden.any()


@pytest.mark.parametrize("changed_share", [0.0, 0.25])
def test_an_additive_departure_is_recovered(changed_share: float) -> None:
    """That of wet fields: 2 dB, less where VH is high, more where the past responded; in 30 dB."""
    blocks = _blocks(48, 48, seed=4)
    vh, response = blocks.properties[:, 0], blocks.properties[:, 3]
    truth = torch.stack([2.0 - vh.clamp(-1.0, 1.0), 1.0 + 0.8 * response.clamp(-1.0, 1.0)], dim=1)
    departure = truth + 0.3 * blocks.departure
    side = round(48 * changed_share**0.5)
    departure[:, :, :side, :side] -= 3.0
    table = scene.fit(blocks._replace(departure=departure))
    error = scene.look_up(table, blocks.properties) - truth
    assert float(error.square().mean().sqrt()) < 0.12
    assert float(truth.std()) > 0.5


def test_a_uniform_departure_is_a_level_without_effects() -> None:
    blocks = _blocks(16, 16)
    departure = torch.tensor([3.0, -1.5])[:, None, None] * torch.ones(1, 2, 16, 16)
    table = scene.fit(blocks._replace(departure=departure))
    np.testing.assert_allclose(table[0, LEVEL, 0, 1:], [3.0, -1.5], atol=1e-4)
    np.testing.assert_allclose(table[0, :-1, :, 1:], 0.0, atol=1e-4)


def test_knots_are_quantiles() -> None:
    """Of 0 to 399 in any order, those of 10, 30, 50, 70 and 90 %."""
    blocks = _blocks(20, 20)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0)).float()
    properties = order.reshape(1, 1, 20, 20).expand(1, len(PROPERTIES), 20, 20)
    knots = scene.fit(blocks._replace(properties=properties))[0, :-1, :, 0]
    expected = 399.0 * np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    np.testing.assert_allclose(knots, np.tile(expected, (len(PROPERTIES), 1)), atol=0.51)


def test_only_some_blocks_of_a_large_scene_are_fitted() -> None:
    """Every second row and column of 4 times as many blocks; a plain slice is the oracle."""
    blocks = _blocks(128, 128)
    every_second = Blocks(*(part[..., ::2, ::2] for part in blocks))
    torch.testing.assert_close(scene.fit(blocks), scene.fit(every_second), rtol=0, atol=0)


def test_windows_of_a_batch_are_fitted_each_by_itself(worlds: Batch) -> None:
    few = worlds.each(lambda tensor: tensor[:3])
    together = _untrained().scene_context(few)
    for number in range(3):
        one = few.each(lambda tensor, number=number: tensor[number : number + 1])
        torch.testing.assert_close(_untrained().scene_context(one)[0], together[number])


def test_the_embedding_of_a_table_says_whether_there_is_one() -> None:
    table = scene.fit(_blocks(12, 12))
    known, hidden = (
        scene.embedding_inputs(each) for each in (table, torch.full_like(table, np.nan))
    )
    assert known.shape == hidden.shape == (1, EMBEDDING_LENGTH)
    assert not hidden.any()
    assert known[0, 0] == 1.0
    torch.testing.assert_close(known[0, 2:4], table[0, LEVEL, 0, 1:] / 2.0)
    torch.testing.assert_close(known[0, 4:6], table[0, LEVEL, 1, 1:].log())


def test_properties_are_those_of_a_plain_computation() -> None:
    (window,) = _windows(pixels=32)
    rows = np.full((1, 5, len(COLUMNS)), np.nan, dtype="f4")
    rows[0, :, HEADING] = [-12.0, -168.0, -20.0, np.nan, -14.0]
    found = scene.properties(scale(torch.from_numpy(window.previous)[None]), torch.from_numpy(rows))
    images = window.previous.astype(float).reshape(4, 2, 8, BLOCK_PX, 8, BLOCK_PX)
    blocks = images.mean(axis=(3, 5))
    mean = blocks.mean(axis=0)
    departure = (blocks - mean).mean(axis=1)
    level = departure.mean(axis=(1, 2))
    response = np.einsum("i,iyx->yx", level, departure) / 4.0
    response /= np.mean(level**2) + RESPONSE_DB2
    deviation = images.std(axis=0).mean(axis=(0, 2, 4))
    same_pass = (departure[0] + departure[2]) / 2.0
    plain = np.stack([mean[1], mean[0] - mean[1], deviation, response, departure[3], same_pass])
    padded = np.pad(plain, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    around = [padded[:, y : y + 8, x : x + 8] for y in range(3) for x in range(3)]
    expected = (plain + np.nanmean(around, axis=0)) / 2.0
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_departures_of_blocks_with_gaps() -> None:
    """Means and variances over the pixels with data; none where half the pixels lack a band."""
    (window,) = _windows(pixels=32)
    window.previous[:, 0, 0:2, 0:3] = np.nan  # 6 of 16 pixels of one block
    window.target[1, 4:8, 0:2] = np.nan  # 8 of 16
    window.target[1, 8:12, 0:2] = np.nan
    window.target[1, 8, 2] = np.nan  # 9 of 16
    tensors = (torch.from_numpy(each)[None] for each in (window.previous, window.target))
    previous, target = tensors
    scaled = scale(previous)
    blocks = scene.blocks_of(scaled, torch.zeros(1, len(PROPERTIES), 8, 8), target)
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="empty slice"):
        departure = window.target - np.nanmean(window.previous, axis=0)
    pixels = departure.reshape(2, 8, BLOCK_PX, 8, BLOCK_PX)
    expected = np.nanmean(pixels, axis=(2, 4))
    variance = np.nanvar(pixels, axis=(2, 4))
    expected[:, 2, 0] = variance[:, 2, 0] = np.nan
    np.testing.assert_allclose(blocks.departure[0], expected, atol=1e-4)
    np.testing.assert_allclose(blocks.variance[0], variance, atol=1e-3)


# --- changes of the ground ----------------------------------------------------------------------


def _discs(share: float, pixels: int, count: int) -> torch.Tensor:
    """A disc about a random pixel in each window that covers a share of it, dims (window, y, x)."""
    rng = np.random.default_rng(5)
    y, x = np.ogrid[:pixels, :pixels]
    masks = []
    for _ in range(count):
        centre = rng.uniform(0.0, pixels, 2)
        distance = np.hypot(y - centre[0], x - centre[1])
        masks.append(distance <= np.quantile(distance, share))
    return torch.from_numpy(np.stack(masks))


def _taken_up(batch: Batch, mask: torch.Tensor, change_db: torch.Tensor) -> tuple[float, float]:
    """Share of a change that the expected image takes up inside and outside of it."""
    network = _untrained()
    changed = replace(batch, target=batch.target + change_db * mask[:, None])
    before, after = (_mean(network, with_context(each, network)) for each in (batch, changed))
    share = ((after - before) * change_db).sum(dim=1) / change_db.square().sum()
    inside, outside = mask.float(), 1.0 - mask.float()
    shares = [
        ((share * part).sum(dim=(1, 2)) / part.sum(dim=(1, 2))).mean() for part in (inside, outside)
    ]
    return float(shares[0]), float(shares[1])


@pytest.mark.parametrize(
    ("share", "bound"),
    [(0.003, 0.03), (0.01, 0.03), (0.05, 0.03), (0.13, 0.06), (0.28, 0.12), (0.33, 0.12)],
)
@pytest.mark.parametrize("change_db", [(-2.5, -2.5), (2.5, 2.5)])
def test_a_change_below_a_third_of_the_scene_is_not_explained(
    worlds: Batch, share: float, bound: float, change_db: tuple[float, float]
) -> None:
    mask = _discs(share, 128, len(worlds.target))
    assert float(mask.float().mean()) == pytest.approx(share, abs=2e-4)
    inside, outside = _taken_up(worlds, mask, torch.tensor(change_db)[:, None, None])
    assert abs(inside) <= bound
    assert abs(outside) <= bound


def test_all_of_a_uniform_departure_is_explained(worlds: Batch) -> None:
    everywhere = torch.ones(len(worlds.target), 128, 128, dtype=torch.bool)
    inside, _ = _taken_up(worlds, everywhere, torch.tensor([-2.5, -2.5])[:, None, None])
    assert inside == pytest.approx(1.0, abs=1e-3)


def test_one_pixel_moves_nothing_measurable(worlds: Batch) -> None:
    network = _untrained()
    changed = replace(worlds, target=worlds.target.clone())
    changed.target[:, :, 61, 70] -= 15.0
    before, after = (_mean(network, with_context(each, network)) for each in (worlds, changed))
    moved = (after - before).abs().amax(dim=(1, 2, 3))
    assert float(moved.median()) < 0.002 * 15.0
    assert float(moved.max()) < 0.005 * 15.0


# --- what the network is given ------------------------------------------------------------------


def test_an_untrained_network_gives_the_mean_plus_the_departure(worlds: Batch) -> None:
    network, few = _untrained(), worlds.each(lambda tensor: tensor[:3])
    batch = with_context(few, network)
    departure = scene.look_up(batch.context, scene.properties(scale(few.previous), few.conditions))
    fine = functional.interpolate(departure, scale_factor=BLOCK_PX, mode="bilinear")
    expected = few.previous.nanmean(dim=1) + fine
    torch.testing.assert_close(_mean(network, batch), expected, rtol=0, atol=2e-3)
    assert float(fine.abs().mean()) > 0.1


def test_the_target_reaches_the_expected_image_by_its_table_alone() -> None:
    first, second = _windows(2)
    model = Model(_network(), "small")
    batch = model.network.scene_context(collate([first]))[0].numpy()
    first = replace(first, context=batch)
    second = replace(second, target=-second.target[:, ::-1], context=batch)
    images = [model.expect([window])[0] for window in (first, second)]
    np.testing.assert_array_equal(images[0].mean, images[1].mean)
    np.testing.assert_array_equal(images[0].std, images[1].std)
    alone = model.expect([replace(first, context=None)])[0]
    np.testing.assert_allclose(alone.mean, images[0].mean, atol=1e-5)
    other = model.expect([replace(second, context=None)])[0]
    assert np.abs(other.mean - images[0].mean).max() > 0.1


def test_without_context_the_target_has_no_effect() -> None:
    (window,) = _windows()
    model = Model(_network(), "small", context="none")
    assert not model.uses_target and Model(_network(), "small").uses_target
    other = window.with_target(np.full_like(window.target, 3.0))
    with_table = replace(window, context=np.ones(TABLE_SHAPE, dtype="f4"))
    images = [model.expect([each])[0] for each in (window, other, with_table)]
    for image in images[1:]:
        np.testing.assert_array_equal(image.mean, images[0].mean)
        np.testing.assert_array_equal(image.std, images[0].std)
    assert not model.shows_context(window) and Model(_network(), "small").shows_context(window)


def test_hidden_context_is_no_context() -> None:
    network, batch = _network(), collate(_windows())
    hidden = replace(batch, context=torch.full((1, *TABLE_SHAPE), torch.nan))
    shown = with_context(batch, network)
    assert _mean(network, hidden).equal(_mean(network, batch))
    assert not torch.allclose(_mean(network, shown), _mean(network, batch), atol=0.1)


def test_every_part_of_the_table_has_an_effect() -> None:
    network = _network()
    batch = with_context(collate(_windows()), network)
    before = _mean(network, batch)
    parts = [(slice(-1), slice(None), 0), (slice(-1), slice(None), 1), (slice(-1), slice(None), 2)]
    parts += [(LEVEL, 0, 0), (LEVEL, 0, 1), (LEVEL, 0, 2), (LEVEL, 1, 1), (LEVEL, 2, 2)]
    for part in parts:
        table = batch.context.clone()
        table[(0, *part)] += 0.5
        moved = (_mean(network, replace(batch, context=table)) - before).abs().max()
        assert float(moved) > 1e-4, part


def test_a_window_with_a_polarisation_alone_has_the_context_of_it() -> None:
    """The context of VV, and of VH derived from it: the target is 3 dB brighter."""
    for band in ("VV", "VH"):
        (window,) = _windows()
        alone = window.with_bands((band,))
        with pytest.warns(UserWarning, match="the previous images have no"):
            (expected,) = Model(_untrained(), "small").expect([alone])
        assert expected.mean.shape == (1, 48, 48)
        departure = expected.mean - alone.previous.mean(axis=0)
        np.testing.assert_allclose(departure, 3.0, atol=0.6)
        assert departure.mean() == pytest.approx(3.0, abs=0.05)
        assert np.isfinite(expected.std).all()


def _conditions(batch: Batch, row: int) -> Batch:
    """The same batch with other conditions of an image or, row −1, of the target."""
    conditions = batch.conditions.clone()
    conditions[:, row] = torch.rand(len(COLUMNS), generator=torch.Generator().manual_seed(row + 9))
    return replace(batch, conditions=conditions)


def test_features_of_the_baseline_depend_on_its_images_alone() -> None:
    network, batch = _network(), collate(_windows())

    @torch.inference_mode()
    def features(batch: Batch) -> list[torch.Tensor]:
        *inputs, _ = batch.inputs()
        return network.encode(*inputs).features

    before = features(batch)
    for ours, theirs in zip(features(_conditions(batch, -1)), before, strict=True):
        assert ours.equal(theirs)
    later = replace(batch, days=batch.days.clone(), day_of_year=batch.day_of_year + 12.0)
    later.days[:, :-1] -= 12.0
    for ours, theirs in zip(features(later), before, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
    for row in range(4):
        others = features(_conditions(batch, row))
        assert all(
            (ours - theirs).abs().max() > 1e-3 for ours, theirs in zip(others, before, strict=True)
        )
        for ours, theirs in zip(others, before, strict=True):
            unmoved = [image for image in range(4) if image != row]
            assert ours[:, unmoved].equal(theirs[:, unmoved])


@pytest.mark.parametrize("pixels", [48, 40])
def test_forward_decodes_what_is_encoded(pixels: int) -> None:
    network = _network()
    batch = with_context(collate(_windows(2, pixels)), network)
    *inputs, context = batch.inputs()
    with torch.inference_mode():
        encoded = network.encode(*inputs)
        decoded = network.decode(encoded, *inputs[2:], context)
        whole = network(*batch.inputs())
    assert decoded.mean.shape[-1] == 48
    assert decoded.mean[..., :pixels, :pixels].equal(whole.mean)
    assert decoded.log_variance[..., :pixels, :pixels].equal(whole.log_variance)


def test_targets_of_one_baseline_are_predicted_as_each_alone(monkeypatch) -> None:
    """Three changed targets, then one whose images have other conditions, which shares nothing."""
    network, encoded = _network(), []
    (window,) = _windows()
    targets = [window.target - np.float32(k) * window.target[:, ::-1] / 9.0 for k in range(3)]
    windows = [window.with_target(target) for target in targets]
    rows = window.conditions.copy()
    rows[0] = 3.0
    windows.append(replace(window, conditions=rows))
    alone = [Model(network, "small").expect([each])[0].mean for each in windows]
    encode = network.encode
    monkeypatch.setattr(network, "encode", lambda *inputs: encoded.append(1) or encode(*inputs))
    together = Model(network, "small").expect(windows)
    for ours, theirs in zip(together, alone, strict=True):
        np.testing.assert_allclose(ours.mean, theirs, atol=1e-4)
    assert len(encoded) == 2
    assert np.abs(alone[3] - alone[0]).max() > 1e-3


# --- bad input ----------------------------------------------------------------------------------

LEFT_OUT = "predicts it without scene context"
BOUNDED = "its context is bounded there"


def _said(caplog: pytest.LogCaptureFixture, line: str) -> int:
    return sum(line in message for message in caplog.messages)


def _mostly_changed(target: np.ndarray, squares_px: int) -> np.ndarray:
    """By 8 dB up or down in 60 % of the squares."""
    rng = np.random.default_rng(0)
    count = target.shape[-1] // squares_px
    squares = 8.0 * rng.choice([-1.0, 1.0], (count, count)) * (rng.random((count, count)) < 0.6)
    return target + np.kron(squares, np.ones((squares_px, squares_px))).astype("f4")


@pytest.mark.parametrize("what", ["small", "unseen", "mostly unseen", "mostly changed"])
def test_context_that_cannot_be_known_is_left_out(caplog, what: str) -> None:
    caplog.set_level(logging.INFO, "sarcast")
    (window,) = _windows(pixels={"small": 28, "mostly changed": 96}.get(what, 48))
    if what == "unseen":
        window = window.with_target(np.full_like(window.target, np.nan))
    if what == "mostly unseen":
        window.target[:, 28:] = np.nan
        window.target[:, :, 28:] = np.nan
    if what == "mostly changed":
        window = window.with_target(_mostly_changed(window.target, 16))
    model = Model(_network(), "small")
    images = [model.expect([window])[0] for _ in range(2)]
    blind = Model(model.network, "blind", context="none").expect([window])[0]
    for image in images:
        np.testing.assert_array_equal(image.mean, blind.mean)
        assert np.isfinite(image.mean).all()
    assert _said(caplog, LEFT_OUT) == 1
    assert not model.shows_context(window)


def test_changes_that_cancel_within_some_blocks_are_bounded() -> None:
    """Most of the scene changed, up and down in small squares: the level stays near 3 dB."""
    (window,) = _windows(pixels=96)
    changed = window.with_target(_mostly_changed(window.target, 4))
    images = [Model(_untrained(), "small").expect([each])[0].mean for each in (window, changed)]
    assert np.abs(images[1] - images[0]).mean() < 1.0
    assert np.abs(images[1] - images[0]).max() < 4.0


def test_least_pixels_of_a_scene_with_context(caplog) -> None:
    caplog.set_level(logging.INFO, "sarcast")
    (window,) = _windows(pixels=32)
    assert Model(_untrained(), "small").shows_context(window)
    window.target[0, :4, :3] = np.nan
    assert not Model(_untrained(), "small").shows_context(window)


def test_a_departure_beyond_reason_is_bounded(caplog) -> None:
    """As of another calibration, or of power in place of dB."""
    caplog.set_level(logging.INFO, "sarcast")
    (window,) = _windows(departure_db=25.0)
    model = Model(_untrained(), "small")
    for _ in range(2):
        (expected,) = model.expect([window])
    departure = expected.mean - window.previous.mean(axis=0)
    np.testing.assert_allclose(departure, MOST_DEPARTURE_DB, atol=1.0)
    assert _said(caplog, BOUNDED) == 1
    assert _said(caplog, LEFT_OUT) == 0


def _one_value(window: Window) -> Window:
    return replace(
        window,
        previous=np.full_like(window.previous, -12.0),
        target=np.full_like(window.target, -10.0),
    )


def _one_class(window: Window) -> Window:
    rng = np.random.default_rng(2)
    return replace(
        window,
        previous=rng.normal(-12.0, 0.5, window.previous.shape).astype("f4"),
        target=rng.normal(-10.0, 0.5, window.target.shape).astype("f4"),
    )


@pytest.mark.parametrize("made", [_one_value, _one_class])
def test_scenes_of_one_kind_of_ground(made) -> None:
    window = made(_windows()[0])
    (expected,) = Model(_untrained(), "small").expect([window])
    departure = expected.mean - window.previous.mean(axis=0)
    np.testing.assert_allclose(departure, 2.0, atol=0.4)
    assert departure.mean() == pytest.approx(2.0, abs=0.05)
    assert np.isfinite(expected.std).all()


def test_a_target_of_one_value_is_no_nan() -> None:
    (window,) = _windows()
    window = window.with_target(np.full_like(window.target, -10.0))
    (expected,) = Model(_network(), "small").expect([window])
    assert np.isfinite(expected.mean).all() and np.isfinite(expected.std).all()
    departure = Model(_untrained(), "small").expect([window])[0].mean - window.previous.mean(axis=0)
    assert np.abs(departure).max() <= (1 + len(PROPERTIES)) * MOST_DEPARTURE_DB


# --- training -----------------------------------------------------------------------------------


def _many(count: int, pixels: int = 32) -> Batch:
    batch = collate(_windows(1, pixels))
    return batch.each(lambda tensor: tensor.repeat(count, *[1] * (tensor.dim() - 1)))


def _added(batch: Batch, seed: int = 0, **options: float) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return add_context(batch, _untrained(), AugmentOptions(**options), generator=generator)


def test_context_is_hidden_in_a_share_of_the_windows() -> None:
    batch = _many(300)
    hidden = _added(batch, no_context=0.3, context_changes=0.0).context.isnan().flatten(1)
    assert hidden.all(dim=1).equal(hidden.any(dim=1))
    assert float(hidden[:, 0].float().mean()) == pytest.approx(0.3, abs=0.08)
    none = _added(batch, no_context=0.0, context_changes=0.0)
    torch.testing.assert_close(none.context, with_context(batch, _untrained()).context)


def test_the_same_generator_gives_the_same_context() -> None:
    batch = _many(20)
    first, same, other = (_added(batch, seed).context for seed in (1, 1, 2))
    assert torch.equal(first.nan_to_num(9.0), same.nan_to_num(9.0))
    assert not torch.equal(first.nan_to_num(9.0), other.nan_to_num(9.0))


def test_counterfactual_conditions_have_no_context() -> None:
    batch = _many(2)
    batch = replace(
        batch,
        counterfactual_conditions=batch.conditions[:, -1],
        counterfactual_expected=batch.target,
    )
    assert _added(batch, no_context=0.0).context is None
    assert with_context(batch, _untrained()).context is None


def test_a_network_without_context_gets_none() -> None:
    unet, batch = UNet(UNetOptions(size=32, previous=4, filters=(8, 8)), PaperScaling()), _many(2)
    added = add_context(batch, unet, AugmentOptions(), generator=torch.Generator().manual_seed(0))
    assert added is batch and with_context(batch, unet) is batch
    with pytest.raises(NotImplementedError, match="unet uses no scene context"):
        unet.scene_context(batch)


def test_simulated_changes_reach_the_context_alone(monkeypatch) -> None:
    """A disc in half of the windows: its largest area, and the covariance of its change."""
    monkeypatch.setattr(augment, "CONTEXT_DISCS", 1)
    batch, seen = _many(600), []
    batch = replace(batch, goal=batch.target + 1.0)
    before, goal = batch.target.clone(), batch.goal.clone()
    network = _untrained()
    compute = network.scene_context
    monkeypatch.setattr(
        network, "scene_context", lambda each: seen.append(each.target) or compute(each)
    )
    options = AugmentOptions(no_context=0.0, context_changes=0.5)
    generator = torch.Generator().manual_seed(4)
    added = add_context(batch, network, options, generator=generator)
    assert added.target.equal(before) and added.goal.equal(goal)
    assert added.previous is batch.previous
    change = (seen[0] - before).flatten(2)
    (with_disc,) = torch.nonzero(change.abs().amax(dim=(1, 2)), as_tuple=True)
    assert len(with_disc) / 600 == pytest.approx(0.5, abs=0.08)
    of_disc = []
    for window in change[with_disc]:
        inside = window.abs().amax(dim=0) > 1e-4
        assert float(np.ptp(window[:, inside].numpy(), axis=1).max()) < 1e-5
        assert 0.0 < float(inside.float().mean()) <= np.pi * 0.35**2 + 0.02
        of_disc.append(window[:, inside].mean(dim=1).numpy())
    covariance = np.cov(np.transpose(of_disc))
    np.testing.assert_allclose(np.diag(covariance), 3.0**2 + 1.5**2, rtol=0.25)
    assert covariance[0, 1] == pytest.approx(3.0**2, rel=0.3)
    untouched = with_context(batch, _untrained()).context
    differs = (added.context - untouched).abs().flatten(1).amax(dim=1) > 1e-5
    assert set(torch.nonzero(differs)[:, 0].tolist()) <= set(with_disc.tolist())
    assert int(differs.sum()) > 0.9 * len(with_disc)
