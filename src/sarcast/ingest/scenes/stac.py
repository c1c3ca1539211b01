"""STAC items of other providers, converted by their profiles to the form of sarcast's scenes."""

import datetime as dt
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import pystac

from sarcast.catalogue.scene import INCIDENCE, POLARISATIONS, QUANTITY, grid_fields
from sarcast.catalogue.unusable import (
    UNKNOWN_BANDS,
    UNKNOWN_SOURCE,
    LeftOut,
    UnusableError,
)
from sarcast.ingest.scenes.comparable import select_comparable
from sarcast.ingest.scenes.profile import (
    MetadataField,
    SceneProfile,
    check_quantity,
    check_unit,
    heading_deg,
    incidence_deg,
    parse_mode,
    parse_orbit_direction,
    parse_platform,
    relative_orbit,
)
from sarcast.io.rasters import grid_of
from sarcast.io.remote import is_remote
from sarcast.sensor import orbits

_CRS = ("proj:code", "proj:epsg", "proj:wkt2")
_PIXELS = ("proj:shape", "proj:transform")


def normalise_items(
    items: Iterable[pystac.Item],
    profiles: Sequence[SceneProfile],
    *,
    strict: bool = False,
    known: Collection[str] = (),
    left_out: LeftOut | None = None,
) -> list[pystac.Item]:
    """Normalise items as ``normalise_item``; those that cannot be used are left out, and reported.

    Parameters
    ----------
    items
        As a catalogue returns them.
    profiles
        Tried in this order.
    strict
        Whether every item must be usable.
    known
        Ids of scenes that decide which polarisations and mode are used; default: those of most
        items.
    left_out
        What the search left out, which is reported too.

    Raises
    ------
    SarcastError
        If none of the items can be used, or with ``strict`` any cannot.
    """
    left_out = LeftOut() if left_out is None else left_out
    normalised = []
    for item in items:
        with left_out.unusable(item.id):
            normalised.append(normalise_item(item, profiles))
    kept = select_comparable(normalised, left_out, known)
    left_out.report(bool(kept), strict=strict)
    return kept


def normalise_item(item: pystac.Item, profiles: Sequence[SceneProfile]) -> pystac.Item:
    """Convert an item to the form of sarcast's scenes: bands, unit, quantity, platform, orbit.

    For example, an item of ``sentinel-1-rtc`` gets ``{"name": "VV", "unit": "linear power"}`` and
    the quantity ``gamma0`` on its asset ``vv``, and its platform becomes ``sentinel-1a``.

    Parameters
    ----------
    item
        As a catalogue returns it; one that already has this form is returned unchanged.
    profiles
        Tried in this order.

    Returns
    -------
    pystac.Item
        A copy whose assets ``vv`` and ``vh`` state their band, unit and quantity.

    Raises
    ------
    SarcastError
        If no profile matches the item's collection, an expected asset is missing, or the unit
        cannot be read.
    """
    if any(QUANTITY in asset.extra_fields for asset in item.assets.values()):
        _check_bands(item)
        return item
    profile = _match_profile(item, profiles)
    metadata = profile.read_metadata({}, properties=item.properties)
    check_unit(metadata.get("unit"), item.id)
    normalised = item.clone()
    normalised.assets = {**_angles(item, profile), **_bands(item, profile, metadata)}
    _set_properties(normalised, metadata)
    _set_projection(normalised, item, profile)
    return normalised


def declare_nodata(item: pystac.Item, nodata: float | None) -> pystac.Item:
    """Declare a stored value of missing pixels for all rasters of an item; None changes nothing.

    Returns
    -------
    pystac.Item
        A changed copy, or the item itself.
    """
    if nodata is None:
        return item
    changed = item.clone()
    for asset in changed.assets.values():
        asset.extra_fields["nodata"] = "nan" if math.isnan(nodata) else nodata
    return changed


def state_raster_grid(item: pystac.Item) -> None:
    """Replace the grid that an item states by that of its backscatter, if it lies on disk."""
    path = next((a.href for a in item.assets.values() if "data" in (a.roles or [])), None)
    if path is None or is_remote(path):
        return
    for name in (*_CRS, *_PIXELS):
        item.properties.pop(name, None)
    item.properties.update(grid_fields(grid_of(path)))


def _set_projection(normalised: pystac.Item, item: pystac.Item, profile: SceneProfile) -> None:
    """Keep the grid of the backscatter: that of its asset, else the item's, never another's."""
    key = next(key for key in profile.assets.values() if key in item.assets)
    stated = item.assets[key].extra_fields
    for names in (_CRS, _PIXELS):
        values = {name: stated[name] for name in names if stated.get(name) is not None}
        if values:
            for name in names:
                normalised.properties.pop(name, None)
            normalised.properties.update(values)


def _check_bands(item: pystac.Item) -> None:
    """Check that a normalised item declares backscatter in units that can be read."""
    units = {
        band.get("unit")
        for asset in item.assets.values()
        for band in asset.extra_fields.get("bands", [])
        if band.get("name") in POLARISATIONS
    }
    if not units:
        line = f"{item.id} states no band VV, VH, HH or HV; index its rasters again"
        raise UnusableError(UNKNOWN_BANDS, line)
    for unit in units:
        check_unit(unit, item.id)


def _match_profile(item: pystac.Item, profiles: Sequence[SceneProfile]) -> SceneProfile:
    for profile in profiles:
        if item.collection_id is not None and item.collection_id in profile.collections:
            return profile
    known = ", ".join(name for profile in profiles for name in profile.collections)
    raise UnusableError(
        UNKNOWN_SOURCE,
        f"{item.id} is of the collection {item.collection_id!r}, which matches no profile (known: "
        f"{known}); describe its assets, unit and quantity in a profile and add it with --profile",
    )


def _bands(
    item: pystac.Item, profile: SceneProfile, metadata: dict[MetadataField, str]
) -> dict[str, pystac.Asset]:
    keys = {band: key for band, key in profile.assets.items() if key in item.assets}
    if not keys:
        raise UnusableError(
            UNKNOWN_BANDS,
            f"{item.id} has none of the assets {', '.join(profile.assets.values())} that the "
            f"profile {profile.name} expects; it has {', '.join(item.assets)}",
        )
    quantity, unit = check_quantity(metadata.get("quantity"), item.id), metadata["unit"]
    fields: dict[str, Any] = {QUANTITY: quantity}
    if profile.nodata is not None:
        fields["nodata"] = profile.nodata
    return {band.lower(): _asset(item.assets[keys[band]], band, unit, fields) for band in keys}


def _angles(item: pystac.Item, profile: SceneProfile) -> dict[str, pystac.Asset]:
    key = profile.incidence.asset if profile.incidence else None
    if key is None or key not in item.assets:
        return {}
    return {INCIDENCE: _asset(item.assets[key], INCIDENCE, "degree", {})}


def _asset(source: pystac.Asset, band: str, unit: str, fields: dict[str, Any]) -> pystac.Asset:
    nodata = _stated_nodata(source)
    if nodata is not None:
        fields = {**fields, "nodata": "nan" if math.isnan(nodata) else nodata}
    return pystac.Asset(
        href=source.get_absolute_href() or source.href,
        media_type=source.media_type,
        roles=["metadata"] if band == INCIDENCE else ["data"],
        extra_fields={"bands": [{"name": band, "unit": unit}], **fields},
    )


def _stated_nodata(source: pystac.Asset) -> float | None:
    """Value of missing pixels that an asset states, itself or for its first band."""
    bands = (source.extra_fields.get(key, []) for key in ("raster:bands", "bands"))
    stated = [source.extra_fields, *(first for first, *_ in filter(None, bands))]
    values = (fields["nodata"] for fields in stated if fields.get("nodata") is not None)
    return next(map(float, values), None)


def _set_properties(item: pystac.Item, metadata: dict[MetadataField, str]) -> None:
    heading = heading_deg(metadata)
    direction = parse_orbit_direction(metadata.get("orbit_direction"))
    properties = {
        "platform": parse_platform(metadata.get("platform")),
        "sar:instrument_mode": parse_mode(metadata.get("mode")),
        "sat:orbit_state": direction or _derive_orbit_direction(item, heading),
        "sat:relative_orbit": relative_orbit(metadata),
        "view:incidence_angle": incidence_deg(metadata),
    }
    if heading is not None:
        properties["view:azimuth"] = float(orbits.look_direction_deg(heading))
    for key, value in properties.items():
        item.properties.pop(key, None)
        if value is not None:
            item.properties[key] = value


def _derive_orbit_direction(item: pystac.Item, heading: float | None) -> str | None:
    """Orbit direction from the heading, or from time of day and longitude; None if unknown."""
    if heading is not None:
        return orbits.direction_of(heading)
    time = item.common_metadata.start_datetime or item.datetime
    if time is None or item.bbox is None or time.time() == dt.time():
        return None
    west, east = item.bbox[0], item.bbox[len(item.bbox) // 2]  # the box may cross 180 degrees
    return orbits.orbit_direction(time, west + (east - west) % 360.0 / 2.0)
