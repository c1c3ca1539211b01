"""Convolutions for inference on CPUs, in channels-last order.

A convolution of 3 x 3 pixels takes fewer multiplications by Winograd's algorithm: with d a tile of
6 x 6 pixels of an input channel and g the weights of 3 x 3, the 4 x 4 pixels of the output are::

    A^T [ sum over input channels (G g G^T) * (B^T d B) ] A

with 36 multiplications in place of 144. The transforms of tiles are products of matrices here, by
the Kronecker products of B^T and A^T with themselves.

References
----------
Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, equations 8 and 13, and
section 4.3 for the matrices of F(4 x 4, 3 x 3).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

Convolution = Callable[[Tensor], Tensor]
"""From dims (image, y, x, channel), contiguous, to the same."""

TILE_PX = 4
"""Rows and columns of a tile of the output."""
WINDOW_PX = TILE_PX + 2
"""Rows and columns of the input that a tile depends on."""
WINOGRAD_CHANNELS = 80
"""Channels from which Winograd's algorithm saves more time than its transforms take."""
WINOGRAD_TILES = 16
"""Tiles of an image from which it saves more time than reading its weights takes, which are four
times as many."""
STRIP_BYTES = 2**20
"""Size by thread of the transformed input of a strip of rows: about the second cache of a core."""

_B = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
"""B^T of Lavin and Gray."""
_G = [
    [1 / 4, 0, 0],
    [-1 / 6, -1 / 6, -1 / 6],
    [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6],
    [1 / 24, -1 / 12, 1 / 6],
    [0, 0, 1],
]
"""G of Lavin and Gray."""
_A = [
    [1, 1, 1, 1, 1, 0],
    [0, 1, -1, 2, -2, 0],
    [0, 1, 1, 4, 4, 0],
    [0, 1, -1, 8, -8, 1],
]
"""A^T of Lavin and Gray."""


def prepare(layer: nn.Conv2d, dtype: torch.dtype) -> Convolution:
    """Prepare a layer for inference: by Winograd's algorithm where that is faster.

    Parameters
    ----------
    layer
        The layer.
    dtype
        Number format of inputs, weights and outputs. Only float32 is precise enough for Winograd's
        algorithm.
    """
    direct = Direct(layer, dtype)
    if layer.stride != (1, 1) or layer.dilation != (1, 1) or layer.groups != 1:
        return direct
    if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
        return Pointwise(layer, dtype)
    wide = min(layer.in_channels, layer.out_channels) >= WINOGRAD_CHANNELS
    fits = layer.kernel_size == (3, 3) and layer.padding == (1, 1)
    return Winograd(layer, direct) if fits and wide and dtype == torch.float32 else direct


class Pointwise:
    """A convolution of 1 x 1 pixel, stride 1 and no padding: one product of matrices."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        assert layer.bias is not None
        self._weight = layer.weight.detach()[:, :, 0, 0].to(dtype)
        self._bias = layer.bias.detach().to(dtype)

    def __call__(self, images: Tensor) -> Tensor:
        """Convolve images, dims (image, y, x, channel)."""
        return functional.linear(images, self._weight, self._bias)


class Direct:
    """A convolution with its weights in the order and number format of the input."""

    def __init__(self, layer: nn.Conv2d, dtype: torch.dtype) -> None:
        assert layer.bias is not None
        weight = layer.weight.detach().to(dtype)
        self._weight = weight.contiguous(memory_format=torch.channels_last)
        self._bias = layer.bias.detach().to(dtype)
        self._layer = layer

    def __call__(self, images: Tensor) -> Tensor:
        """Convolve images, dims (image, y, x, channel)."""
        layer = self._layer
        out = functional.conv2d(
            images.permute(0, 3, 1, 2),
            self._weight,
            self._bias,
            layer.stride,
            layer.padding,
            layer.dilation,
            layer.groups,
        )
        return out.permute(0, 2, 3, 1).contiguous()


class Winograd:
    """A convolution of 3 x 3 pixels by Winograd's algorithm, in strips of rows.

    Parameters
    ----------
    layer
        A layer with stride 1 and padding 1.
    direct
        The same convolution, for images that are small or whose sides are no multiples of 4.
    """

    def __init__(self, layer: nn.Conv2d, direct: Convolution) -> None:
        assert layer.bias is not None
        g, weight = torch.tensor(_G, dtype=torch.float64), layer.weight.detach().double()
        transformed = torch.einsum("ij,ocjl,ml->imco", g, weight, g)
        self._weight = transformed.flatten(0, 1).float().contiguous()
        self._bias = layer.bias.detach().float()
        self._direct = direct

    def __call__(self, images: Tensor) -> Tensor:
        """Convolve images, dims (image, y, x, channel)."""
        rows, columns = images.shape[1:3]
        few = rows * columns < WINOGRAD_TILES * TILE_PX**2
        if few or rows % TILE_PX or columns % TILE_PX:
            return self._direct(images)
        out = images.new_empty(*images.shape[:3], len(self._bias))
        for padded, result in zip(functional.pad(images, (0, 0, 1, 1, 1, 1)), out, strict=True):
            self._convolve(padded, result)
        return out

    def _convolve(self, padded: Tensor, out: Tensor) -> None:
        """Convolve one image that is padded by a pixel on each side; dims (y, x, channel)."""
        rows, columns, channels = out.shape
        bytes_of_tiles = 4 * WINDOW_PX**2 * padded.shape[-1] * (columns // TILE_PX)
        step = TILE_PX * max(1, STRIP_BYTES * torch.get_num_threads() // bytes_of_tiles)
        for row in range(0, rows, step):
            strip = out[row : row + step]
            tiles = self._tiles(padded[row : row + len(strip) + 2])
            by_tile = strip.view(-1, TILE_PX, columns // TILE_PX, TILE_PX, channels)
            torch.add(tiles.permute(2, 0, 3, 1, 4), self._bias, out=by_tile)

    def _tiles(self, padded: Tensor) -> Tensor:
        """Convolve a strip; dims (row in tile, column in tile, tile, tile, channel)."""
        rows, columns = ((side - 2) // TILE_PX for side in padded.shape[:2])
        down, right, _ = padded.stride()
        windows = padded.as_strided(
            (WINDOW_PX, WINDOW_PX, rows, columns, padded.shape[-1]),
            (down, right, TILE_PX * down, TILE_PX * right, 1),
        )
        inputs = torch.mm(_INPUT_TRANSFORM, windows.reshape(WINDOW_PX**2, -1))
        products = torch.bmm(inputs.view(WINDOW_PX**2, rows * columns, -1), self._weight)
        tiles = torch.mm(_OUTPUT_TRANSFORM, products.view(WINDOW_PX**2, -1))
        return tiles.view(TILE_PX, TILE_PX, rows, columns, -1)


def _in_two_dimensions(rows: list[list[int]]) -> Tensor:
    matrix = torch.tensor(rows, dtype=torch.float32)
    return torch.kron(matrix, matrix)


_INPUT_TRANSFORM, _OUTPUT_TRANSFORM = _in_two_dimensions(_B), _in_two_dimensions(_A)
