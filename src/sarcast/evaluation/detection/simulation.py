"""Persistent simulated changes, put into a cube itself from an acquisition on.

Detection smooths, pools and compares acquisitions, and an expected image may depend on the actual
one: so a change is put into the backscatter of the cube before all of it, and stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Self

import numpy as np
import numpy.typing as npt
import xarray as xr
from odc.geo.geobox import GeoBox
from pydantic import BaseModel, ConfigDict, Field, model_validator
from scipy import ndimage

from sarcast.arrays import Bool, Float, Times
from sarcast.detection.regions import pixel_ha
from sarcast.errors import SarcastError
from sarcast.evaluation.simulation.changes import Change, Gaussian, Offset, Statistical
from sarcast.evaluation.simulation.image import LandImage
from sarcast.evaluation.simulation.shapes import ShapeOptions, filled, random_polygon
from sarcast.io.images import grid_of_images
from sarcast.io.outlines import outlines_of

if TYPE_CHECKING:
    import geopandas

IMAGES = ("time", "band", "y", "x")
TRIES = 40
"""Places that are tried for each shape before fewer are put in."""
Steps = npt.NDArray[np.intp]
_CONNECTIVITY = np.ones((3, 3), dtype=int)


class PersistentOptions(BaseModel):
    """Where and when persistent changes are simulated."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    radius_px: tuple[float, float] = Field(
        (2.0, 30.0), description="Least and greatest mean radius of a change, pixels."
    )
    change_ha: float = Field(0.5, gt=0.0, description="Smallest simulated change, hectares.")
    share: float = Field(
        0.1, gt=0.0, le=0.5, description="Share of the area that changes, at most."
    )
    apart_px: int = Field(10, ge=1, le=100, description="Pixels between two changes, at least.")
    most: int = Field(24, ge=1, le=1000, description="Changes in the area, at most.")
    onset: Literal["first", "random"] = Field(
        "first",
        description="First acquisition that shows a change: the first watched one, or any.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        least, greatest = self.radius_px
        if not 1.0 <= least <= greatest:
            raise ValueError(f"radius_px must ascend from 1 on, but {least:g} to {greatest:g} came")
        return self


@dataclass(frozen=True)
class ChangedCube:
    """A cube with persistent simulated changes.

    Attributes
    ----------
    cube
        The cube until the last watched acquisition; only ``backscatter`` of the watched
        acquisitions differs from that of the original.
    truth
        The changes, as ``evaluation.detection.truth`` describes them; ``magnitude_db`` is the root
        mean square of what was added in a band, the greatest of all bands.
    """

    cube: xr.Dataset
    truth: "geopandas.GeoDataFrame"


def default_changes(bands: Sequence[str]) -> list[Change]:
    """Changes that are simulated: offsets in all bands, in the cross-polarised one, and others.

    Parameters
    ----------
    bands
        Names of the bands, as VV and VH.
    """
    kinds: list[Change] = [Offset((-2.5,) * len(bands)), Offset((-1.0,) * len(bands))]
    cross = tuple(0.0 if band[0] == band[1] else -1.5 for band in bands)
    if len(bands) > 1 and any(cross):
        kinds.append(Offset(cross))
    return [*kinds, Statistical(), Gaussian(2.5)]


def with_persistent_changes(
    cube: xr.Dataset,
    watched: Times,
    changes: Sequence[Change],
    options: PersistentOptions | None = None,
    *,
    within: Bool | None = None,
    rng: np.random.Generator,
) -> ChangedCube:
    """Put persistent changes into the watched acquisitions of a cube.

    Parameters
    ----------
    cube
        The cube; it keeps its values, the result has others.
    watched
        Times of the watched acquisitions, the last ones before the watch ends; ascending.
    changes
        Kinds of change, which the shapes take in turn. A random one is the same at each
        acquisition, as of ground that stays changed.
    options
        Where and when.
    within
        Dims (y, x): pixels that may change, as land; default: all.
    rng
        Generator of shapes, dates and changes.

    Returns
    -------
    ChangedCube
        Changes that find no place are left out.

    Raises
    ------
    SarcastError
        If no change fits into the area, or a time is not in the cube.
    """
    options = options or PersistentOptions()
    times = cube["time"].values
    steps = np.searchsorted(times, watched)
    if not np.array_equal(times[np.minimum(steps, len(times) - 1)], watched):
        raise SarcastError("the watched acquisitions are not all in the cube")
    until = cube.isel(time=slice(0, int(steps[-1]) + 1))
    images: Float = until["backscatter"].transpose(*IMAGES)[steps].values
    land: Bool = np.asarray(np.isfinite(images).any(axis=(0, 1)))
    kinds = _fitting(until, images[0], changes)
    drawn = [
        _Drawn(shape, kinds[number % len(kinds)], _onset(len(watched), options, rng=rng))
        for number, shape in enumerate(
            _draw(
                land if within is None else land & within, grid_of_images(until), options, rng=rng
            )
        )
    ]
    after = images.copy()
    for each in drawn:
        _apply(each, until, images, after, seed=int(rng.integers(2**62)))
    return ChangedCube(
        _with_images(until, steps, after), _truth(drawn, images, after, until, steps)
    )


@dataclass(frozen=True)
class _Drawn:
    """A change that was drawn: its pixels, its kind, and the watched step that first shows it."""

    shape: Bool
    change: Change
    onset: int


def _onset(steps: int, options: PersistentOptions, *, rng: np.random.Generator) -> int:
    return 0 if options.onset == "first" else int(rng.integers(steps))


def _apply(drawn: _Drawn, cube: xr.Dataset, before: Float, after: Float, *, seed: int) -> None:
    """Put a change into all images from its onset on; the same random numbers at each."""
    for step in range(drawn.onset, len(before)):
        image = _land_image(cube, before[step])
        shape = drawn.shape & image.valid
        changed = drawn.change.apply(image, shape, rng=np.random.default_rng(seed))
        after[step] = np.where(shape, changed, after[step])


def _with_images(cube: xr.Dataset, steps: Steps, images: Float) -> xr.Dataset:
    backscatter = cube["backscatter"].transpose(*IMAGES).copy()
    values = np.array(backscatter.values, dtype=np.float32)
    values[steps] = images
    return cube.assign(backscatter=backscatter.copy(data=values))


def _land_image(cube: xr.Dataset, image: Float) -> LandImage:
    masks = (
        cube[name].transpose("y", "x").values.astype(bool) if name in cube else None
        for name in ("forest", "open_land")
    )
    return LandImage(image, *masks)


def _fitting(cube: xr.Dataset, image: Float, changes: Sequence[Change]) -> list[Change]:
    """The changes whose needs, such as a mask of open land, the cube meets."""
    kinds = [change for change in changes if change.fits(_land_image(cube, image))]
    if not kinds:
        raise SarcastError(
            f"none of the changes {', '.join(change.name for change in changes)} can be simulated "
            f"in this cube, which lacks what they need"
        )
    return kinds


def _draw(
    land: Bool, grid: GeoBox, options: PersistentOptions, *, rng: np.random.Generator
) -> list[Bool]:
    """Draw shapes on land that are large enough and lie apart, dims (y, x) each."""
    fewest = max(1, int(np.ceil(options.change_ha / pixel_ha(grid))))
    free, left = land.copy(), int(options.share * land.sum())
    drawn: list[Bool] = []
    for shape in _shapes(free, options, rng=rng):
        size = int(shape.sum())
        if not fewest <= size <= left or (shape & ~free).any():
            continue
        drawn.append(shape)
        free &= ~ndimage.binary_dilation(shape, _CONNECTIVITY, iterations=options.apart_px)
        left -= size
        if len(drawn) == options.most or left < fewest:
            break
    if not drawn:
        raise SarcastError(
            f"no change of {options.change_ha:g} ha fits into {int(land.sum())} pixels of land; "
            f"choose a larger area, smaller changes, or a greater share"
        )
    return drawn


def _shapes(free: Bool, options: PersistentOptions, *, rng: np.random.Generator) -> Iterator[Bool]:
    """Shapes around free pixels, clipped to their connected part of the land.

    The radii are drawn so that their logarithm is uniform.
    """
    land = free.copy()
    least, greatest = np.log(options.radius_px)
    for _ in range(TRIES * options.most):
        candidates = np.argwhere(free)
        if len(candidates) == 0:
            return
        radius = float(np.exp(rng.uniform(least, greatest)))
        centre = candidates[rng.integers(len(candidates))]
        polygon = random_polygon(radius, ShapeOptions(), rng=rng)
        labels, _ = ndimage.label(filled(polygon + centre + 0.5, free.shape) & land, _CONNECTIVITY)
        label = labels[tuple(centre)]
        if label:
            yield labels == label


def _truth(
    drawn: Sequence[_Drawn], before: Float, after: Float, cube: xr.Dataset, steps: Steps
) -> "geopandas.GeoDataFrame":
    import geopandas as gpd

    grid, times = grid_of_images(cube), cube["time"].values.astype("datetime64[s]")
    onsets = np.array([steps[each.onset] for each in drawn])
    added = after - before
    return gpd.GeoDataFrame(
        {
            "kind": [each.change.name for each in drawn],
            "earliest": times[np.maximum(onsets - 1, 0)],
            "latest": times[onsets],
            "area_ha": [float(each.shape.sum()) * pixel_ha(grid) for each in drawn],
            "magnitude_db": [
                float(_root_mean_square(added[each.onset :, :, each.shape]).max()) for each in drawn
            ],
        },
        geometry=[outlines_of(each.shape, 1, grid)[0] for each in drawn],
        crs=grid.crs.to_wkt(),
    )


def _root_mean_square(values: Float) -> Float:
    """Root mean square of each band, dims (band), of values of dims (time, band, pixel)."""
    known = np.isfinite(values)
    total = np.where(known, np.square(values), np.float32(0.0)).sum(axis=(0, 2))
    root: Float = np.sqrt(total / np.maximum(known.sum(axis=(0, 2)), 1))
    return root
