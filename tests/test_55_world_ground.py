"""Random fields, the table and the ground of the world: shares, sizes and ranges as given."""

import dataclasses

import numpy as np
import pytest
import torch

from sarcast.world import fields, ground, presets, table


def generator(seed: int = 1) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("nodes", [(1, 1), (4, 7), (40, 40), (90, 90)])
def test_smooth_noise_has_unit_variance_everywhere(nodes):
    field = fields.smooth((4000,), (24, 30), nodes, rng=generator())
    assert field.mean(0).abs().max() < 0.1
    assert field.var(0).numpy() == pytest.approx(np.ones((24, 30)), abs=0.15)


def test_smooth_noise_has_the_given_length_scale():
    lags = {
        nodes: _correlation(fields.smooth((200,), (128, 128), (nodes, nodes), rng=generator()), 8)
        for nodes in (2, 8, 32)
    }
    assert lags[2] > 0.9 > lags[8] > 0.5 > 0.3 > lags[32]


def _correlation(field: torch.Tensor, lag: int) -> float:
    return float((field[..., lag:] * field[..., :-lag]).mean() / field.var())


@pytest.mark.parametrize("part", [(slice(3, 9), slice(0, 40)), (slice(0, 1), slice(20, 21))])
def test_a_part_of_smooth_noise_is_that_part_of_the_whole(part):
    whole = fields.smooth((2, 3), (30, 40), (4, 5), rng=generator())
    alone = fields.smooth((2, 3), (30, 40), (4, 5), part=part, rng=generator())
    assert alone == pytest.approx(whole[:, :, *part], abs=1e-5)


def test_octaves_have_unit_variance_and_finer_detail():
    rough = fields.octaves((300,), (64, 64), (2, 2), 4, gain=0.8, rng=generator())
    fine = fields.octaves((300,), (64, 64), (2, 2), 1, rng=generator())
    assert rough.var() == pytest.approx(1.0, abs=0.1)
    assert _correlation(rough, 4) < _correlation(fine, 4)


def nearest_by_loop(position: np.ndarray, seeds: np.ndarray, columns: int) -> int:
    corner = np.floor(position - 0.5).astype(int)
    around = [(corner[0] + down, corner[1] + right) for down in (0, 1) for right in (0, 1)]
    apart = [
        np.hypot(*(np.array(cell) + seeds[:, cell[0] * columns + cell[1]] - position))
        for cell in around
    ]
    row, column = around[int(np.argmin(apart))]
    return int(row * columns + column)


def test_a_pixel_belongs_to_the_nearest_seed():
    position = 1.0 + 6.0 * torch.rand(1, 2, 9, 9, generator=generator())
    seeds = torch.rand(1, 2, 80, generator=generator(2))
    found = fields._nearest_seed(position, seeds, 10)[0]
    for row, column in np.ndindex(9, 9):
        by_loop = nearest_by_loop(position[0, :, row, column].numpy(), seeds[0].numpy(), 10)
        assert int(found[row, column]) == by_loop


@pytest.mark.parametrize("side", [8.0, 20.0])
def test_cells_have_the_given_size(side):
    labels, shape = fields.cells((200, 160), torch.tensor([side, side]), rng=generator())
    assert labels.shape == (2, 200, 160)
    assert int(labels.min()) >= 0 and int(labels.max()) < shape[0] * shape[1]
    area = 200 * 160 / len(labels[0].unique())
    assert area == pytest.approx(side**2, rel=0.3)


def test_worlds_with_different_cell_sizes_share_a_batch():
    labels, _ = fields.cells((120, 120), torch.tensor([6.0, 30.0]), rng=generator())
    assert len(labels[0].unique()) > 8 * len(labels[1].unique())


def test_covers_have_the_drawn_shares():
    preset = dataclasses.replace(presets.TEMPERATE, mixture_spread=(0.0, 0.0))
    rng = generator(3)
    parameters = presets.draw(preset, 60, rng=rng)
    land = ground.draw(parameters, (128, 128), 30.0, rng=rng)
    counts = torch.bincount(land.cover.flatten(), minlength=len(table.NAMES)).double()
    shares = (counts / counts.sum()).numpy()
    dry = np.array(preset.mixture) / sum(preset.mixture)
    assert shares == pytest.approx(dry, abs=0.04)


def test_water_and_mire_lie_low():
    rng = generator(4)
    parameters = presets.draw(presets.BOREAL, 20, rng=rng)
    land = ground.draw(parameters, (128, 128), 10.0, rng=rng)
    relative = land.elevation - land.elevation.mean((1, 2), keepdim=True)
    wet = (land.cover == table.NAMES.index("water")) | (land.cover == table.NAMES.index("mire"))
    assert relative[wet].mean() < relative[~wet].mean() - 5.0


def test_lakes_have_no_slope_and_hills_do():
    rng = generator(5)
    parameters = presets.draw(presets.BOREAL, 4, rng=rng)
    land = ground.draw(parameters, (128, 128), 10.0, rng=rng)
    share = ground.shares(land.cover)[:, table.NAMES.index("water")]
    assert (share == 1.0).any()
    assert (land.slope_east[share == 1.0] == 0.0).all()
    assert land.slope_east[share == 0.0].std() > 0.005


def test_elevation_has_the_given_relief():
    preset = dataclasses.replace(presets.BOREAL, relief_m=(50.0, 50.0))
    rng = generator(6)
    parameters = presets.draw(preset, 200, rng=rng)
    land = ground.draw(parameters, (64, 64), 200.0, rng=rng)
    assert land.elevation.min() >= 100.0
    assert land.elevation.std((1, 2)).mean() == pytest.approx(50.0, rel=0.2)


def test_texture_has_unit_variance_and_is_correlated_within_parcels():
    parcels, shape = fields.cells((96, 96), torch.full((80,), 12.0), rng=generator())
    noise = ground._texture(parcels, shape, generator(2))
    assert noise.var() == pytest.approx(1.0, abs=0.05)
    same = parcels[:, :, 6:] == parcels[:, :, :-6]
    product = (noise[..., 6:] * noise[..., :-6])[:, 0]
    assert product[same].mean() > 0.4 > 0.15 > product[~same].mean()


@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_every_parameter_is_drawn_from_its_range(name):
    preset = presets.PRESETS[name]
    drawn = presets.draw(preset, 300, rng=generator())
    assert drawn.mixture.sum(1).numpy() == pytest.approx(np.ones(300), abs=1e-5)
    for field in dataclasses.fields(presets.Preset):
        if field.name in drawn.values and field.name != "gamma0":
            low, high = getattr(preset, field.name)
            values = drawn[field.name]
            assert values.min() >= low - 1e-4 and values.max() <= high + 1e-4
            assert low == high or values.max() - values.min() > 0.9 * (high - low)


def test_boreal_uses_the_table_and_random_worlds_vary_within_its_half_ranges():
    value = torch.tensor(
        [[(r.vv, r.vh) for r in (getattr(c, n) for n in table.COLUMNS)] for c in table.ROWS]
    )
    half = torch.tensor([[getattr(c, n).half_range for n in table.COLUMNS] for c in table.ROWS])
    fixed = presets.draw(presets.BOREAL, 3, rng=generator()).responses
    assert torch.equal(fixed, value.expand(3, -1, -1, -1))
    moved = presets.draw(presets.RANDOM, 400, rng=generator()).responses - value
    assert (moved.abs() <= half[..., None] + 1e-5).all()
    assert (moved.abs().amax((0, 3)) >= 0.85 * half - 1e-5).all()


def test_every_row_of_the_table_has_its_sources():
    for row in table.ROWS:
        for name in table.COLUMNS:
            response = getattr(row, name)
            assert response.source and response.half_range >= 0.0
            if name in ("frozen", "wet_snow") and row.name not in ("water",):
                assert response.vv <= 0.0 and response.vh <= 0.0


def test_cited_works_are_in_the_references():
    text = table.__doc__ or ""
    for row in table.ROWS:
        for name in table.COLUMNS:
            words = getattr(row, name).source.replace(",", " ").split()
            cited = [w for w in words if w.isupper() and 2 <= len(w) <= 4 and w not in ("VV", "VH")]
            assert all(f"[{key}]" in text for key in cited), (row.name, name)
