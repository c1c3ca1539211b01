"""Simulated change: a change put into a real image, with a mask that tells where.

Random shapes inside the forest, or inside the whole valid area where no forest is known, and
changes that are applied to the pixels inside them.
"""

from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.errors import SarcastError
from sarcast.windows import Bool, Float, Window


class ShapeOptions(BaseModel):
    """How random shapes are drawn; the defaults are the paper's for windows of 512 pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vertices: int = Field(16, ge=3, le=1000, description="vertices of a shape")
    irregularity: float = Field(
        0.35, ge=0, le=1, description="spread of the angles between vertices, share of the mean one"
    )
    spikiness: float = Field(
        0.2, ge=0, le=1, description="standard deviation of the radii, share of the mean radius"
    )
    size: float = Field(
        100 / 512,
        gt=0,
        le=1,
        description="side of the square that a shape is drawn in, share of the window's smaller "
        "side; the mean radius is a quarter of it",
    )
    least: int = Field(0, ge=0, le=100, description="fewest shapes in an image")
    most: int = Field(3, ge=0, le=100, description="most shapes in an image")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) must not exceed most ({self.most})")
        return self


@dataclass(frozen=True)
class Simulated:
    """A window whose target was changed, and where: ``changed`` has dims (y, x)."""

    window: Window
    changed: Bool


class Change(Protocol):
    """A change that can be put into the target of a window; ``name`` stands in tables."""

    name: str

    def apply(self, window: Window, changed: Bool) -> Float:
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
        values = [f"{value:+g}" for value in dict.fromkeys(self.decibels)]
        return f"offset {'/'.join(values)} dB"

    def apply(self, window: Window, changed: Bool) -> Float:
        """Target with the offset where ``changed``."""
        return offset(window.target, changed, self.decibels)


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
    return Simulated(replace(window, target=change.apply(window, changed)), changed)


def where_change_may_be(window: Window) -> Bool:
    """Forest that the target saw, or all that it saw where no forest is known; dims (y, x)."""
    seen: Bool = np.asarray(np.isfinite(window.target).all(axis=0))
    return seen if window.forest is None else seen & window.forest


def change_mask(within: Bool, shapes: ShapeOptions, *, rng: np.random.Generator) -> Bool:
    """Draw random shapes, each centred on a pixel of ``within`` and cut to it.

    Parameters
    ----------
    within
        Dims (y, x): where change may be.
    shapes
        How many, and their form.
    rng
        Source of chance.

    Returns
    -------
    Bool
        Dims (y, x); all False where ``within`` is, or where no shape is drawn.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section III-D.
    """
    changed = np.zeros_like(within, dtype=bool)
    places = np.argwhere(within)
    count = int(rng.integers(shapes.least, shapes.most, endpoint=True))
    for _ in range(count if len(places) else 0):
        centre = places[rng.integers(len(places))] + 0.5
        polygon = random_polygon(shapes.size * min(within.shape) / 4.0, shapes, rng=rng)
        changed |= _filled(polygon + centre, within.shape)
    return changed & within


def random_polygon(
    radius_px: float, shapes: ShapeOptions, *, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw a polygon around the origin: angles near even steps, radii near the mean one.

    Parameters
    ----------
    radius_px
        Mean radius, pixels.
    shapes
        Vertices, irregularity and spikiness.
    rng
        Source of chance.

    Returns
    -------
    ndarray
        Dims (vertex, 2): y and x, pixels; each radius in 0..2 mean radii.
    """
    spread = shapes.irregularity
    steps = rng.uniform(1.0 - spread, 1.0 + spread, shapes.vertices)
    angles = rng.uniform(0.0, 2.0 * np.pi) + 2.0 * np.pi * np.cumsum(steps) / steps.sum()
    radii = rng.normal(radius_px, shapes.spikiness * radius_px, shapes.vertices)
    radii = np.clip(radii, 0.0, 2.0 * radius_px)
    corners: npt.NDArray[np.float64] = radii * np.stack([np.sin(angles), np.cos(angles)])
    return corners.T


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
    check_fit(image, changed)
    if len(decibels) != image.shape[0]:
        raise SarcastError(
            f"an offset has one value a band: {image.shape[0]} are needed, {len(decibels)} came"
        )
    steps = np.asarray(decibels, dtype=np.float32)[:, np.newaxis, np.newaxis]
    return np.where(changed, image + steps, image)


def check_fit(image: Float, mask: Bool) -> None:
    """Raise unless ``mask`` (y, x) lies on the grid of ``image`` (band, y, x)."""
    if image.shape[1:] != mask.shape:
        raise SarcastError(
            f"the mask must have the image's shape {image.shape[1:]}, but has {mask.shape}"
        )


def _filled(polygon: npt.NDArray[np.float64], shape: tuple[int, ...]) -> Bool:
    """Pixels whose centre lies inside, or that the outline touches."""
    from rasterio.features import rasterize

    ring = [(float(x), float(y)) for y, x in [*polygon, polygon[0]]]
    geometry = {"type": "Polygon", "coordinates": [ring]}
    filled: Bool = rasterize([geometry], out_shape=shape, all_touched=True, dtype="uint8") > 0
    return filled
