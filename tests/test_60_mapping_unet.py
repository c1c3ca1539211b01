"""The paper's U-Net against the published code's own output, and its parameter count."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from sarcast.conditions import COLUMNS, PaperScaling
from sarcast.mapping.unet import UNet, UNetOptions, paper_scaling
from sarcast.windows import Window

SMALL = UNetOptions(size=16, previous=2, filters=(4, 8), dropout=0.0)


def _norm_weights(stored, prefix):
    names = {"weight": "gamma", "bias": "beta"}
    names |= {"running_mean": "moving_mean", "running_var": "moving_variance"}
    return {ours: torch.from_numpy(stored[f"{prefix}/{theirs}"]) for ours, theirs in names.items()}


def _load_published(network, stored):
    for layers, name, kind in ((network.down, "down", "conv"), (network.up, "up", "conv_transpose")):
        for place, block in enumerate(layers, start=1):
            kernel = torch.from_numpy(stored[f"{name}{place}/{kind}/kernel"])
            block[0].weight.data = kernel.permute(3, 2, 0, 1).contiguous()
            block[0].bias.data = torch.from_numpy(stored[f"{name}{place}/{kind}/bias"])
            block[1].load_state_dict(
                _norm_weights(stored, f"{name}{place}/batch_norm"), strict=False
            )
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
