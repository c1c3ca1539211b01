"""Sentinel-1 rasters found on disk, told apart by their names, as scenes for a catalogue.

A scene is known from a STAC item beside its rasters, or from the name of a file: that of an OPERA
RTC-S1 product, or any name that holds a Sentinel-1 platform and an acquisition time.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pystac
from pydantic import BaseModel, ConfigDict, Field

from sarcast import orbits, units
from sarcast.catalogue import Raster, Scene
from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError
from sarcast.progress import say
from sarcast.rasters import grid_of, open_raster, sample

OPERA = re.compile(
    r"OPERA_L2_RTC-S1_(?P<burst>T(?P<track>\d{3})-\d{6}-IW[123])_(?P<time>\d{8}T\d{6})Z"
    r"_\d{8}T\d{6}Z_(?P<platform>S1[ABCD])_\d+_v[\d.]+"
)
"""Base of an OPERA RTC-S1 file name: burst, acquisition time, processing time, platform, spacing
(OPERA RTC-S1 product specification, JPL D-108758, section 3.2). Its rasters are gamma0, power."""

SENTINEL = re.compile(r"(?P<platform>S1[ABCD])_(?:IW|EW|S[1-6])_.*?(?P<time>\d{8}T\d{6})")
"""Platform and acquisition time in the name of any file made from a Sentinel-1 product."""

_BAND = re.compile(r"[_\-.]?(VV|VH)$", re.IGNORECASE)
_SUFFIXES = {".tif", ".tiff"}


class IndexOptions(BaseModel):
    """What the files' names do not tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str | None = Field(
        None,
        pattern="^(linear power|dB)$",
        description="Unit of rasters whose name does not tell it: 'linear power' or 'dB'.",
    )
    quantity: str | None = Field(
        None,
        pattern="^(gamma0|sigma0)$",
        description="Quantity of rasters whose name does not tell it: gamma0 or sigma0.",
    )


@dataclass(frozen=True)
class _Known:
    """What a name tells of a scene."""

    id: str
    platform: str
    time: dt.datetime
    relative_orbit: int | None = None
    burst: str | None = None
    unit: str | None = None
    quantity: str | None = None


def find_items(paths: Sequence[Path], options: IndexOptions) -> Iterator[pystac.Item]:
    """Make an item of every scene found, and see that its rasters can be read.

    Parameters
    ----------
    paths
        Files, and folders that are searched at every depth.
    options
        What the files' names do not tell.

    Yields
    ------
    pystac.Item
        One a scene, in the order of their names.

    Raises
    ------
    SarcastError
        If there is none, a raster cannot be read, has no CRS, or holds another unit than declared.
    """
    files = sorted(set(_files(paths)))
    described = [item for path in files if path.suffix == ".json" for item in _stac_item(path)]
    claimed = {Path(asset.href) for item in described for asset in item.assets.values()}
    rasters = [p for p in files if p.suffix.lower() in _SUFFIXES and p.resolve() not in claimed]
    scenes = _by_scene(rasters)
    if not described and not scenes:
        raise SarcastError(_nothing_found(paths, len(rasters)))
    for item in described:
        _check_item(item)
        yield item
    for name in sorted(scenes):
        known, members = scenes[name]
        yield _scene(known, members, options).to_item()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            yield from (found for found in path.rglob("*") if found.is_file())
        elif path.is_file():
            yield path
        else:
            raise SarcastError(f"{path} does not exist; name a raster or a folder with rasters")


def _nothing_found(paths: Sequence[Path], rasters: int) -> str:
    where = ", ".join(map(str, paths))
    return (
        f"no Sentinel-1 raster in {where} ({rasters} other rasters there): expected OPERA RTC-S1 "
        f"GeoTIFFs, or names with platform and time such as S1A_IW_20200301T051122_VV.tif, "
        f"or STAC items beside the rasters"
    )


def _stac_item(path: Path) -> Iterator[pystac.Item]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError):
        return
    if not isinstance(content, dict) or content.get("type") != "Feature":
        return
    if "stac_version" not in content or not {"vv", "vh", "vv-vh"} & set(content.get("assets", {})):
        return
    try:
        item = pystac.Item.from_dict(content)
    except (KeyError, TypeError, ValueError, pystac.STACError) as error:
        say(f"warning: {path} is left out: it is no whole STAC item ({error!r})")
        return
    item.set_self_href(path.resolve().as_posix())
    item.make_asset_hrefs_absolute()
    yield item


def _by_scene(rasters: Iterable[Path]) -> dict[str, tuple[_Known, list[Path]]]:
    scenes: dict[str, tuple[_Known, list[Path]]] = {}
    for path in rasters:
        known = _known(path)
        if known is not None:
            scenes.setdefault(known.id, (known, []))[1].append(path)
    return scenes


def _known(path: Path) -> _Known | None:
    base = _BAND.sub("", path.stem)
    opera = OPERA.search(base)
    if opera:
        if base != opera[0]:  # the mask and the incidence layers of the product
            return None
        return _Known(
            id=base,
            platform=_platform(opera["platform"]),
            time=_time(opera["time"]),
            relative_orbit=int(opera["track"]),
            burst=opera["burst"],
            unit=units.LINEAR_POWER,
            quantity="gamma0",
        )
    found = SENTINEL.search(base)
    if found is None or not _is_time(found["time"]):
        return None
    return _Known(id=base, platform=_platform(found["platform"]), time=_time(found["time"]))


def _is_time(text: str) -> bool:
    try:
        _time(text)
    except ValueError:
        return False
    return True


def _platform(short: str) -> str:
    return f"sentinel-1{short[-1].lower()}"


def _time(text: str) -> dt.datetime:
    return dt.datetime.strptime(text, "%Y%m%dT%H%M%S").replace(tzinfo=dt.UTC)


def _scene(known: _Known, members: Sequence[Path], options: IndexOptions) -> Scene:
    unit = known.unit or options.unit
    quantity = known.quantity or options.quantity
    if unit is None or quantity is None:
        raise SarcastError(
            f"{members[0]}: the name tells neither unit nor quantity; "
            f"declare them with --unit 'linear power' or dB, and --quantity gamma0 or sigma0"
        )
    rasters = {}
    for path in members:
        bands = _bands(path)
        rasters["-".join(bands).lower()] = Raster(path, bands, unit)
        _check_unit(path, unit)
    centre = grid_of(members[0]).geographic_extent.centroid
    return Scene(
        id=known.id,
        time=known.time,
        quantity=quantity,
        rasters=dict(sorted(rasters.items(), reverse=True)),
        platform=known.platform,
        orbit_direction=orbits.orbit_direction(known.time, centre.coords[0][0]),
        relative_orbit=known.relative_orbit,
        more={"sarcast:burst": known.burst} if known.burst else {},
    )


def _bands(path: Path) -> tuple[str, ...]:
    """Polarisations of a file's bands: from its name, or from the bands' descriptions."""
    named = _BAND.search(path.stem)
    with open_raster(path) as source:
        described = tuple((text or "").upper() for text in source.descriptions)
        if named and source.count == 1:
            return (named[1].upper(),)
    if described and set(described) <= set(BANDS) and len(set(described)) == len(described):
        return described
    raise SarcastError(
        f"{path} does not tell its polarisations: expected a name ending in _VV or _VH, or bands "
        f"described as VV and VH, found {len(described)} bands described as {described}"
    )


def _check_item(item: pystac.Item) -> None:
    for asset in item.assets.values():
        bands = asset.extra_fields.get("bands", [])
        if {band.get("name") for band in bands} & set(BANDS):
            _check_unit(Path(asset.href), bands[0].get("unit"))


def _check_unit(path: Path, declared: str | None) -> None:
    if declared not in units.UNITS:
        raise SarcastError(
            f"{path} is declared in {declared!r}; expected {' or '.join(map(repr, units.UNITS))}"
        )
    seen = units.looks_like(sample(path))
    if seen is not None and seen != declared:
        raise SarcastError(
            f"{path} is declared in {declared}, but its values are those of {seen}; "
            f"declare it with --unit '{seen}'"
        )
