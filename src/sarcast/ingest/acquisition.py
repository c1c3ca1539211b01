"""An acquisition: all slices of one pass over an area, fused and read onto a GeoBox."""

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import dask.array as da
import numpy as np
import numpy.typing as npt
import odc.stac
import pystac
import xarray as xr
from odc.geo.geobox import GeoBox
from odc.stac import ConversionConfig

from sarcast import orbits, units
from sarcast.catalogue.scene import BANDS, QUANTITY
from sarcast.errors import SarcastError

PASS_GAP = dt.timedelta(minutes=10)
"""Slices of one pass follow each other within this time; an orbit takes 98.7 minutes."""

_CONFIG: ConversionConfig = {"*": {"assets": {"*": {"nodata": "nan"}}}}
_THINNED = 8


@dataclass(frozen=True)
class Acquisition:
    """All slices of one pass over an area, oldest first."""

    items: tuple[pystac.Item, ...]

    @property
    def scene_id(self) -> str:
        """Ids of the slices, joined by ``+``."""
        return "+".join(item.id for item in self.items)

    @property
    def time(self) -> np.datetime64:
        """Start of the first slice, UTC, to the second."""
        first = self.items[0].datetime
        assert first is not None
        return np.datetime64(first.astimezone(dt.UTC).replace(tzinfo=None), "s")

    @property
    def platform(self) -> str:
        """As ``"sentinel-1a"``; empty where the source does not tell."""
        return str(self.items[0].properties.get("platform", ""))

    @property
    def orbit_direction(self) -> str:
        """``"ascending"`` or ``"descending"``; empty where the source does not tell."""
        return str(self.items[0].properties.get("sat:orbit_state", ""))

    @property
    def relative_orbit(self) -> int:
        """1..175; 0 where the source does not tell."""
        return int(self.items[0].properties.get("sat:relative_orbit", 0))

    @property
    def quantity(self) -> str:
        """``"sigma0"`` or ``"gamma0"``."""
        return str(self._asset(BANDS[0]).extra_fields.get(QUANTITY, ""))

    @property
    def unit(self) -> str:
        """Unit of the rasters: one of ``units.UNITS``."""
        told = {_unit(item) for item in self.items}
        if len(told) > 1 or not told <= set(units.UNITS):
            raise SarcastError(
                f"{self.scene_id}: its rasters must all be in {' or in '.join(units.UNITS)}, "
                f"but are declared in {', '.join(map(str, told))}"
            )
        return str(told.pop())

    @property
    def heading_deg(self) -> float:
        """Heading of the ground track: told by the source, or that of the orbit at this latitude.

        NaN where the source tells neither the heading nor the pass.
        """
        azimuths = [
            i.properties["view:azimuth"] for i in self.items if "view:azimuth" in i.properties
        ]
        if azimuths:
            told = float(np.mean(azimuths)) - orbits.LOOK_OFFSET_DEG
            return (told + 180.0) % 360.0 - 180.0
        if not self.orbit_direction:
            return float("nan")
        bbox = self.items[0].bbox
        assert bbox is not None
        return orbits.heading_deg((bbox[1] + bbox[-1]) / 2.0, self.orbit_direction)

    def _asset(self, band: str) -> pystac.Asset:
        for asset in self.items[0].assets.values():
            if any(held.get("name") == band for held in asset.extra_fields.get("bands", [])):
                return asset
        return next(iter(self.items[0].assets.values()))

    def backscatter(self, grid: GeoBox, block: int, resampling: str) -> xr.DataArray:
        """Read the backscatter lazily, in ``block`` × ``block`` pixels.

        Returns
        -------
        DataArray
            Dims (band, y, x), dB, float32, Dask; NaN where nothing was seen.
        """
        measured = self._load(BANDS, grid, block, resampling).assign_attrs(units=self.unit)
        checked = measured.copy(data=measured.data.map_blocks(self._checked, dtype=np.float32))
        return checked if self.unit == units.DB else units.to_db(checked)

    def truth(self, grid: GeoBox, block: int, resampling: str) -> xr.DataArray | None:
        """Read the expected image lazily, as ``backscatter``; None where there is no truth."""
        keys = tuple(f"{band.lower()}-expected" for band in BANDS)
        if not set(keys) <= set(self.items[0].assets):
            return None
        power = self._load(keys, grid, block, resampling)
        return units.to_db(power.assign_attrs(units=units.LINEAR_POWER))

    def incidence(self, grid: GeoBox) -> npt.NDArray[np.float32]:
        """Incidence angle on the conditions grid, dims (cy, cx), degrees; NaN where not told."""
        if all("incidence" in item.assets for item in self.items):
            angles: npt.NDArray[np.float32] = self._load(
                ("incidence",), grid, max(grid.shape), "bilinear"
            ).values[0]
            return angles
        told = [item.properties.get("view:incidence_angle", np.nan) for item in self.items]
        return np.full(grid.shape, np.mean(told), dtype=np.float32)

    def _load(
        self, names: Sequence[str], grid: GeoBox, block: int, resampling: str
    ) -> xr.DataArray:
        """Bands that the slices have, dims (band, y, x); those they lack are NaN."""
        wanted = [_canonical(self.items[0], name) for name in names]
        present = [name for name in wanted if name is not None]
        loaded = odc.stac.load(
            self.items,
            present,
            geobox=grid,
            groupby=_one_group,
            chunks={"x": block, "y": block},
            resampling=resampling,
            dtype="float32",
            nodata=np.nan,
            stac_cfg=_CONFIG,
        )
        layers = [_unseen_like(loaded) if n is None else loaded[n].isel(time=0) for n in wanted]
        stacked = xr.concat(
            [layer.drop_vars("time", errors="ignore") for layer in layers],
            dim="band",
            coords="minimal",
            compat="override",
        )
        return stacked.assign_coords(band=list(names)).chunk({"band": -1}).astype(np.float32)

    def _checked(self, block: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Refuse a block whose values are those of another unit than declared."""
        seen = units.looks_like(block[:, ::_THINNED, ::_THINNED])
        if block.size and seen is not None and seen != self.unit:
            raise SarcastError(
                f"{self.scene_id} is declared in {self.unit}, but its values are those of {seen}; "
                f"index it again with --unit '{seen}'"
            )
        return block


def acquisitions(items: Sequence[pystac.Item]) -> list[Acquisition]:
    """Group items into acquisitions: same platform, pass and orbit, close in time; oldest first."""
    groups: dict[tuple[Any, ...], list[pystac.Item]] = {}
    for item in items:
        told = item.properties
        key = (told.get("platform"), told.get("sat:orbit_state"), told.get("sat:relative_orbit"))
        groups.setdefault(key, []).append(item)
    found = [one for group in groups.values() for one in _split(group)]
    return sorted(found, key=lambda one: (one.time, one.scene_id))


def _split(items: list[pystac.Item]) -> Iterator[Acquisition]:
    ordered = sorted(items, key=lambda item: (item.datetime, item.id))
    run = ordered[:1]
    for before, item in pairwise(ordered):
        assert before.datetime is not None
        assert item.datetime is not None
        if item.datetime - before.datetime > PASS_GAP:
            yield Acquisition(tuple(run))
            run = []
        run.append(item)
    yield Acquisition(tuple(run))


def _unit(item: pystac.Item) -> str | None:
    for asset in item.assets.values():
        for band in asset.extra_fields.get("bands", []):
            if band.get("name") in BANDS:
                return band.get("unit")  # type: ignore[no-any-return]
    return None


def _canonical(item: pystac.Item, name: str) -> str | None:
    """Name under which a band is loaded: an asset key, or ``asset.number`` in a stack."""
    if name in item.assets:
        return name
    for key, asset in item.assets.items():
        held = [band.get("name") for band in asset.extra_fields.get("bands", [])]
        if name in held and "truth" not in (asset.roles or []):
            return key if len(held) == 1 else f"{key}.{held.index(name) + 1}"
    return None


def _one_group(_item: pystac.Item, _parsed: object, _index: int) -> int:
    return 0


def _unseen_like(loaded: xr.Dataset) -> xr.DataArray:
    """A band that the slices lack: all NaN, on the grid of those that they have."""
    first = next(iter(loaded.data_vars.values())).isel(time=0)
    return first.copy(data=da.full_like(first.data, np.nan))
