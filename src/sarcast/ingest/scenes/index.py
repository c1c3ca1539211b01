"""Sentinel-1 scenes found on disk, as items for a catalogue.

A scene is known from a STAC item beside its rasters, or from files that a profile knows: one that
is shipped in ``profiles/scenes``, or one of the user's own.
"""

import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pystac
from pydantic import BaseModel, ConfigDict, Field

from sarcast.catalogue.scene import BANDS
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.scenes import series
from sarcast.ingest.scenes.containers import snap_header
from sarcast.ingest.scenes.products import Nearby, RasterProduct, check_values
from sarcast.ingest.scenes.profile import Fact, SceneProfile, check_unit, scene_profiles
from sarcast.ingest.scenes.stac import describe
from sarcast.io.files import is_partial
from sarcast.io.rasters import any_data, has_data, read_sample
from sarcast.io.remote import is_remote
from sarcast.sensor import units

_log = logging.getLogger(__name__)


_SUFFIXES = {".tif", ".tiff", ".dim", ".nc"}


class IndexOptions(BaseModel):
    """What the files themselves do not tell."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str | None = Field(
        None,
        pattern=f"^({'|'.join(units.SOURCE_UNITS)})$",
        description="Unit of the rasters: 'linear power', 'dB' or 'amplitude'; default: what their "
        "profile tells.",
    )
    quantity: str | None = Field(
        None,
        pattern="^(gamma0|sigma0)$",
        description="Quantity of the rasters: gamma0 or sigma0; default: what their profile tells.",
    )
    profile: tuple[str, ...] = Field(
        (), description="YAML file that declares a source of your own; may be given several times."
    )

    def declared(self) -> dict[Fact, str]:
        """The facts that the user declares."""
        given: dict[Fact, str | None] = {"unit": self.unit, "quantity": self.quantity}
        return {fact: word for fact, word in given.items() if word is not None}


def find_items(
    paths: Sequence[Path], options: IndexOptions, *, unpack_to: Path | None = None
) -> Iterator[pystac.Item]:
    """Make an item of every scene found, and see that its rasters can be read.

    Parameters
    ----------
    paths
        Files, and folders that are searched at every depth.
    options
        What the files do not tell.
    unpack_to
        Folder for the scenes of NetCDF series, which are written one GeoTIFF each; None if there
        is no place for them.

    Yields
    ------
    pystac.Item
        One a scene, in the order of their names. A raster without any data is left out, and said.

    Raises
    ------
    SarcastError
        If there is none, a raster cannot be read, has no CRS, or holds another unit than declared.
    UsageError
        If unit or quantity are declared, and an item tells them.
    """
    profiles = scene_profiles(options.profile)
    files = sorted(set(_files(paths)))
    described = [item for path in files if path.suffix == ".json" for item in _stac_item(path)]
    claimed = {Path(asset.href) for item in described for asset in item.assets.values()}
    rasters = [p for p in files if p.suffix.lower() in _SUFFIXES and p.resolve() not in claimed]
    products = _products(rasters, profiles)
    if not described and not products:
        raise SarcastError(_nothing_found(paths, len(rasters), profiles))
    if described and options.declared():
        raise UsageError(
            f"--unit and --quantity are for rasters without STAC items, and {described[0].id} is "
            f"one that tells them: leave them out, or index the other rasters apart"
        )
    for item in described:
        known = describe(item, profiles)
        if _holds_data(known):
            yield known
    nearby = Nearby(files)
    for name in sorted(products):
        for product in _apart(products[name], unpack_to):
            scene = product.to_scene(options.declared(), nearby)
            if scene is not None:
                yield scene.to_item()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise SarcastError(f"{path} may not be read; see to it that you have the right to")
            for found in path.rglob("*"):
                if found.is_file() and not is_partial(found.relative_to(path)):
                    yield found
        elif path.is_file():
            yield path
        else:
            raise SarcastError(f"{path} does not exist; name a raster or a folder with rasters")


def _nothing_found(paths: Sequence[Path], rasters: int, profiles: Sequence[SceneProfile]) -> str:
    where = ", ".join(map(str, paths))
    known = ", ".join(profile.name for profile in profiles if profile.files)
    return (
        f"no Sentinel-1 raster in {where} ({rasters} other rasters there): expected files of one "
        f"of the profiles {known}, or STAC items beside the rasters; "
        f"declare a source of your own with --profile"
        f"{'; SAFE folders are for sarcast rtc' if any(map(_holds_products, paths)) else ''}"
    )


def _holds_products(path: Path) -> bool:
    return path.suffix == ".SAFE" or next(path.rglob("*.SAFE"), None) is not None


def _stac_item(path: Path) -> Iterator[pystac.Item]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, UnicodeDecodeError):
        return
    if not isinstance(content, dict) or content.get("type") != "Feature":
        return
    if "stac_version" not in content or not _has_bands(content.get("assets")):
        return
    try:
        item = pystac.Item.from_dict(content)
    except (KeyError, TypeError, ValueError, pystac.STACError) as error:
        _log.warning(f"{path} is left out: it is no whole STAC item ({error!r})")
        return
    item.set_self_href(path.resolve().as_posix())
    item.make_asset_hrefs_absolute()
    yield item


def _has_bands(assets: object) -> bool:
    return isinstance(assets, Mapping) and any(str(key).upper().endswith(BANDS) for key in assets)


def _products(
    rasters: Sequence[Path], profiles: Sequence[SceneProfile]
) -> dict[str, RasterProduct]:
    """Files by scene; a file, or a scene in another form, that is there twice is taken once."""
    products: dict[str, RasterProduct] = {}
    for path in rasters:
        found = _profile_of(path, profiles)
        if found is None:
            continue
        profile, groups = found
        band = groups.pop("band", None)
        name = groups.get("scene", path.stem)
        product = products.setdefault(name, RasterProduct(name, profile, groups))
        if product.profile is not profile or path.name in {one.name for one, _ in product.files}:
            _log.warning(f"{path} is left out: {product.files[0][0]} is the same scene")
            continue
        product.files.append((path, band))
    return products


def _profile_of(
    path: Path, profiles: Sequence[SceneProfile]
) -> tuple[SceneProfile, dict[str, str]] | None:
    for profile in profiles:
        groups = profile.groups(path.name)
        if groups is not None and (not profile.snap_header or snap_header(path) is not None):
            return profile, groups
        if profile.owns(path.name):
            return None
    return None


def _apart(product: RasterProduct, unpack_to: Path | None) -> Iterator[RasterProduct]:
    """The product itself, or the scenes of its series."""
    profile = product.profile
    if profile.series is None:
        yield product
        return
    for path, _ in product.files:
        if unpack_to is None:
            raise UsageError(
                f"{path} holds a series of scenes, which are written one GeoTIFF each: "
                f"say where with --unpack-to"
            )
        for time, written in series.unpack(path, profile, unpack_to / product.name):
            groups = {**product.groups, "time": time.strftime(profile.time_format)}
            yield RasterProduct(written.stem, profile, groups, [(written, None)])


def _holds_data(item: pystac.Item) -> bool:
    """See that the backscatter of an item is in its unit; False, and said, if there is none."""
    held = []
    for asset in item.assets.values():
        bands = asset.extra_fields.get("bands", [])
        if not {band.get("name") for band in bands} & set(BANDS):
            continue
        if is_remote(asset.href):
            return True
        unit, values = check_unit(bands[0].get("unit"), asset.href), read_sample(Path(asset.href))
        check_values(asset.href, values, unit)
        held.append(any_data(values) or has_data(Path(asset.href)))
    if held and not any(held):
        _log.warning(f"{item.id} is left out: it holds no data, every pixel is 0 or missing")
        return False
    return True
