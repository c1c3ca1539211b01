"""Convolutions for inference: each gives what torch's own gives."""

import pytest
import torch
from torch import nn

from sarcast.prediction.networks import convolution
from sarcast.prediction.networks.convolution import Direct, Pointwise, Winograd, prepare

WIDE = convolution.WINOGRAD_CHANNELS


def _layer(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2 if stride == 1 else 0)


def _by_torch(layer: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return layer(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 64), (4, 4), (18, 16), (17, 23)])
@pytest.mark.parametrize("strip_bytes", [1, 2**15, 2**20])
def test_winograd_equals_the_convolution_of_torch(monkeypatch, height, width, strip_bytes) -> None:
    monkeypatch.setattr(convolution, "STRIP_BYTES", strip_bytes)
    layer = _layer(5, 7)
    images = torch.randn(2, height, width, 5, generator=torch.Generator().manual_seed(1))
    result = Winograd(layer, Direct(layer, torch.float32))(images)
    torch.testing.assert_close(result, _by_torch(layer, images), rtol=1e-4, atol=1e-4)


def test_winograd_is_used_on_large_images() -> None:
    layer = _layer(5, 7)
    direct: list[torch.Size] = []
    convolve = Winograd(layer, lambda images: direct.append(images.shape))
    for height in (16, 8, 18):
        convolve(torch.ones(1, height, 16, 5))
    assert direct == [(1, 8, 16, 5), (1, 18, 16, 5)]


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("channels", [6, WIDE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepared_layers_equal_the_layers(size, stride, channels, dtype) -> None:
    layer = _layer(channels, channels, size, stride)
    images = torch.randn(1, 16, 16, channels, generator=torch.Generator().manual_seed(1))
    prepared = prepare(layer, dtype)
    wide = channels == WIDE and dtype == torch.float32
    kinds = {(1, 1): Pointwise, (3, 1): Winograd if wide else Direct}
    assert type(prepared) is kinds.get((size, stride), Direct)
    result = prepared(images.to(dtype))
    assert result.is_contiguous() and result.dtype == dtype
    rtol = 1e-4 if dtype == torch.float32 else 0.05
    torch.testing.assert_close(result.float(), _by_torch(layer, images), rtol=rtol, atol=rtol)


@pytest.mark.parametrize("other", [{"groups": 2}, {"dilation": 2}, {"padding": 0}])
def test_layers_of_other_kinds_are_convolved_directly(other) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(WIDE, WIDE, 3, **{"padding": 1, **other})
    images = torch.randn(1, 16, 16, WIDE, generator=torch.Generator().manual_seed(1))
    result = prepare(layer, torch.float32)(images)
    torch.testing.assert_close(result, _by_torch(layer, images), rtol=1e-4, atol=1e-4)
