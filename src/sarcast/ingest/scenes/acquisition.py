"""An acquisition: all slices of one pass over an area, and their common metadata."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pystac

from sarcast.catalogue.protocol import time_range
from sarcast.catalogue.scene import BANDS, QUANTITY
from sarcast.ingest.scenes.fuse import Layer
from sarcast.sensor import orbits

_log = logging.getLogger(__name__)


PASS_GAP = dt.timedelta(minutes=10)
"""Longest time between the starts of successive slices of a pass; an orbit takes 98.7 minutes."""
TRUTH = tuple(f"{band.lower()}-expected" for band in BANDS)
"""Asset keys of the true expected image, one a band, which only a synthetic world provides."""

_SAME_TIME = dt.timedelta(seconds=1)
_SAME_FOOTPRINT = 0.9
"""Intersection over union above which two footprints are those of the same slice."""
_PROCESSING_TIMES = ("processing:datetime", "updated", "created")


@dataclass(frozen=True)
class Acquisition:
    """All slices of one pass over an area, oldest first.

    For example, an area on the border of the slices of 05:11:22 and 05:11:47 has one acquisition
    with two items, whose time is 05:11:22.
    """

    items: tuple[pystac.Item, ...]

    @property
    def scene_id(self) -> str:
        """Ids of the slices, joined by ``+``."""
        return "+".join(item.id for item in self.items)

    @property
    def time(self) -> np.datetime64:
        """Start of the first slice, UTC, to the second."""
        return np.datetime64(_start(self.items[0]).replace(tzinfo=None), "s")

    @property
    def platform(self) -> str:
        """As ``"sentinel-1a"``; empty if unknown."""
        return str(self.items[0].properties.get("platform", ""))

    @property
    def orbit_direction(self) -> str:
        """``"ascending"`` or ``"descending"``; empty if unknown."""
        return str(self.items[0].properties.get("sat:orbit_state", ""))

    @property
    def relative_orbit(self) -> int:
        """1..175; 0 if unknown."""
        return int(self.items[0].properties.get("sat:relative_orbit", 0))

    @property
    def quantity(self) -> str:
        """``"sigma0"`` or ``"gamma0"``."""
        return str(self._asset(BANDS[0]).extra_fields.get(QUANTITY, ""))

    @property
    def heading_deg(self) -> float:
        """Heading of the ground track, degrees clockwise from north, -180..180.

        From the look azimuth of the items, or else that of the orbit at this latitude. NaN if
        both azimuth and orbit direction are unknown, or the area lies nearer to a pole than the
        ground track.
        """
        azimuths = [
            item.properties["view:azimuth"]
            for item in self.items
            if "view:azimuth" in item.properties
        ]
        if azimuths:
            return orbits.wrap_heading(float(np.mean(azimuths)) - orbits.LOOK_OFFSET_DEG)
        if not self.orbit_direction:
            return float("nan")
        bbox = self.items[0].bbox
        assert bbox is not None
        latitude = (bbox[1] + bbox[-1]) / 2.0
        if abs(latitude) >= orbits.HIGHEST_LATITUDE_DEG:
            return float("nan")
        return orbits.heading_deg(latitude, self.orbit_direction)

    @property
    def has_truth(self) -> bool:
        """Whether every slice includes its true expected image, as those of synthetic worlds do."""
        return all(set(TRUTH) <= set(item.assets) for item in self.items)

    @property
    def incidence_deg(self) -> float:
        """Incidence angle at the centre, degrees, mean of the slices; NaN if unknown."""
        angles = [item.properties.get("view:incidence_angle", np.nan) for item in self.items]
        return float(np.mean(angles))

    def layers(self, name: str) -> tuple[Layer, ...]:
        """Rasters of a band (``VV``) or an asset key (``incidence``), oldest slice first.

        Slices without it are left out.
        """
        layers = (_find_layer(item, name) for item in self.items)
        return tuple(layer for layer in layers if layer is not None)

    def _asset(self, band: str) -> pystac.Asset:
        for asset in self.items[0].assets.values():
            if band in _band_names(asset):
                return asset
        return next(iter(self.items[0].assets.values()))


def acquisitions(items: Sequence[pystac.Item]) -> list[Acquisition]:
    """Group items into acquisitions, oldest first: same platform and orbit, close in time.

    Of a slice that was processed more than once only the newest version is used; this is logged.
    """
    groups: dict[tuple[Any, ...], list[pystac.Item]] = {}
    for item in newest_versions(items):
        properties = item.properties
        key = (
            properties.get("platform"),
            properties.get("sat:orbit_state"),
            properties.get("sat:relative_orbit"),
        )
        groups.setdefault(key, []).append(item)
    passes = [acquisition for group in groups.values() for acquisition in _split_passes(group)]
    return sorted(passes, key=lambda acquisition: (acquisition.time, acquisition.scene_id))


def _split_passes(items: list[pystac.Item]) -> Iterator[Acquisition]:
    ordered = sorted(items, key=_by_time)
    slices = ordered[:1]
    for before, item in pairwise(ordered):
        if _start(item) - _start(before) > PASS_GAP:
            yield Acquisition(tuple(slices))
            slices = []
        slices.append(item)
    yield Acquisition(tuple(slices))


def newest_versions(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """Keep only the newest version of each slice, and log how many were dropped.

    Versions of a slice share platform, bands, start to a second, and footprint. The newest is the
    one processed last. Items without a processing time are compared by id, which gives the same
    order for products that carry time or version in their names.
    """
    kept: list[pystac.Item] = []
    replaced: list[tuple[pystac.Item, pystac.Item]] = []
    for item in sorted(items, key=_by_time):
        index = _find_version(kept, item)
        if index is None:
            kept.append(item)
            continue
        older, kept[index] = sorted((kept[index], item), key=_version)
        replaced.append((older, kept[index]))
    if replaced:
        older, newer = replaced[0]
        _log.info(
            f"{len(replaced)} slices have more than one version; the newest is used: {newer.id} "
            f"instead of {older.id}"
        )
    return kept


def _find_version(kept: list[pystac.Item], item: pystac.Item) -> int | None:
    """Index of another version of an item among those kept so far, which are ordered by time."""
    for index in range(len(kept) - 1, -1, -1):
        if _start(item) - _start(kept[index]) > _SAME_TIME:
            return None
        if _same_slice(kept[index], item):
            return index
    return None


def _same_slice(first: pystac.Item, second: pystac.Item) -> bool:
    same_platform = first.properties.get("platform") == second.properties.get("platform")
    return (
        same_platform
        and _all_bands(first) == _all_bands(second)
        and _intersection_over_union(first, second) > _SAME_FOOTPRINT
    )


def _band_names(asset: pystac.Asset) -> list[str | None]:
    return [band.get("name") for band in asset.extra_fields.get("bands", [])]


def _all_bands(item: pystac.Item) -> set[str | None]:
    return {name for asset in item.assets.values() for name in _band_names(asset)}


def _intersection_over_union(first: pystac.Item, second: pystac.Item) -> float:
    """Area shared by the bounding boxes of two items over the area that they cover together."""
    if first.bbox is None or second.bbox is None:
        return 0.0
    corners = np.array([[*box[:2], *box[-2:]] for box in (first.bbox, second.bbox)])
    sides = np.minimum(*corners[:, 2:]) - np.maximum(*corners[:, :2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    return shared / float(np.prod(corners[:, 2:] - corners[:, :2], axis=1).sum() - shared)


def _version(item: pystac.Item) -> tuple[str, str]:
    times = [str(item.properties[key]) for key in _PROCESSING_TIMES if item.properties.get(key)]
    return (times[0] if times else "", item.id)


def _by_time(item: pystac.Item) -> tuple[dt.datetime, str]:
    return _start(item), item.id


def _start(item: pystac.Item) -> dt.datetime:
    return time_range(item)[0]


def _find_layer(item: pystac.Item, name: str) -> Layer | None:
    """Layer of a band or an asset key in an item; None if the item has none."""
    for key, asset in item.assets.items():
        names = _band_names(asset)
        if key == name or (name in names and "truth" not in (asset.roles or [])):
            index = names.index(name) if name in names else 0
            unit = asset.extra_fields.get("bands", [{}])[index].get("unit", "")
            return Layer(asset.href, index + 1, unit, item.id, asset.extra_fields.get("nodata"))
    return None
