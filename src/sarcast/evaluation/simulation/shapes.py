"""Random shapes: where change is simulated."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Bool, Double


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
        changed |= filled(polygon + centre, within.shape)
    return changed & within


def random_polygon(radius_px: float, shapes: ShapeOptions, *, rng: np.random.Generator) -> Double:
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
    corners: Double = radii * np.stack([np.sin(angles), np.cos(angles)])
    return corners.T


def filled(polygon: Double, shape: tuple[int, ...]) -> Bool:
    """Pixels that lie inside a polygon or that its outline touches.

    Parameters
    ----------
    polygon
        Dims (vertex, 2): y and x, pixels, 0 at the upper left corner of the first pixel.
    shape
        Rows and columns of the mask.
    """
    import shapely

    inside = np.zeros(shape, dtype=bool)
    first = np.clip(np.floor(polygon.min(axis=0)).astype(int) - 1, 0, shape)
    last = np.clip(np.ceil(polygon.max(axis=0)).astype(int) + 1, first, shape)
    here = (slice(first[0], last[0]), slice(first[1], last[1]))
    rows, columns = np.mgrid[here]
    outline = shapely.Polygon(polygon)
    shapely.prepare(outline)
    pixels = shapely.box(rows, columns, rows + 1, columns + 1)
    inside[here] = shapely.intersects(outline, pixels)
    return inside
