"""Convolutions for inference on CPUs, in channels-last order.

A convolution of 3 x 3 pixels takes fewer multiplications by Winograd's algorithm F(m x m, 3 x 3):
with d a tile of m + 2 rows and columns of an input channel and g the weights of 3 x 3, the m x m
pixels of the output are::

    A^T [ sum over input channels (G g G^T) * (B^T d B) ] A

which takes 36 multiplications in place of 144 for m = 4, and 16 in place of 36 for m = 2. The
transforms of tiles are products of matrices here, by the Kronecker products of B^T and A^T with
themselves.

References
----------
Lavin, Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, equations 8 and 13, and
sections 4.1 and 4.3 for the matrices.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

Convolution = Callable[[Tensor], Tensor]
"""From dims (image, y, x, channel), contiguous, to the same."""
Matrix = list[list[float]]

STRIP_BYTES = 2**20
"""Size by thread of the transformed input of a strip of rows: about the second cache of a core."""
LEAST_PIXELS = 256
"""Pixels of an image from which Winograd's algorithm saves more time than reading its weights, two
or four times as many, takes."""


class Algorithm(NamedTuple):
    """One of Winograd's algorithms.

    Attributes
    ----------
    side
        Rows and columns of a tile of the output, pixels.
    b, g, a
        The matrices B^T, G and A^T.
    least_channels
        Channels from which it saves more time than its transforms take.
    """

    side: int
    b: Matrix
    g: Matrix
    a: Matrix
    least_channels: int


F4 = Algorithm(
    side=4,
    b=[
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    g=[
        [1 / 4, 0, 0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0, 0, 1],
    ],
    a=[[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    least_channels=80,
)
F2 = Algorithm(
    side=2,
    b=[[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
    g=[[1, 0, 0], [1 / 2, 1 / 2, 1 / 2], [1 / 2, -1 / 2, 1 / 2], [0, 0, 1]],
    a=[[1, 1, 1, 0], [0, 1, -1, -1]],
    least_channels=128,
)
ALGORITHMS = {torch.float32: F4, torch.bfloat16: F2}
"""By number format: the larger numbers of F4 would cost bfloat16 its precision."""


def prepare(layer: nn.Conv2d, dtype: torch.dtype) -> Convolution:
    """Prepare a layer for inference: by Winograd's algorithm where that is faster.

    Parameters
    ----------
    layer
        The layer.
    dtype
        Number format of inputs, weights and outputs, one of ``ALGORITHMS``.
    """
    direct, algorithm = Direct(layer, dtype), ALGORITHMS[dtype]
    if layer.stride != (1, 1) or layer.dilation != (1, 1) or layer.groups != 1:
        return direct
    if layer.kernel_size == (1, 1) and layer.padding == (0, 0):
        return Pointwise(layer, dtype)
    wide = min(layer.in_channels, layer.out_channels) >= algorithm.least_channels
    fits = layer.kernel_size == (3, 3) and layer.padding == (1, 1)
    return Winograd(layer, direct, dtype) if fits and wide else direct


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
        The same convolution, for images that are small or whose sides are no multiples of a tile.
    dtype
        Number format, one of ``ALGORITHMS``.
    """

    def __init__(self, layer: nn.Conv2d, direct: Convolution, dtype: torch.dtype) -> None:
        assert layer.bias is not None
        algorithm = ALGORITHMS[dtype]
        g = torch.tensor(algorithm.g, dtype=torch.float64)
        weight = layer.weight.detach().double()
        transformed = torch.einsum("ij,ocjl,ml->imco", g, weight, g)
        self._weight = transformed.flatten(0, 1).to(dtype).contiguous()
        self._bias = layer.bias.detach().to(dtype)
        self._side, self._direct = algorithm.side, direct
        self._input, self._output = (
            torch.kron(torch.tensor(matrix), torch.tensor(matrix)).to(dtype)
            for matrix in (algorithm.b, algorithm.a)
        )

    def __call__(self, images: Tensor) -> Tensor:
        """Convolve images, dims (image, y, x, channel)."""
        rows, columns = images.shape[1:3]
        if rows * columns < LEAST_PIXELS or rows % self._side or columns % self._side:
            return self._direct(images)
        out = images.new_empty(*images.shape[:3], len(self._bias))
        for padded, result in zip(functional.pad(images, (0, 0, 1, 1, 1, 1)), out, strict=True):
            self._convolve(padded, result)
        return out

    def _convolve(self, padded: Tensor, out: Tensor) -> None:
        """Convolve one image that is padded by a pixel on each side; dims (y, x, channel)."""
        side, (rows, columns, channels) = self._side, out.shape
        numbers = self._input.shape[1] * padded.shape[-1] * (columns // side)
        most = STRIP_BYTES * torch.get_num_threads() // (numbers * padded.element_size())
        step = side * max(1, most)
        for row in range(0, rows, step):
            strip = out[row : row + step]
            tiles = self._tiles(padded[row : row + len(strip) + 2])
            by_tile = strip.view(-1, side, columns // side, side, channels)
            torch.add(tiles.permute(2, 0, 3, 1, 4), self._bias, out=by_tile)

    def _tiles(self, padded: Tensor) -> Tensor:
        """Convolve a strip; dims (row in tile, column in tile, tile, tile, channel)."""
        side, channels = self._side, padded.shape[-1]
        rows, columns = ((pixels - 2) // side for pixels in padded.shape[:2])
        down, right, _ = padded.stride()
        overlapping = padded.as_strided(
            (side + 2, side + 2, rows, columns, channels),
            (down, right, side * down, side * right, 1),
        )
        values = len(self._weight)
        inputs = torch.mm(self._input, overlapping.reshape(values, -1))
        products = torch.bmm(inputs.view(values, rows * columns, channels), self._weight)
        tiles = torch.mm(self._output, products.view(values, -1))
        return tiles.view(side, side, rows, columns, -1)
