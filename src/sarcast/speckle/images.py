"""Filters against speckle over xarray images, whole or on Dask, in dB or linear power."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.sensor import units
from sarcast.speckle.looks import as_power, equivalent_looks

ATTRIBUTE = "speckle_filter"
"""Attribute of a filtered image: what it was filtered with."""
VARIATION_STEPS = 100
"""Iterations of total variation: within 1 % of the least that it can reach."""
TILE = 512
"""Pixels a side that are filtered at once on Dask, which bounds the memory of a block."""

_USES = {
    "none": set(),
    "lee": {"looks", "speckle_size"},
    "refined-lee": {"looks"},
    "tv": {"speckle_weight"},
    "quegan": {"speckle_size", "speckle_dates"},
}
_REFINED_SIZE = 7


class SpeckleOptions(BaseModel):
    """How speckle is filtered."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speckle: Literal["none", "lee", "refined-lee", "tv", "quegan"] = Field(
        "none",
        description="Filter against speckle: none, lee, refined-lee, tv (total variation in dB) or "
        "quegan (multi-temporal).",
    )
    looks: float | None = Field(
        None,
        gt=0.0,
        description="Equivalent number of looks of the scenes; default: estimated from one of them "
        "(lee) or around each pixel (refined-lee).",
    )
    speckle_size: int | None = Field(
        None, ge=3, le=63, description="Pixels a side of the window of lee and quegan, odd; or 7."
    )
    speckle_weight: float | None = Field(
        None,
        gt=0.0,
        description="Weight of the total variation of tv, dB; default: 2.5, half of the "
        "regularisation parameter that OPERA DIST-S1 uses.",
    )
    speckle_dates: int | None = Field(
        None, ge=2, le=50, description="Dates that quegan joins: each and those before it; or 5."
    )

    @model_validator(mode="after")
    def _used(self) -> "SpeckleOptions":
        own = self.model_fields_set & set(SpeckleOptions.model_fields)
        given = {name for name in own if getattr(self, name) is not None}
        idle = sorted(given - {"speckle"} - _USES[self.speckle])
        if idle:
            raise ValueError(f"{', '.join(idle)} has no meaning for the filter {self.speckle}")
        if self.speckle_size is not None and self.speckle_size % 2 == 0:
            raise ValueError(f"speckle_size must be odd, not {self.speckle_size}")
        return self

    @property
    def size(self) -> int:
        """Pixels a side of the window."""
        return self.speckle_size or _REFINED_SIZE

    @property
    def weight_db(self) -> float:
        """Weight of the total variation, dB."""
        return self.speckle_weight or 2.5

    @property
    def dates(self) -> int:
        """Dates that one date is filtered with, itself included."""
        return (self.speckle_dates or 5) if self.speckle == "quegan" else 1

    @property
    def reach(self) -> int:
        """Pixels that a pixel reaches to each side."""
        if self.speckle == "none":
            return 0
        if self.speckle == "tv":
            return VARIATION_STEPS + 1
        return (_REFINED_SIZE if self.speckle == "refined-lee" else self.size) // 2

    @property
    def label(self) -> str:
        """What the image is filtered with, in a few words."""
        told = {
            "none": "none",
            "lee": f"lee, {self.size} x {self.size}, {_looks(self.looks)}",
            "refined-lee": f"refined-lee, {_looks(self.looks)}",
            "tv": f"tv, weight {self.weight_db:g} dB",
            "quegan": f"quegan, {self.size} x {self.size}, {self.dates} dates",
        }
        return told[self.speckle]


def _looks(looks: float | None) -> str:
    return "local looks" if looks is None else f"{looks:.3g} looks"


def settle(options: SpeckleOptions, backscatter: xr.DataArray) -> SpeckleOptions:
    """Fill in what has to be estimated from an image, so that others are filtered alike."""
    if options.speckle != "lee" or options.looks is not None:
        return options
    return options.model_copy(update={"looks": equivalent_looks(backscatter)})


def despeckle(backscatter: xr.DataArray, options: SpeckleOptions) -> xr.DataArray:
    """Filter speckle.

    Parameters
    ----------
    backscatter
        Dims (..., y, x), with ``time`` for quegan, where every date is filtered with all; dB or
        linear power as its attrs tell, NaN where nothing was seen; on Dask or not.
    options
        The filter. Looks that lee lacks are estimated from the image, which computes it.

    Returns
    -------
    DataArray
        Same dims, unit, and chunks; NaN where nothing was seen. The chunks do not tell on the
        values. The filter stands in the attribute ``speckle_filter``.

    Raises
    ------
    SarcastError
        If the unit is not told, the image is filtered already or smaller than the filter's
        window, or quegan is given no dates.
    """
    if options.speckle == "none":
        return backscatter
    _check(backscatter, options)
    options = settle(options, backscatter)
    power = as_power(backscatter).astype(np.float32)
    first = ("time",) if options.speckle == "quegan" else ()
    power = power.transpose(*first, ..., "y", "x")
    chunked = power.chunks is not None
    data = _mapped(power.data, options) if chunked else _filter_block(power.values, options=options)
    filtered = power.copy(data=data).transpose(*backscatter.dims)
    if backscatter.attrs["units"] == units.DB:
        filtered = units.to_db(filtered)
    return filtered.assign_attrs({ATTRIBUTE: options.label})


def despeckle_block(decibels: Float, options: SpeckleOptions) -> Float:
    """Filter a block of a larger image.

    Parameters
    ----------
    decibels
        Dims (date, y, x), dB, NaN where nothing was seen: the date that is wanted, the last, and
        those before it that quegan joins; with ``options.reach`` pixels more to each side.
    options
        The filter, with the looks that lee needs.

    Returns
    -------
    ndarray
        Dims (y, x), dB, of the last date and without the margin.
    """
    margin = options.reach
    rows, columns = (size - 2 * margin for size in decibels.shape[-2:])
    filtered = np.full((rows, columns), np.nan, dtype=np.float32)
    for row in range(0, rows, TILE):
        for column in range(0, columns, TILE):
            part = decibels[:, row : row + TILE + 2 * margin, column : column + TILE + 2 * margin]
            if np.isfinite(part[-1]).any():
                power = _filter_block(units.to_power(part), options=options)[-1]
                inner = power[margin:-margin, margin:-margin]
                filtered[row : row + TILE, column : column + TILE] = units.to_db(inner)
    return filtered


def _check(backscatter: xr.DataArray, options: SpeckleOptions) -> None:
    name = backscatter.name or "the image"
    held = backscatter.attrs.get(ATTRIBUTE)
    if held is not None:
        raise SarcastError(f"{name} is filtered already ({held}); filter the scenes as they were")
    least = 1 if options.speckle == "tv" else options.reach
    short = [dim for dim in ("y", "x") if backscatter.sizes.get(dim, 0) <= least]
    if short:
        raise SarcastError(
            f"{name} must have more than {least} pixels along y and x for {options.label}, but "
            f"has {dict(backscatter.sizes)}; take a larger area or a smaller window"
        )
    if options.speckle == "quegan" and "time" not in backscatter.dims:
        raise SarcastError(
            f"{name} must have the dim time for the multi-temporal filter, but has "
            f"{', '.join(map(str, backscatter.dims))}"
        )


def _mapped(power: Any, options: SpeckleOptions) -> Any:
    """Filter a Dask array in tiles that overlap, with the chunks that it had."""
    axes = (power.ndim - 2, power.ndim - 1)
    lead = -1 if options.speckle == "quegan" else 1
    tile = max(TILE, 8 * options.reach)
    tiles = power.rechunk({axis: tile if axis in axes else lead for axis in range(power.ndim)})
    filtered = tiles.map_overlap(
        _filter_block,
        depth={axis: options.reach if axis in axes else 0 for axis in range(power.ndim)},
        boundary="none",
        dtype=np.float32,
        meta=np.empty((0,) * power.ndim, np.float32),
        options=options,
    )
    return filtered.rechunk(power.chunks)


def _filter_block(power: Float, *, options: SpeckleOptions) -> Float:
    import torch

    from sarcast.speckle import filters

    image = torch.from_numpy(np.ascontiguousarray(power, dtype=np.float32))
    seen = image.isfinite()
    with torch.inference_mode():
        if options.speckle == "lee":
            assert options.looks is not None
            result = filters.lee(image, options.looks, size=options.size, seen=seen)
        elif options.speckle == "refined-lee":
            result = filters.refined_lee(image, options.looks, seen=seen)
        elif options.speckle == "tv":
            result = filters.total_variation(
                image, options.weight_db, iterations=VARIATION_STEPS, seen=seen
            )
        else:
            result = filters.quegan(image, size=options.size, seen=seen)
    values: Float = result.masked_fill(~seen, torch.nan).numpy()
    return values
