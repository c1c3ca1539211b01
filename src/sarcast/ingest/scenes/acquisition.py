"""An acquisition: all slices of one pass over an area, and their common metadata."""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pystac

from sarcast.catalogue.location import time_range, utc
from sarcast.catalogue.scene import BANDS, QUANTITY
from sarcast.ingest.scenes.fuse import Layer
from sarcast.sensor import orbits
from sarcast.sensor.orbits import PASS_GAP

_log = logging.getLogger(__name__)


TRUTH = tuple(f"{band.lower()}-expected" for band in BANDS)
"""Asset keys of the true expected image, one a band, which only a synthetic world provides."""

_SAME_TIME = dt.timedelta(seconds=1)
_SAME_FOOTPRINT = 0.9
"""Intersection over union above which two footprints are those of the same slice."""
_OPEN_PASSES = 8
"""Number of latest passes that a slice may continue; passes of one platform do not overlap."""
_LONGEST = dt.timedelta(hours=2)
"""Longer than any acquisition."""
PROCESSING_TIMES = ("processing:datetime", "s1:processing_datetime", "updated", "created")
"""Properties with the time of processing, in order of precedence."""


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
        """Start of the first slice, UTC, to the second; 0 UTC if only its date is known."""
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
        stated = (asset.extra_fields.get(QUANTITY) for asset in self.items[0].assets.values())
        return str(next(filter(None, stated), ""))

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


def acquisitions(items: Sequence[pystac.Item]) -> list[Acquisition]:
    """Group items into acquisitions, oldest first: same platform and pass, close in time.

    A pass that crosses the ascending node has two relative orbits, and is one acquisition. An item
    of which only the date is known belongs to the pass of its platform and relative orbit on that
    date. Of a slice that was processed more than once only the newest version is used, as
    ``newest_versions`` does.
    """
    groups: dict[str | None, list[pystac.Item]] = {}
    for item in newest_versions(items):
        groups.setdefault(item.properties.get("platform"), []).append(item)
    passes = [one for group in groups.values() for one in _split_passes(group)]
    return sorted(map(Acquisition, passes), key=lambda each: (each.time, each.scene_id))


@dataclass(frozen=True)
class _Slice:
    """An item and its start; ``only_date`` if its time of day is unknown."""

    item: pystac.Item
    start: dt.datetime
    only_date: bool


def _split_passes(items: Iterable[pystac.Item]) -> list[tuple[pystac.Item, ...]]:
    """Slices of each pass of one platform, oldest first; those with only a date last."""
    slices = [_Slice(item, _start(item), _has_only_date(item)) for item in items]
    slices.sort(key=lambda each: (each.only_date, each.start, each.item.id))
    passes: list[list[_Slice]] = []
    by_date: dict[dt.date, list[list[_Slice]]] = {}
    for each in slices:
        recent = by_date.get(each.start.date(), []) if each.only_date else passes[-_OPEN_PASSES:]
        continued = next((one for one in reversed(recent) if _continues(one, each)), None)
        if continued is None:
            passes.append([each])
            by_date.setdefault(each.start.date(), []).append(passes[-1])
        else:
            continued.append(each)
    return [tuple(each.item for each in one) for one in passes]


def _continues(slices: Sequence[_Slice], later: _Slice) -> bool:
    """Whether a slice belongs to a pass."""
    last = slices[-1]
    if later.only_date:
        return _one_pass(slices[0].item, later.item, known=True)
    return later.start - last.start <= PASS_GAP and _one_pass(last.item, later.item, known=False)


def _one_pass(first: pystac.Item, later: pystac.Item, *, known: bool) -> bool:
    """Whether orbits allow one pass; if they are unknown, unless they must be ``known``."""
    tracks: list[Any] = [item.properties.get("sat:relative_orbit") for item in (first, later)]
    states = [item.properties.get("sat:orbit_state") for item in (first, later)]
    if None not in tracks:
        return orbits.same_pass(int(tracks[0]), int(tracks[1])) and (
            not known or states[0] == states[1]
        )
    return not known and (None in states or states[0] == states[1])


def _has_only_date(item: pystac.Item) -> bool:
    """Whether the time of day of an item is unknown: its range is longer than any acquisition."""
    first, last = time_range(item)
    return last - first > _LONGEST


def newest_versions(items: Iterable[pystac.Item]) -> list[pystac.Item]:
    """Keep only the newest version of each slice, and log how many were dropped.

    Versions of a slice share platform, bands, start to a second, and footprint. The newest is the
    one processed last, by the first of the properties in ``PROCESSING_TIMES`` that all versions
    have and in which they differ. If there is none, nothing states which is newer; with a warning,
    a version with a processing time is used rather than one without, and else the one whose id
    sorts last.
    """
    groups: list[list[pystac.Item]] = []
    for item in sorted(items, key=_by_time):
        group = _find_versions(groups, item)
        if group is None:
            groups.append([item])
        else:
            group.append(item)
    chosen = [_newest(group) for group in groups]
    several = [pair for pair in zip(groups, chosen, strict=True) if len(pair[0]) > 1]
    _report_versions([(group, item) for group, (item, known) in several if known], known=True)
    _report_versions([(group, item) for group, (item, known) in several if not known], known=False)
    return [item for item, _ in chosen]


def _report_versions(
    several: Sequence[tuple[list[pystac.Item], pystac.Item]], *, known: bool
) -> None:
    """Log which versions are used, and whether it is ``known`` that they are the newest."""
    if not several:
        return
    group, used = several[0]
    other = next(item for item in group if item is not used)
    noun = "slice has" if len(several) == 1 else "slices have"
    line = f"{len(several)} {noun} more than one version"
    if known:
        _log.info(f"{line}; the newest is used: {used.id} instead of {other.id}")
    else:
        _log.warning(
            f"{line}, and no processing time states which is newer: {used.id} is used instead of "
            f"{other.id}; index only one of them to choose"
        )


def _newest(versions: Sequence[pystac.Item]) -> tuple[pystac.Item, bool]:
    """The newest version, and whether processing times say that it is."""
    candidates = list(versions)
    for key in PROCESSING_TIMES:
        times = [_moment(item.properties.get(key)) for item in candidates]
        known = [time for time in times if time is not None]
        if len(known) == len(candidates):
            newest = max(known)
            candidates = [
                item for item, time in zip(candidates, times, strict=True) if time == newest
            ]

    def rank(item: pystac.Item) -> tuple[list[bool], str]:
        return [_moment(item.properties.get(key)) is not None for key in PROCESSING_TIMES], item.id

    return max(candidates, key=rank), len(candidates) == 1


def _moment(text: object) -> dt.datetime | None:
    """A time in UTC; None if it is none."""
    if isinstance(text, dt.datetime):
        return utc(text)
    try:
        return utc(dt.datetime.fromisoformat(str(text)))
    except ValueError:
        return None


def _find_versions(groups: list[list[pystac.Item]], item: pystac.Item) -> list[pystac.Item] | None:
    """Other versions of an item in groups that are ordered by time."""
    for group in reversed(groups):
        if _start(item) - _start(group[-1]) > _SAME_TIME:
            return None
        if _same_slice(group[0], item):
            return group
    return None


def _same_slice(first: pystac.Item, second: pystac.Item) -> bool:
    same_platform = first.properties.get("platform") == second.properties.get("platform")
    return (
        same_platform
        and not (_has_only_date(first) and not _one_pass(first, second, known=False))
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
    corners = np.array([[*box[:2], *box[len(box) // 2 :][:2]] for box in (first.bbox, second.bbox)])
    corners[:, 2] = corners[:, 0] + (corners[:, 2] - corners[:, 0]) % 360.0
    corners[1, [0, 2]] += 360.0 * np.round((corners[0, 0] - corners[1, 0]) / 360.0)
    sides = np.minimum(*corners[:, 2:]) - np.maximum(*corners[:, :2])
    shared = float(np.prod(np.maximum(sides, 0.0)))
    union = float(np.prod(corners[:, 2:] - corners[:, :2], axis=1).sum() - shared)
    return shared / union if union > 0.0 else 0.0


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
