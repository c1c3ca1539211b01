"""Random shapes: the pixels in which change is simulated."""

from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Bool, Double


class ShapeOptions(BaseModel):
    """How random shapes are drawn; the defaults are the paper's for windows of 512 pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    vertices: int = Field(16, ge=3, le=1000, description="Vertices of a shape.")
    irregularity: float = Field(
        0.35,
        ge=0,
        le=1,
        description="Spread of the angles between vertices, relative to the mean.",
    )
    spikiness: float = Field(
        0.2, ge=0, le=1, description="Standard deviation of the radii, relative to the mean."
    )
    size: float = Field(
        100 / 512,
        gt=0,
        le=1,
        description="Side of the square in which a shape is drawn, as a share of the smaller side "
        "of the window; the mean radius is a quarter of it.",
    )
    least: int = Field(0, ge=0, le=100, description="Fewest shapes in an image.")
    most: int = Field(3, ge=0, le=100, description="Most shapes in an image.")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError(f"least ({self.least}) must not exceed most ({self.most})")
        return self


def change_mask(within: Bool, shapes: ShapeOptions, *, rng: np.random.Generator) -> Bool:
    """Draw random shapes, each centred on a pixel of ``within`` and clipped to it.

    Parameters
    ----------
    within
        Dims (y, x): pixels that may change.
    shapes
        How many shapes, and their form.
    rng
        Generator of the shapes.

    Returns
    -------
    Bool
        Dims (y, x); all False where ``within`` is, or where no shape is drawn.

    References
    ----------
    Alatalo, Sipola, Rantonen 2023, section III-D.
    """
    changed = np.zeros_like(within, dtype=bool)
    candidates = np.argwhere(within)
    count = int(rng.integers(shapes.least, shapes.most, endpoint=True))
    for _ in range(count if len(candidates) else 0):
        centre = candidates[rng.integers(len(candidates))] + 0.5
        polygon = random_polygon(shapes.size * min(within.shape) / 4.0, shapes, rng=rng)
        changed |= filled(polygon + centre, within.shape)
    return changed & within


def random_polygon(radius_px: float, shapes: ShapeOptions, *, rng: np.random.Generator) -> Double:
    """Draw a polygon around the origin, its angles and radii scattered about even ones.

    Parameters
    ----------
    radius_px
        Mean radius, pixels.
    shapes
        Vertices, irregularity and spikiness.
    rng
        Generator of the shapes.

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
    """Pixels that lie inside a polygon or are touched by its outline.

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
    box = (slice(first[0], last[0]), slice(first[1], last[1]))
    rows, columns = np.mgrid[box]
    outline = shapely.Polygon(polygon)
    shapely.prepare(outline)
    pixels = shapely.box(rows, columns, rows + 1, columns + 1)
    inside[box] = shapely.intersects(outline, pixels)
    return inside
