"""What simulated change starts from: an image and the land cover that is known of it."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from sarcast.arrays import Bool, Float
from sarcast.detection.protocol import valid_pixels
from sarcast.windows import Window


@dataclass(frozen=True)
class LandImage:
    """A backscatter image with its masks of land cover.

    Attributes
    ----------
    backscatter
        Dims (band, y, x), dB; NaN where there is no data.
    forest, open_land
        Dims (y, x); None where the land cover is not known.
    """

    backscatter: Float
    forest: Bool | None = None
    open_land: Bool | None = None

    @classmethod
    def from_window(cls, window: Window) -> Self:
        """Return the target of a window."""
        return cls(window.target, window.forest, window.open_land)

    @property
    def valid(self) -> Bool:
        """Pixels with data in every band, dims (y, x)."""
        return valid_pixels(self.backscatter)

    @property
    def changeable(self) -> Bool:
        """Forest with data, or all pixels with data where no forest mask is known; dims (y, x)."""
        return self.valid if self.forest is None else self.valid & self.forest

    @property
    def donors(self) -> Bool:
        """Pixels with data outside the forest, as far as it is known; dims (y, x)."""
        return self.valid if self.forest is None else self.valid & ~self.forest

    def open_land_pixels(self) -> Float:
        """Return the open land with data, dims (band, pixel), dB; empty if it is not known."""
        if self.open_land is None:
            return np.zeros((len(self.backscatter), 0), dtype=np.float32)
        pixels: Float = self.backscatter[:, self.open_land & self.valid]
        return pixels
