"""An acquisition: all slices of one pass over an area, and what they tell of it."""

import datetime as dt
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pystac

from sarcast.catalogue.protocol import span
from sarcast.catalogue.scene import BANDS, QUANTITY
from sarcast.ingest.scenes.fuse import Layer
from sarcast.sensor import orbits

_log = logging.getLogger(__name__)


PASS_GAP = dt.timedelta(minutes=10)
"""Slices of one pass follow each other within this time; an orbit takes 98.7 minutes."""
TRUTH = tuple(f"{band.lower()}-expected" for band in BANDS)
"""Asset keys of the expected image, one a band, which only a synthetic world knows."""

_SAME_TIME = dt.timedelta(seconds=1)
_SAME_PLACE = 0.9
_PROCESSED = ("processing:datetime", "updated", "created")


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
        return np.datetime64(_moment(self.items[0]).replace(tzinfo=None), "s")

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
    def heading_deg(self) -> float:
        """Heading of the ground track: told by the source, or that of the orbit at this latitude.

        NaN where the source tells neither the heading nor the pass, and where only the look to the
        side reaches, nearer to the pole than the orbit.
        """
        azimuths = [
            i.properties["view:azimuth"] for i in self.items if "view:azimuth" in i.properties
        ]
        if azimuths:
            told = float(np.mean(azimuths)) - orbits.LOOK_OFFSET_DEG
            return orbits.wrap_heading(told)
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
        """Whether every slice brings its expected image, as those of a synthetic world do."""
        return all(set(TRUTH) <= set(item.assets) for item in self.items)

    @property
    def incidence_deg(self) -> float:
        """Incidence angle at the centre, the mean of the slices'; NaN where not told."""
        told = [item.properties.get("view:incidence_angle", np.nan) for item in self.items]
        return float(np.mean(told))

    def layers(self, name: str) -> tuple[Layer, ...]:
        """Rasters of a band (``VV``), or under an asset key (``incidence``), oldest slice first.

        Slices that lack it are left out.
        """
        held = (_layer(item, name) for item in self.items)
        return tuple(layer for layer in held if layer is not None)

    def _asset(self, band: str) -> pystac.Asset:
        for asset in self.items[0].assets.values():
            if any(held.get("name") == band for held in asset.extra_fields.get("bands", [])):
                return asset
        return next(iter(self.items[0].assets.values()))


def acquisitions(items: Sequence[pystac.Item]) -> list[Acquisition]:
    """Group items into acquisitions: same platform, pass and orbit, close in time; oldest first.

    Of a slice that was processed more than once the newest version is taken, and that is said.
    """
    groups: dict[tuple[Any, ...], list[pystac.Item]] = {}
    for item in newest(items):
        told = item.properties
        key = (told.get("platform"), told.get("sat:orbit_state"), told.get("sat:relative_orbit"))
        groups.setdefault(key, []).append(item)
    found = [one for group in groups.values() for one in _split(group)]
    return sorted(found, key=lambda one: (one.time, one.scene_id))


def _split(items: list[pystac.Item]) -> Iterator[Acquisition]:
    ordered = sorted(items, key=_order)
    run = ordered[:1]
    for before, item in pairwise(ordered):
        if _moment(item) - _moment(before) > PASS_GAP:
            yield Acquisition(tuple(run))
            run = []
        run.append(item)
    yield Acquisition(tuple(run))


def newest(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """Leave out slices of which a newer version is there, and say so.

    Versions of a slice have the platform, the bands, the start to a second, and the place in
    common. The one processed last is the newest; where no item tells when, the last in the order
    of ids, which for products that carry the time or the version in their names is the same.
    """
    kept: list[pystac.Item] = []
    replaced: list[tuple[pystac.Item, pystac.Item]] = []
    for item in sorted(items, key=_order):
        twin = next((place for place, one in _late(kept, item) if _versions(one, item)), None)
        if twin is None:
            kept.append(item)
            continue
        older, kept[twin] = sorted((kept[twin], item), key=_version)
        replaced.append((older, kept[twin]))
    if replaced:
        older, newer = replaced[0]
        _log.info(
            f"{len(replaced)} slices are there in more than one version; the newest is taken, "
            f"as {newer.id} in place of {older.id}"
        )
    return kept


def _late(kept: list[pystac.Item], item: pystac.Item) -> Iterator[tuple[int, pystac.Item]]:
    """Those of the kept items, which lie in the order of time, that start with this one."""
    for place in range(len(kept) - 1, -1, -1):
        if _moment(item) - _moment(kept[place]) > _SAME_TIME:
            return
        yield place, kept[place]


def _versions(one: pystac.Item, other: pystac.Item) -> bool:
    same = one.properties.get("platform") == other.properties.get("platform")
    return same and _bands(one) == _bands(other) and _shared(one, other) > _SAME_PLACE


def _bands(item: pystac.Item) -> set[str]:
    held = [asset.extra_fields.get("bands", []) for asset in item.assets.values()]
    return {band.get("name", "") for bands in held for band in bands}


def _shared(one: pystac.Item, other: pystac.Item) -> float:
    """Area that two items' boxes share, over that which they cover together."""
    if one.bbox is None or other.bbox is None:
        return 0.0
    corners = np.array([[*box[:2], *box[-2:]] for box in (one.bbox, other.bbox)])
    sides = np.minimum(*corners[:, 2:]) - np.maximum(*corners[:, :2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    return shared / float(np.prod(corners[:, 2:] - corners[:, :2], axis=1).sum() - shared)


def _version(item: pystac.Item) -> tuple[str, str]:
    told = [str(item.properties[key]) for key in _PROCESSED if item.properties.get(key)]
    return (told[0] if told else "", item.id)


def _order(item: pystac.Item) -> tuple[dt.datetime, str]:
    return _moment(item), item.id


def _moment(item: pystac.Item) -> dt.datetime:
    return span(item)[0]


def _layer(item: pystac.Item, name: str) -> Layer | None:
    """Where an item holds a band or an asset key; None if it does not."""
    for key, asset in item.assets.items():
        held = [band.get("name") for band in asset.extra_fields.get("bands", [])]
        if key == name or (name in held and "truth" not in (asset.roles or [])):
            number = held.index(name) if name in held else 0
            unit = asset.extra_fields.get("bands", [{}])[number].get("unit", "")
            return Layer(asset.href, number + 1, unit, item.id, asset.extra_fields.get("nodata"))
    return None
