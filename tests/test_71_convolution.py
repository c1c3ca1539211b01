"""Convolutions for inference: each gives what torch's own gives."""

import numpy as np
import pytest
import torch
from torch import nn

from sarcast.prediction.networks import convolution
from sarcast.prediction.networks.convolution import Direct, Pointwise, Winograd, prepare

WIDE = 128


def _layer(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(inputs, outputs, size, stride=stride, padding=size // 2 if stride == 1 else 0)


def _by_torch(layer: nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return layer(images.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


@pytest.mark.parametrize(("height", "width"), [(16, 16), (20, 64), (4, 4), (18, 16), (17, 23)])
@pytest.mark.parametrize("strip_bytes", [1, 2**15, 2**20])
@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_winograd_equals_the_convolution_of_torch(
    monkeypatch, height, width, strip_bytes, dtype, error
) -> None:
    monkeypatch.setattr(convolution, "STRIP_BYTES", strip_bytes)
    layer = _layer(5, 7)
    images = torch.randn(2, height, width, 5, generator=torch.Generator().manual_seed(1))
    result = Winograd(layer, Direct(layer, dtype), dtype)(images.to(dtype))
    wanted = _by_torch(layer, images)
    assert (result.float() - wanted).std() < error * wanted.std()


@pytest.mark.parametrize("algorithm", convolution.ALGORITHMS.values())
def test_the_matrices_convolve_any_input_exactly(algorithm) -> None:
    """In one dimension: A^T [(G g) * (B^T d)] is the correlation of d with g."""
    rng = np.random.default_rng(0)
    data, weights = rng.normal(size=algorithm.side + 2), rng.normal(size=3)
    b, g, a = (np.array(matrix) for matrix in (algorithm.b, algorithm.g, algorithm.a))
    result = a @ ((g @ weights) * (b @ data))
    np.testing.assert_allclose(result, np.correlate(data, weights, "valid"), atol=1e-12)


@pytest.mark.parametrize(
    ("dtype", "multiple"), [(torch.float32, 4), (torch.bfloat16, 2)], ids=["F4", "F2"]
)
def test_winograd_is_used_on_large_images_of_whole_tiles(dtype, multiple) -> None:
    layer, direct = _layer(5, 7), []
    convolve = Winograd(layer, lambda images: direct.append(images.shape[1]), dtype)
    for height in (16, 8, 16 + multiple, 16 + multiple // 2):
        convolve(torch.ones(1, height, 16, 5, dtype=dtype))
    assert direct == [8, 16 + multiple // 2]


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (1, 2), (2, 2), (3, 1), (3, 2)])
@pytest.mark.parametrize("channels", [6, WIDE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_prepared_layers_equal_the_layers(size, stride, channels, dtype) -> None:
    layer = _layer(channels, channels, size, stride)
    images = torch.randn(1, 16, 16, channels, generator=torch.Generator().manual_seed(1))
    prepared = prepare(layer, dtype)
    kinds = {(1, 1): Pointwise, (3, 1): Winograd if channels == WIDE else Direct}
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
