"""Simulated change: a change put into a real image, with a mask of the changed pixels.

A ``Change`` says what happens, ``ShapeOptions`` where; ``simulate`` brings both together:

>>> image = LandImage(np.full((2, 64, 64), -10.0, dtype=np.float32))
>>> once = ShapeOptions(least=1, most=1)
>>> after = simulate(image, Offset(), once, rng=np.random.default_rng(0))
>>> np.unique(after.backscatter[:, after.changed])
array([-12.5], dtype=float32)
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy import ndimage

from sarcast.arrays import Bool, Float
from sarcast.evaluation.simulation.distributions import MIN_SAMPLE_PIXELS
from sarcast.evaluation.simulation.effects import (
    add_noise,
    add_offset,
    copy_regions,
    map_to_open_land,
)
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask
from sarcast.windows import Window

MAX_OPEN_LAND_PIXELS = 20_000
"""Most pixels of open land in a sample; the nearest to the change are taken."""


class Change(Protocol):
    """A kind of change that can be simulated in an image.

    Attributes
    ----------
    name
        Name in tables.

    Examples
    --------
    The backscatter of every changed pixel doubled:

    >>> class Doubled:
    ...     name = "doubled"
    ...
    ...     def fits(self, image):
    ...         return True
    ...
    ...     def apply(self, image, changed, *, rng):
    ...         return np.where(changed, image.backscatter + 3.01, image.backscatter)
    """

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    def fits(self, image: LandImage) -> bool:
        """Whether the image has what the change requires, as open land."""
        ...

    def apply(self, image: LandImage, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Return a copy of the backscatter, dims (band, y, x), dB, changed where ``changed``."""
        ...


@dataclass(frozen=True)
class SimulatedImage:
    """An image with a simulated change.

    Attributes
    ----------
    backscatter
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    """

    backscatter: Float
    changed: Bool


@dataclass(frozen=True)
class SimulatedWindow:
    """A window with a simulated change in its target, and the changed pixels, dims (y, x)."""

    window: Window
    changed: Bool


@dataclass(frozen=True)
class Offset:
    """The same number of decibels added to every changed pixel of a band.

    Attributes
    ----------
    decibels
        One value per band, dB, or equal values, which apply to any number of bands; the paper's
        is -2.5 in both.
    """

    decibels: tuple[float, ...] = (-2.5, -2.5)

    @property
    def name(self) -> str:
        """``"offset -2.5 dB"``, or one value per band where they differ."""
        values = [f"{value:+g}" for value in self.decibels]
        return f"offset {values[0] if len(set(values)) == 1 else '/'.join(values)} dB"

    def fits(self, image: LandImage) -> bool:
        """Whether the image has as many bands as there are values, or the values are equal."""
        return len(set(self.decibels)) == 1 or image.backscatter.shape[0] == len(self.decibels)

    def apply(self, image: LandImage, changed: Bool, *, rng: np.random.Generator) -> Float:  # noqa: ARG002
        """Return the image with the offset where ``changed``; ``rng`` is not used."""
        values = self.decibels
        if len(set(values)) == 1:
            values = values[:1] * image.backscatter.shape[0]
        return add_offset(image.backscatter, changed, values)


@dataclass(frozen=True)
class Statistical:
    """Forest given the distribution of the nearest open land: first-order statistical change.

    Attributes
    ----------
    open_land
        Dims (band, pixel), dB: a sample for images with too little open land of their own.
    """

    open_land: Float | None = None
    name: str = "statistical"

    def fits(self, image: LandImage) -> bool:
        """Whether both distributions can be estimated."""
        smaller = min(sample.shape[1] for sample in self._samples(image))
        return bool(smaller >= MIN_SAMPLE_PIXELS)

    def apply(self, image: LandImage, changed: Bool, *, rng: np.random.Generator) -> Float:  # noqa: ARG002
        """Return the image with its changed pixels mapped; ``rng`` is not used."""
        return map_to_open_land(image.backscatter, changed, *self._samples(image, changed))

    def _samples(self, image: LandImage, changed: Bool | None = None) -> tuple[Float, Float]:
        """Pixels of forest and of open land, dims (band, pixel), dB."""
        forest = image.backscatter[:, image.changeable]
        open_land = _nearest_open_land(image, changed)
        if open_land.shape[1] < MIN_SAMPLE_PIXELS and self.open_land is not None:
            open_land = self.open_land
        return forest, open_land


@dataclass(frozen=True)
class Gaussian:
    """Zero-mean Gaussian noise added to every changed pixel: same mean, greater variance.

    Attributes
    ----------
    std_db
        Standard deviation of the noise in each band, dB, above 0.
    """

    std_db: float = 2.5

    @property
    def name(self) -> str:
        """``"gaussian 2.5 dB"``."""
        return f"gaussian {self.std_db:g} dB"

    def fits(self, image: LandImage) -> bool:  # noqa: ARG002
        """Return True: it requires nothing."""
        return True

    def apply(self, image: LandImage, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Return the image with noise where ``changed``."""
        return add_noise(image.backscatter, changed, self.std_db, rng=rng)


@dataclass(frozen=True)
class Deterministic:
    """Pixels of another part of the same image copied over the changed ones."""

    name: str = "deterministic"

    def fits(self, image: LandImage) -> bool:  # noqa: ARG002
        """Return True: it requires nothing."""
        return True

    def apply(self, image: LandImage, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Return the image with its changed regions copied from outside the forest."""
        return copy_regions(image.backscatter, changed, image.donors, rng=rng)


def simulate(
    image: LandImage,
    change: Change,
    shapes: ShapeOptions | None = None,
    *,
    rng: np.random.Generator,
) -> SimulatedImage:
    """Simulate a change in random shapes inside the forest of an image.

    Parameters
    ----------
    image
        The image; a change is simulated anywhere where no forest mask is known.
    change
        What happens inside the shapes.
    shapes
        How the shapes are drawn.
    rng
        Generator of the shapes and of the change.

    Returns
    -------
    SimulatedImage
        A copy, and the mask of its changed pixels; pixels without data are never changed.
    """
    changed = change_mask(image.changeable, shapes or ShapeOptions(), rng=rng)
    return SimulatedImage(change.apply(image, changed, rng=rng), changed)


def simulate_in_window(
    window: Window,
    change: Change,
    shapes: ShapeOptions | None = None,
    *,
    rng: np.random.Generator,
) -> SimulatedWindow:
    """Simulate a change in the target of a window, as ``simulate`` does in an image.

    The previous images and the oracle keep their values.
    """
    after = simulate(LandImage.from_window(window), change, shapes, rng=rng)
    return SimulatedWindow(window.with_target(after.backscatter), after.changed)


def _nearest_open_land(image: LandImage, changed: Bool | None) -> Float:
    """Pixels of open land, dims (band, pixel), dB; if there are many, the nearest to the change."""
    pixels: Float = image.backscatter[:, image.valid_open_land]
    if changed is None or not changed.any() or pixels.shape[1] <= MAX_OPEN_LAND_PIXELS:
        return pixels
    distance = ndimage.distance_transform_edt(~changed)[image.valid_open_land]
    return pixels[:, np.argpartition(distance, MAX_OPEN_LAND_PIXELS)[:MAX_OPEN_LAND_PIXELS]]
