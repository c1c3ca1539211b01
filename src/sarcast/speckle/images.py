"""Speckle filtering of xarray images, in memory or on Dask, in dB or linear power."""

from typing import Any, Literal

import numpy as np
import xarray as xr
from pydantic import BaseModel, ConfigDict, Field, model_validator

from sarcast.arrays import Float
from sarcast.errors import SarcastError
from sarcast.sensor import units
from sarcast.speckle.looks import as_power, equivalent_looks

ATTRIBUTE = "speckle_filter"
"""Attribute of a filtered image that names the filter."""
VARIATION_STEPS = 100
"""Iterations of total variation: within 1 % of the minimum that it can reach."""
TILE = 512
"""Side of the tiles in which Dask arrays and blocks are filtered, pixels; it bounds the memory."""

_OPTIONS_OF_FILTER = {
    "none": set(),
    "lee": {"looks", "speckle_size"},
    "refined-lee": {"looks"},
    "tv": {"speckle_weight"},
    "quegan": {"speckle_size", "speckle_dates"},
}
_WINDOW = 7
"""Side of the window of refined-lee, and default of the other filters, pixels."""
_DEFAULT_WEIGHT_DB = 2.5
_DEFAULT_DATES = 5


class SpeckleOptions(BaseModel):
    """Choice and parameters of the speckle filter."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    speckle: Literal["none", "lee", "refined-lee", "tv", "quegan"] = Field(
        "none",
        description="Speckle filter: none, lee, refined-lee, tv (total variation in dB) or quegan "
        "(multi-temporal).",
    )
    looks: float | None = Field(
        None,
        gt=0.0,
        description="Equivalent number of looks of the scenes; default: estimated from one scene "
        "(lee) or around each pixel (refined-lee).",
    )
    speckle_size: int | None = Field(
        None,
        ge=3,
        le=63,
        description="Side of the window of lee and quegan, pixels, odd; default: 7.",
    )
    speckle_weight: float | None = Field(
        None,
        gt=0.0,
        description="Weight of the total variation (tv), dB; default: 2.5, half of the "
        "regularisation parameter of OPERA DIST-S1.",
    )
    speckle_dates: int | None = Field(
        None,
        ge=2,
        le=50,
        description="Number of dates that quegan combines: each date and those before it; "
        "default: 5.",
    )

    @model_validator(mode="after")
    def _check_relevant(self) -> "SpeckleOptions":
        fields = self.model_fields_set & set(SpeckleOptions.model_fields)
        specified = {name for name in fields if getattr(self, name) is not None}
        unused = sorted(specified - {"speckle"} - _OPTIONS_OF_FILTER[self.speckle])
        if unused:
            raise ValueError(f"{', '.join(unused)} has no meaning for the filter {self.speckle}")
        if self.speckle_size is not None and self.speckle_size % 2 == 0:
            raise ValueError(f"speckle_size must be odd, not {self.speckle_size}")
        return self

    @property
    def size(self) -> int:
        """Side of the window, pixels."""
        return self.speckle_size or _WINDOW

    @property
    def weight_db(self) -> float:
        """Weight of the total variation, dB."""
        return self.speckle_weight or _DEFAULT_WEIGHT_DB

    @property
    def dates(self) -> int:
        """Number of dates that the filter combines for one date, itself included."""
        return (self.speckle_dates or _DEFAULT_DATES) if self.speckle == "quegan" else 1

    @property
    def reach(self) -> int:
        """Distance over which pixels influence each other, pixels."""
        if self.speckle == "none":
            return 0
        if self.speckle == "tv":
            return VARIATION_STEPS + 1
        return (_WINDOW if self.speckle == "refined-lee" else self.size) // 2

    @property
    def label(self) -> str:
        """Filter and parameters in a few words."""
        labels = {
            "none": "none",
            "lee": f"lee, {self.size} x {self.size}, {_looks_label(self.looks)}",
            "refined-lee": f"refined-lee, {_looks_label(self.looks)}",
            "tv": f"tv, weight {self.weight_db:g} dB",
            "quegan": f"quegan, {self.size} x {self.size}, {self.dates} dates",
        }
        return labels[self.speckle]


def _looks_label(looks: float | None) -> str:
    return "local looks" if looks is None else f"{looks:.3g} looks"


def estimate_missing_looks(options: SpeckleOptions, backscatter: xr.DataArray) -> SpeckleOptions:
    """Estimate the looks from an image if ``lee`` needs them; other images can then reuse them."""
    if options.speckle != "lee" or options.looks is not None:
        return options
    return options.model_copy(update={"looks": equivalent_looks(backscatter)})


def despeckle(backscatter: xr.DataArray, options: SpeckleOptions) -> xr.DataArray:
    """Filter speckle.

    Parameters
    ----------
    backscatter
        Dims (..., y, x), dB or linear power as ``attrs["units"]`` states, NaN where missing; in
        memory or on Dask. ``quegan`` also needs ``time`` and filters every date with all dates.
    options
        The filter. If ``lee`` lacks the looks, they are estimated, which computes a Dask image.

    Returns
    -------
    DataArray
        Same dims, unit and chunks; NaN where missing. The values do not depend on the chunks.
        The attribute ``speckle_filter`` names the filter.

    Raises
    ------
    SarcastError
        If the unit is missing, the image is already filtered or smaller than the window, or has
        no ``time`` for ``quegan``.
    """
    if options.speckle == "none":
        return backscatter
    _check(backscatter, options)
    options = estimate_missing_looks(options, backscatter)
    power = as_power(backscatter).astype(np.float32)
    leading = ("time",) if options.speckle == "quegan" else ()
    power = power.transpose(*leading, ..., "y", "x")
    chunked = power.chunks is not None
    data = (
        _filter_dask(power.data, options)
        if chunked
        else _filter_array(power.values, options=options)
    )
    filtered = power.copy(data=data).transpose(*backscatter.dims)
    if backscatter.attrs["units"] == units.DB:
        filtered = units.to_db(filtered)
    return filtered.assign_attrs({ATTRIBUTE: options.label})


def despeckle_block(decibels: Float, options: SpeckleOptions) -> Float:
    """Filter a block of a larger image.

    Parameters
    ----------
    decibels
        Dims (date, y, x), dB, NaN where missing, with a margin of ``options.reach`` pixels on
        each side. The last date is the one to filter; ``quegan`` also uses those before it.
    options
        The filter; ``looks`` must be set for ``lee``.

    Returns
    -------
    ndarray
        Dims (y, x), dB: the last date without the margin.
    """
    margin = options.reach
    rows, columns = (size - 2 * margin for size in decibels.shape[-2:])
    filtered = np.full((rows, columns), np.nan, dtype=np.float32)
    for row in range(0, rows, TILE):
        for column in range(0, columns, TILE):
            part = decibels[:, row : row + TILE + 2 * margin, column : column + TILE + 2 * margin]
            if np.isfinite(part[-1]).any():
                power = _filter_array(units.to_power(part), options=options)[-1]
                inner = power[margin:-margin, margin:-margin]
                filtered[row : row + TILE, column : column + TILE] = units.to_db(inner)
    return filtered


def _check(backscatter: xr.DataArray, options: SpeckleOptions) -> None:
    name = backscatter.name or "the image"
    label = backscatter.attrs.get(ATTRIBUTE)
    if label is not None:
        raise SarcastError(f"{name} is already filtered ({label}); use the unfiltered image")
    minimum = 1 if options.speckle == "tv" else options.reach
    too_short = [dim for dim in ("y", "x") if backscatter.sizes.get(dim, 0) <= minimum]
    if too_short:
        raise SarcastError(
            f"{name} must have more than {minimum} pixels along y and x for {options.label}, but "
            f"has {dict(backscatter.sizes)}; use a larger area or a smaller window"
        )
    if options.speckle == "quegan" and "time" not in backscatter.dims:
        raise SarcastError(
            f"{name} must have the dim time for the multi-temporal filter, but has "
            f"{', '.join(map(str, backscatter.dims))}"
        )


def _filter_dask(power: Any, options: SpeckleOptions) -> Any:
    """Filter a Dask array in overlapping tiles; the chunks stay as they are."""
    axes = (power.ndim - 2, power.ndim - 1)
    leading = -1 if options.speckle == "quegan" else 1
    tile = max(TILE, 8 * options.reach)
    tiles = power.rechunk({axis: tile if axis in axes else leading for axis in range(power.ndim)})
    filtered = tiles.map_overlap(
        _filter_array,
        depth={axis: options.reach if axis in axes else 0 for axis in range(power.ndim)},
        boundary="none",
        dtype=np.float32,
        meta=np.empty((0,) * power.ndim, np.float32),
        options=options,
    )
    return filtered.rechunk(power.chunks)


def _filter_array(power: Float, *, options: SpeckleOptions) -> Float:
    import torch

    from sarcast.speckle import filters

    image = torch.from_numpy(np.ascontiguousarray(power, dtype=np.float32))
    valid = image.isfinite()
    with torch.inference_mode():
        if options.speckle == "lee":
            assert options.looks is not None
            result = filters.lee(image, options.looks, size=options.size, valid=valid)
        elif options.speckle == "refined-lee":
            result = filters.refined_lee(image, options.looks, valid=valid)
        elif options.speckle == "tv":
            result = filters.total_variation(
                image, options.weight_db, iterations=VARIATION_STEPS, valid=valid
            )
        else:
            result = filters.quegan(image, size=options.size, valid=valid)
    values: Float = result.masked_fill(~valid, torch.nan).numpy()
    return values
