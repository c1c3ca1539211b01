"""Simulated change: a change put into a real image, with a mask that tells where.

Each kind of change works on plain arrays as a function, and on the target of a window as an object
with a name. Random shapes come from ``shapes``.
"""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from scipy import ndimage

from sarcast.arrays import Bool, Float
from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.distributions import LEAST_SAMPLE, map_distribution
from sarcast.evaluation.simulation.shapes import ShapeOptions, change_mask
from sarcast.windows import Window

LARGEST_SAMPLE = 20_000
"""Most pixels of open land that are taken, the nearest to the change first."""

PLACES_TRIED = 64
"""Random places that are tried for the pixels of a deterministic change."""


@dataclass(frozen=True)
class Simulated:
    """A window whose target was changed, and where: ``changed`` has dims (y, x)."""

    window: Window
    changed: Bool


class Change(Protocol):
    """A change that can be put into the target of a window; ``name`` stands in tables."""

    @property
    def name(self) -> str:
        """Name in tables."""
        ...

    def fits(self, window: Window) -> bool:
        """Tell whether the window has what the change takes."""
        ...

    def apply(self, window: Window, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Target with the change where ``changed``, dims (band, y, x), dB; a copy."""
        ...


@dataclass(frozen=True)
class Offset:
    """The same number of decibels added to every changed pixel of a band.

    Attributes
    ----------
    decibels
        One value a band, dB; the paper's is −2.5 in both.
    """

    decibels: tuple[float, ...] = (-2.5, -2.5)

    @property
    def name(self) -> str:
        """``"offset -2.5 dB"``, or one value a band where they differ."""
        values = [f"{value:+g}" for value in self.decibels]
        return f"offset {values[0] if len(set(values)) == 1 else '/'.join(values)} dB"

    def fits(self, window: Window) -> bool:
        """Tell whether the window has as many bands."""
        return bool(window.target.shape[0] == len(self.decibels))

    def apply(self, window: Window, changed: Bool, *, rng: np.random.Generator) -> Float:  # noqa: ARG002
        """Target with the offset where ``changed``; nothing here is left to chance."""
        return offset(window.target, changed, self.decibels)


@dataclass(frozen=True)
class Statistical:
    """Forest made to look like the nearest open land: first-order statistical change.

    Attributes
    ----------
    open_land
        Dims (band, pixel), dB: a sample from elsewhere for windows without open land of their own.
    """

    open_land: Float | None = None
    name: str = "statistical"

    def fits(self, window: Window) -> bool:
        """Tell whether both distributions can be estimated."""
        forest, open_land = self._samples(window)
        return bool(min(forest.shape[1], open_land.shape[1]) >= LEAST_SAMPLE)

    def apply(self, window: Window, changed: Bool, *, rng: np.random.Generator) -> Float:  # noqa: ARG002
        """Target with its changed pixels mapped; nothing here is left to chance."""
        forest, open_land = self._samples(window, changed)
        return statistical(window.target, changed, forest, open_land)

    def _samples(self, window: Window, changed: Bool | None = None) -> tuple[Float, Float]:
        forest = window.target[:, where_change_may_be(window)]
        own = _nearest_open_land(window, changed)
        if own.shape[1] < LEAST_SAMPLE and self.open_land is not None:
            return forest, self.open_land
        return forest, own


@dataclass(frozen=True)
class Gaussian:
    """Zero-mean Gaussian noise added to every changed pixel: the mean stays, the spread grows.

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

    def fits(self, window: Window) -> bool:  # noqa: ARG002
        """Tell that any window will do."""
        return True

    def apply(self, window: Window, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Target with noise where ``changed``."""
        return gaussian(window.target, changed, self.std_db, rng=rng)


@dataclass(frozen=True)
class Deterministic:
    """Pixels of another place of the same image copied over the changed ones."""

    name: str = "deterministic"

    def fits(self, window: Window) -> bool:  # noqa: ARG002
        """Tell that any window will do."""
        return True

    def apply(self, window: Window, changed: Bool, *, rng: np.random.Generator) -> Float:
        """Target with its changed shapes copied from where no forest is, as far as known."""
        seen = valid_in_target(window)
        wanted = seen if window.forest is None else seen & ~window.forest
        return copied(window.target, changed, wanted, rng=rng)


def simulate(
    window: Window,
    change: Change,
    shapes: ShapeOptions | None = None,
    *,
    rng: np.random.Generator,
) -> Simulated:
    """Put a change into random shapes inside the forest of a window's target.

    Parameters
    ----------
    window
        Its target is changed; the oracle and the previous images stay as they are.
    change
        What happens inside the shapes.
    shapes
        How they are drawn.
    rng
        Source of chance; the same state gives the same shapes.

    Returns
    -------
    Simulated
        A new window and the mask; no pixel is changed where the target saw nothing.
    """
    changed = change_mask(where_change_may_be(window), shapes or ShapeOptions(), rng=rng)
    return Simulated(replace(window, target=change.apply(window, changed, rng=rng)), changed)


def where_change_may_be(window: Window) -> Bool:
    """Forest that the target saw, or all that it saw where no forest is known; dims (y, x)."""
    seen = valid_in_target(window)
    return seen if window.forest is None else seen & window.forest


def valid_in_target(window: Window) -> Bool:
    """Pixels that every band of the target saw, dims (y, x)."""
    return np.asarray(np.isfinite(window.target).all(axis=0))


def offset(image: Float, changed: Bool, decibels: tuple[float, ...]) -> Float:
    """Add a number of decibels to the changed pixels of each band.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    decibels
        One value a band.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    Raises
    ------
    SarcastError
        If there is not one value a band, or image and mask do not fit.
    """
    _check_fit(image, changed)
    if len(decibels) != image.shape[0]:
        raise SarcastError(
            f"an offset has one value a band: {image.shape[0]} are needed, {len(decibels)} came"
        )
    steps = np.asarray(decibels, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return np.where(changed, image + steps, image)


def gaussian(image: Float, changed: Bool, std_db: float, *, rng: np.random.Generator) -> Float:
    """Add Gaussian noise of mean 0 to the changed pixels of each band.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    std_db
        Standard deviation, dB.
    rng
        Source of chance.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    References
    ----------
    Inglada, Mercier 2007, doi 10.1109/TGRS.2007.893568.
    """
    _check_fit(image, changed)
    noise = rng.normal(0.0, std_db, image.shape).astype(np.float32)
    return np.where(changed, image + noise, image)


def copied(image: Float, changed: Bool, wanted: Bool, *, rng: np.random.Generator) -> Float:
    """Copy another place of the image over each changed shape, texture and all.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x); each connected shape is moved as one.
    wanted
        Dims (y, x): pixels to copy from; of the places tried that is taken which has most of them.
    rng
        Source of chance.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    References
    ----------
    Inglada, Mercier 2007, doi 10.1109/TGRS.2007.893568.
    """
    _check_fit(image, changed)
    result = image.copy()
    shapes, _ = ndimage.label(changed)
    donors = wanted & ~changed & np.isfinite(image).all(axis=0)
    for number, box in enumerate(ndimage.find_objects(shapes), start=1):
        rows, columns = np.nonzero(shapes == number)
        room = [
            (-part.start, size - part.stop)
            for part, size in zip(box, changed.shape, strict=True)
        ]  # fmt: skip
        down, right = (rng.integers(low, high + 1, PLACES_TRIED) for low, high in room)
        gained = donors[rows + down[:, None], columns + right[:, None]].sum(axis=1)
        best = int(np.argmax(gained))
        moved = image[:, rows + down[best], columns + right[best]]
        result[:, rows, columns] = np.where(np.isfinite(moved), moved, result[:, rows, columns])
    return result


def statistical(image: Float, changed: Bool, forest: Float, open_land: Float) -> Float:
    """Map the changed pixels from the distribution of the forest to that of open land.

    Parameters
    ----------
    image
        Dims (band, y, x), dB.
    changed
        Dims (y, x).
    forest, open_land
        Dims (band, pixel), dB: samples of both; NaN does not count.

    Returns
    -------
    Float
        A copy, dims (band, y, x), dB.

    Raises
    ------
    SarcastError
        If a sample is too small, or image and mask do not fit.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section III-D.
    """
    _check_fit(image, changed)
    result = image.copy()
    if changed.any():
        for band, values in enumerate(image):
            result[band][changed] = map_distribution(values[changed], forest[band], open_land[band])
    return result


def _nearest_open_land(window: Window, changed: Bool | None) -> Float:
    """Pixels of open land, dims (band, pixel), the nearest to the change where there are many."""
    none: Float = window.target[:, :0, 0]
    if window.open_land is None:
        return none
    land = window.open_land & np.isfinite(window.target).all(axis=0)
    found: Float = window.target[:, land]
    if changed is None or not changed.any() or found.shape[1] <= LARGEST_SAMPLE:
        return found
    distance = ndimage.distance_transform_edt(~changed)[land]
    return found[:, np.argpartition(distance, LARGEST_SAMPLE)[:LARGEST_SAMPLE]]


def _check_fit(image: Float, mask: Bool) -> None:
    """Raise unless ``mask`` (y, x) lies on the grid of ``image`` (band, y, x)."""
    if image.shape[1:] != mask.shape:
        raise SarcastError(
            f"the mask must have the image's shape {image.shape[1:]}, but has {mask.shape}"
        )
