"""STAC items of other makers, put into the form of our own scenes by their profiles."""

import datetime as dt
import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pystac

from sarcast.catalogue.scene import BANDS, INCIDENCE, QUANTITY
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.profile import (
    Fact,
    SceneProfile,
    check_quantity,
    check_unit,
    heading_deg,
    incidence_deg,
    orbit_direction,
    platform,
    relative_orbit,
)
from sarcast.sensor import orbits

_log = logging.getLogger(__name__)


class NoBandsError(SarcastError):
    """An item that has none of the polarisations wanted."""


_PROJECTION = {"proj:code", "proj:epsg", "proj:wkt2", "proj:shape", "proj:transform"}


def describe_all(
    items: Iterable[pystac.Item], profiles: Sequence[SceneProfile]
) -> list[pystac.Item]:
    """Describe items as ``describe`` does; those of other polarisations are left out, and said.

    Raises
    ------
    SarcastError
        As ``describe``, and if none of the items has VV or VH.
    """
    known, without = [], []
    for item in items:
        try:
            known.append(describe(item, profiles))
        except NoBandsError as error:
            without.append(error)
    if without and not known:
        raise without[0]
    if without:
        _log.info(f"{len(without)} items without VV and VH are left out: {without[0]}")
    return known


def describe(item: pystac.Item, profiles: Sequence[SceneProfile]) -> pystac.Item:
    """Put an item into the form of our own scenes: bands, unit, quantity, platform, pass, orbit.

    Parameters
    ----------
    item
        As a catalogue gave it; one that is in our form already is given back as it is.
    profiles
        Tried in their order.

    Returns
    -------
    pystac.Item
        A copy, whose assets ``vv`` and ``vh`` tell their band, unit and quantity.

    Raises
    ------
    SarcastError
        If no profile knows the item's collection, the item lacks the assets it should have, or its
        unit is none that can be read.
    """
    if any(QUANTITY in asset.extra_fields for asset in item.assets.values()):
        for unit in _units(item):
            check_unit(unit, item.id)
        return item
    profile = _profile_of(item, profiles)
    told = profile.read({}, properties=item.properties)
    check_unit(told.get("unit"), item.id)
    known = item.clone()
    known.assets = {**_angles(item, profile), **_bands(item, profile, told)}
    _set_properties(known, told)
    for key in _PROJECTION:
        first = next(
            (a.extra_fields[key] for a in item.assets.values() if key in a.extra_fields), None
        )
        if first is not None:
            known.properties.setdefault(key, first)
    return known


def _units(item: pystac.Item) -> set[str | None]:
    """Units in which an item of ours declares its backscatter."""
    return {
        band.get("unit")
        for asset in item.assets.values()
        for band in asset.extra_fields.get("bands", [])
        if band.get("name") in BANDS
    }


def _profile_of(item: pystac.Item, profiles: Sequence[SceneProfile]) -> SceneProfile:
    for profile in profiles:
        if item.collection_id is not None and item.collection_id in profile.collections:
            return profile
    known = ", ".join(name for profile in profiles for name in profile.collections)
    raise SarcastError(
        f"{item.id} is of the collection {item.collection_id!r}, which no profile knows (known: "
        f"{known}); declare its assets, unit and quantity with --profile"
    )


def _bands(
    item: pystac.Item, profile: SceneProfile, told: dict[Fact, str]
) -> dict[str, pystac.Asset]:
    keys = {band: key for band, key in profile.assets.items() if key in item.assets}
    if not keys:
        raise NoBandsError(
            f"{item.id} has none of the assets {', '.join(profile.assets.values())} that the "
            f"profile {profile.name} expects; it has {', '.join(item.assets)}"
        )
    quantity, unit = check_quantity(told.get("quantity"), item.id), told["unit"]
    more: dict[str, Any] = {QUANTITY: quantity}
    if profile.nodata is not None:
        more["nodata"] = profile.nodata
    return {band.lower(): _asset(item.assets[keys[band]], band, unit, more) for band in keys}


def _angles(item: pystac.Item, profile: SceneProfile) -> dict[str, pystac.Asset]:
    key = profile.incidence.asset if profile.incidence else None
    if key is None or key not in item.assets:
        return {}
    return {INCIDENCE: _asset(item.assets[key], INCIDENCE, "degree", {})}


def _asset(source: pystac.Asset, band: str, unit: str, more: dict[str, Any]) -> pystac.Asset:
    return pystac.Asset(
        href=source.get_absolute_href() or source.href,
        media_type=source.media_type,
        roles=["metadata"] if band == INCIDENCE else ["data"],
        extra_fields={"bands": [{"name": band, "unit": unit}], **more},
    )


def _set_properties(item: pystac.Item, told: dict[Fact, str]) -> None:
    heading = heading_deg(told)
    facts = {
        "platform": platform(told.get("platform")),
        "sat:orbit_state": orbit_direction(told.get("orbit_direction")),
        "sat:relative_orbit": relative_orbit(told),
        "view:incidence_angle": incidence_deg(told),
    }
    if heading is not None:
        facts["view:azimuth"] = float(orbits.look_direction_deg(heading))
    facts["sat:orbit_state"] = facts["sat:orbit_state"] or _derived_pass(item, heading)
    for key, value in facts.items():
        item.properties.pop(key, None)
        if value is not None:
            item.properties[key] = value


def _derived_pass(item: pystac.Item, heading: float | None) -> str | None:
    """Pass that follows from the heading, or from time and place; None of a date without a time."""
    if heading is not None:
        return orbits.direction_of(heading)
    time = item.common_metadata.start_datetime or item.datetime
    if time is None or item.bbox is None or time.time() == dt.time():
        return None
    west, east = item.bbox[0], item.bbox[len(item.bbox) // 2]  # east of west, across 180 too
    return orbits.orbit_direction(time, west + (east - west) % 360.0 / 2.0)
