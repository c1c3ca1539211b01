"""The images of a detection, made block by block."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from sarcast.arrays import Box, Labels, Times
from sarcast.detection.area import PIECE_PX, Area
from sarcast.detection.events import Series
from sarcast.detection.evidence import looks_of, mean_over_looks
from sarcast.detection.observation import Sighting
from sarcast.detection.regions import Regions
from sarcast.detection.strata import cover_masks
from sarcast.io.scratch import Array, Readable, Scratch
from sarcast.sensor.units import DB

BY_BAND = ("expected", "actual", "difference", "std", "z")
"""Images with a layer for each band, float32."""
BY_PIXEL: Mapping[str, str] = {
    "evidence": "float32",
    "p_value": "float32",
    "looks": "uint8",
    "changed": "bool",
    "event": "int32",
    "change_date": "datetime64[s]",
}
"""Images of one layer, and their types."""


@dataclass(frozen=True)
class SeriesLayers:
    """What events and images are made from, read by parts.

    Attributes
    ----------
    sighting
        The watch.
    evidence
        Dims (y, x), -log10 of the p-value; NaN where not judged.
    strata
        Dims (y, x), -1 outside.
    cube
        The cube.
    before
        Time of the latest baseline image.
    """

    sighting: Sighting
    evidence: Array
    strata: Readable
    cube: xr.Dataset
    before: np.datetime64

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands."""
        return self.sighting.images.bands

    @property
    def times(self) -> Times:
        """Acquisition times of the targets, oldest first."""
        return self.sighting.images.times

    def read(self, box: Box) -> Series:
        """Read a part."""
        return Series(
            self.sighting.images.read(box),
            self.sighting.residuals.read(box, self.strata[box]),
            self.evidence[box],
            cover_masks(self.cube.isel(y=box[0], x=box[1])),
            self.before,
        )


def images_of(source: SeriesLayers, regions: Regions, onsets: Labels, area: Area) -> xr.Dataset:
    """Make the images of a ``Detection``.

    Parameters
    ----------
    source
        What was found, and in what.
    regions, onsets
        The events, and the index of the target that is the first to show each.
    area
        The area; receives the images.
    """
    layers = {
        **source.sighting.means,
        "z": area.scratch.images((len(source.bands), *area.shape), np.float32),
        **{name: area.scratch.images(area.shape, kind) for name, kind in BY_PIXEL.items()},
    }
    task = _Draw(source, regions, onsets, layers)
    for _ in area.each(
        task, [(block.core,) for block in area.blocks(most=PIECE_PX)], "writing images"
    ):
        pass
    return _as_dataset(layers, source, area.scratch)


@dataclass(frozen=True)
class _Draw:
    """Makes the images of a part."""

    source: SeriesLayers
    regions: Regions
    onsets: Labels
    layers: Mapping[str, Array]

    def __call__(self, core: Box) -> None:
        source = self.source
        residuals = source.sighting.residuals.read(core, source.strata[core])
        evidence = source.evidence[core]
        numbers = self.regions.numbered(core)
        onsets = source.times[self.onsets]
        dates = np.concatenate([[np.datetime64("NaT")], onsets]).astype("datetime64[s]")
        made = {
            "z": mean_over_looks(residuals.z, residuals.seen),
            "evidence": evidence,
            "p_value": np.power(np.float32(10.0), -evidence),
            "looks": looks_of(residuals.seen),
            "changed": numbers > 0,
            "event": numbers,
            "change_date": dates[numbers],
        }
        for name, values in made.items():
            self.layers[name][(..., *core)] = values


def _as_dataset(layers: Mapping[str, Array], source: SeriesLayers, scratch: Scratch) -> xr.Dataset:
    """Layers on the grid of the cube, with the last watched acquisition as their time."""
    like = source.sighting.images.predicted.like.isel(time=-1).sel(band=list(source.bands))
    dims = "band", "y", "x"
    by_band = {name: scratch.variable(dims, layers[name], np.float32) for name in BY_BAND}
    for name in set(BY_BAND) - {"z"}:
        by_band[name].attrs["units"] = DB
    by_pixel = {
        name: scratch.variable(dims[1:], layers[name], kind) for name, kind in BY_PIXEL.items()
    }
    return xr.Dataset({**by_band, **by_pixel}, like.coords)
