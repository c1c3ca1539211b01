"""What simulated change starts from: an image and what is known of its land cover."""

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

    @property
    def valid_open_land(self) -> Bool:
        """Open land with data, dims (y, x); False everywhere if it is not known."""
        return np.zeros_like(self.valid) if self.open_land is None else self.valid & self.open_land
