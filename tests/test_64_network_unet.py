"""The paper's U-Net against the output and the parameter count of the published code."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sarcast.prediction.networks.unet import UNet, UNetOptions, paper_scaling
from sarcast.sensor.conditions import COLUMNS, PaperScaling
from sarcast.windows import Window

SMALL = UNetOptions(size=16, previous=2, filters=(4, 8), dropout=0.0)


def _norm_weights(stored, prefix):
    names = {"weight": "gamma", "bias": "beta"}
    names |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
    return {ours: torch.from_numpy(stored[f"{prefix}/{theirs}"]) for ours, theirs in names.items()}


def _load_published(network, stored):
    for layers, name, kind in (
        (network.down, "down", "conv"),
        (network.up, "up", "conv_transpose"),
    ):
        for number, block in enumerate(layers, start=1):
            prefix = f"{name}{number}"
            kernel = torch.from_numpy(stored[f"{prefix}/{kind}/kernel"])
            block[0].weight.data = kernel.permute(3, 2, 0, 1).contiguous()
            block[0].bias.data = torch.from_numpy(stored[f"{prefix}/{kind}/bias"])
            block[1].load_state_dict(_norm_weights(stored, f"{prefix}/batch_norm"), strict=False)
    network.last.weight.data = (
        torch.from_numpy(stored["last/conv_transpose/kernel"]).permute(3, 2, 0, 1).contiguous()
    )
    network.last.bias.data = torch.from_numpy(stored["last/conv_transpose/bias"])


def _published_input():
    y, x, c = np.mgrid[0:512, 0:512, 0:9].astype(np.float64)
    wave = 0.5 * np.sin(0.021 * y * (c + 1) % 97 / 7.0) + 0.4 * np.cos(
        0.013 * x * (c + 2) % 89 / 5.0
    )
    image = (wave + 0.1 * np.sin((y * 31 + x * 17 + c * 7) % 101)).astype(np.float32)
    values = np.cos(0.7 * np.arange(45)).astype(np.float32)
    return torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(values)[None]


def test_output_is_that_of_the_published_code(data_dir: Path) -> None:
    stored = np.load(data_dir / "tfrecord" / "unet-parity.npz")
    network = UNet(UNetOptions(filters=(4, 6, 8)), PaperScaling()).eval()
    _load_published(network, stored)
    with torch.inference_mode():
        output = network.transform(*_published_input())[0].permute(1, 2, 0)[::7, ::7].numpy()
    np.testing.assert_allclose(output, stored["output_every_7th_pixel"], atol=1e-4)


def test_default_has_the_paper_s_parameter_count() -> None:
    with torch.device("meta"):
        network = UNet(UNetOptions(), PaperScaling())
    assert sum(p.numel() for p in network.parameters() if p.requires_grad) == 64_231_554


def test_parameters_of_other_sizes_follow_from_the_layers() -> None:
    network = UNet(SMALL, PaperScaling())
    channels, values = 2 * 2 + 1, 9 * 3
    convolutions = [(channels, 4, 4), (4, 8, 4), (8, 8, 4), (8, 8, 2)]
    transposed = [(8 + values, 8, 4), (16, 8, 4), (16, 4, 4)]
    expected = sum(i * o * k * k + 3 * o for i, o, k in convolutions + transposed) + 4 * 2 * 16 + 2
    assert sum(p.numel() for p in network.parameters()) == expected


@pytest.mark.parametrize("size", [8, 32])
def test_any_power_of_two_gives_an_image_of_its_size(size: int) -> None:
    network = UNet(UNetOptions(size=size, previous=2, filters=(4,)), PaperScaling()).eval()
    images, values = torch.zeros(1, 5, size, size), torch.zeros(1, 27)
    assert network.transform(images, values).shape == (1, 2, size, size)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValidationError, match=r"power of 2, such as 64, 128, 256 or 512, not 100"):
        UNetOptions(size=100)


def _inputs(windows: int = 2) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [
        torch.randn(windows, 2, 2, 16, 16, generator=generator) * 2 - 12,
        torch.rand(windows, 16, 16, generator=generator) * 100,
        torch.rand(windows, 3, len(COLUMNS), generator=generator),
        torch.zeros(windows, 3),
        torch.zeros(windows),
    ]


def test_missing_values_count_as_zero_after_scaling() -> None:
    network = UNet(SMALL, PaperScaling()).eval()
    inputs = _inputs()
    inputs[0][0, 1, 0, 3, 4] = torch.nan
    with_gap = network(*inputs).mean
    low, high = network.scaling.band_low[0], network.scaling.band_high[0]
    inputs[0][0, 1, 0, 3, 4] = (low + high) / 2
    torch.testing.assert_close(network(*inputs).mean, with_gap)
    assert with_gap.isfinite().all()


def test_loss_is_the_mean_square_over_valid_pixels_in_scaled_units() -> None:
    torch.manual_seed(0)
    network = UNet(SMALL, PaperScaling()).eval()
    prediction = network(*_inputs())
    target = prediction.mean.detach() + 1.8  # a tenth of the half range of 18 dB
    target[0, 0, :8] = torch.nan
    assert network.loss(prediction, target).item() == pytest.approx(0.01, rel=1e-4)


def test_ignored_conditions_have_no_effect_and_others_do() -> None:
    torch.manual_seed(0)
    network = UNet(SMALL, PaperScaling(), ignored=["precipitation"]).eval()
    inputs = _inputs()
    before = network(*inputs).mean
    inputs[2][:, :, COLUMNS.index("precipitation_1")] += 20.0
    torch.testing.assert_close(network(*inputs).mean, before, rtol=0, atol=0)
    inputs[2][:, :, COLUMNS.index("temperature")] += 20.0
    assert (network(*inputs).mean - before).abs().max() > 1e-4


def test_scaling_is_computed_from_windows() -> None:
    rng = np.random.default_rng(0)
    spread = np.array([2.0, 1.0])[:, None, None]
    windows = [
        Window(
            previous=(rng.normal(0, 1, (3, 2, 64, 64)) * spread - 10).astype("f4"),
            target=np.zeros((2, 64, 64), "f4"),
            conditions=np.tile(np.arange(9, dtype="f4"), (4, 1)),
            times=np.array(["2021-01"] * 4, dtype="datetime64[ns]"),
            elevation=np.full((64, 64), np.nan, "f4"),
        )
        for _ in range(4)
    ]
    windows[0].elevation[3, 4] = 250.0
    scaling = paper_scaling(windows)
    np.testing.assert_allclose(scaling.band_low, (-18, -14), atol=0.1)
    np.testing.assert_allclose(scaling.band_high, (-2, -6), atol=0.1)
    maxima = scaling.elevation_max, scaling.snow_depth_max, scaling.precipitation_max
    assert maxima == (250.0, 1.0, 7.0)
