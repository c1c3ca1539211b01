"""Sentinel-1 scenes on disk, found and described as STAC items for a catalogue.

A scene is either a STAC item beside its rasters, or a set of files that match a profile: one
shipped in ``profiles/scenes``, or one of the user.
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
from sarcast.ingest.scenes.products import FileIndex, RasterProduct, check_values
from sarcast.ingest.scenes.profile import (
    MetadataField,
    SceneProfile,
    check_unit,
    scene_profiles,
)
from sarcast.ingest.scenes.stac import normalise_item
from sarcast.io.files import is_partial
from sarcast.io.rasters import any_data, has_data, read_sample
from sarcast.io.remote import is_remote
from sarcast.sensor import units

_log = logging.getLogger(__name__)


_SUFFIXES = {".tif", ".tiff", ".dim", ".nc"}


class IndexOptions(BaseModel):
    """Metadata that the files themselves do not contain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    unit: str | None = Field(
        None,
        pattern=f"^({'|'.join(units.SOURCE_UNITS)})$",
        description="Unit of the rasters: 'linear power', 'dB' or 'amplitude'; default: that of "
        "their profile.",
    )
    quantity: str | None = Field(
        None,
        pattern="^(gamma0|sigma0)$",
        description="Quantity of the rasters: gamma0 or sigma0; default: that of their profile.",
    )
    profile: tuple[str, ...] = Field(
        (), description="YAML file that describes a source of your own; may be repeated."
    )

    def declared(self) -> dict[MetadataField, str]:
        """Metadata that the user declares."""
        declared: dict[MetadataField, str | None] = {"unit": self.unit, "quantity": self.quantity}
        return {name: value for name, value in declared.items() if value is not None}


def find_items(
    paths: Sequence[Path], options: IndexOptions, *, unpack_to: Path | None = None
) -> Iterator[pystac.Item]:
    """Make an item of every scene found, and check that its rasters can be read.

    Parameters
    ----------
    paths
        Files, and folders that are searched recursively.
    options
        Metadata that the files do not contain.
    unpack_to
        Folder for the scenes of NetCDF series, which are written as one GeoTIFF each; None to
        refuse such series.

    Yields
    ------
    pystac.Item
        One a scene, in the order of their names. Rasters without data are left out with a warning.

    Raises
    ------
    SarcastError
        If no scene is found, a raster cannot be read, has no CRS, or is in another unit than
        declared.
    UsageError
        If the options declare a unit or quantity that an item already states.
    """
    profiles = scene_profiles(options.profile)
    files = sorted(set(_files(paths)))
    items = [item for path in files if path.suffix == ".json" for item in _read_item(path)]
    item_rasters = {Path(asset.href) for item in items for asset in item.assets.values()}
    rasters = [
        path
        for path in files
        if path.suffix.lower() in _SUFFIXES and path.resolve() not in item_rasters
    ]
    products = _group_products(rasters, profiles)
    if not items and not products:
        raise SarcastError(_nothing_found(paths, len(rasters), profiles))
    if items and options.declared():
        raise UsageError(
            f"--unit and --quantity apply to rasters without STAC items, but {items[0].id} is an "
            f"item that states them: omit them, or index the other rasters separately"
        )
    for item in items:
        normalised = normalise_item(item, profiles)
        if _has_data(normalised):
            yield normalised
    file_index = FileIndex(files)
    for name in sorted(products):
        for product in _unpack_series(products[name], unpack_to):
            scene = product.to_scene(options.declared(), file_index)
            if scene is not None:
                yield scene.to_item()


def _files(paths: Sequence[Path]) -> Iterator[Path]:
    for path in paths:
        if path.is_dir():
            if not os.access(path, os.R_OK | os.X_OK):
                raise SarcastError(f"{path} cannot be read: permission denied; check its mode")
            for file in path.rglob("*"):
                if file.is_file() and not is_partial(file.relative_to(path)):
                    yield file
        elif path.is_file():
            yield path
        else:
            raise SarcastError(f"{path} does not exist; name a raster or a folder of rasters")


def _nothing_found(paths: Sequence[Path], rasters: int, profiles: Sequence[SceneProfile]) -> str:
    folders = ", ".join(map(str, paths))
    known = ", ".join(profile.name for profile in profiles if profile.files)
    return (
        f"no Sentinel-1 raster in {folders} ({rasters} other rasters there): expected files of one "
        f"of the profiles {known}, or STAC items beside the rasters; "
        f"describe a source of your own with --profile"
        f"{'; for SAFE folders use sarcast rtc' if any(map(_has_safe, paths)) else ''}"
    )


def _has_safe(path: Path) -> bool:
    return path.suffix == ".SAFE" or next(path.rglob("*.SAFE"), None) is not None


def _read_item(path: Path) -> Iterator[pystac.Item]:
    """The STAC item of a radar scene in a JSON file, if it is one."""
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
        _log.warning(f"{path} is left out: it is not a valid STAC item ({error!r})")
        return
    item.set_self_href(path.resolve().as_posix())
    item.make_asset_hrefs_absolute()
    yield item


def _has_bands(assets: object) -> bool:
    return isinstance(assets, Mapping) and any(str(key).upper().endswith(BANDS) for key in assets)


def _group_products(
    rasters: Sequence[Path], profiles: Sequence[SceneProfile]
) -> dict[str, RasterProduct]:
    """Files by scene; of duplicate files, and duplicate scenes in two formats, one is kept."""
    products: dict[str, RasterProduct] = {}
    for path in rasters:
        match = _match_profile(path, profiles)
        if match is None:
            continue
        profile, groups = match
        band = groups.pop("band", None)
        name = groups.get("scene", path.stem)
        product = products.setdefault(name, RasterProduct(name, profile, groups))
        if product.profile is not profile or path.name in {file.name for file, _ in product.files}:
            _log.warning(f"{path} is left out: {product.files[0][0]} is the same scene")
            continue
        product.files.append((path, band))
    return products


def _match_profile(
    path: Path, profiles: Sequence[SceneProfile]
) -> tuple[SceneProfile, dict[str, str]] | None:
    """First profile that matches a file, and the named groups of the file name."""
    for profile in profiles:
        groups = profile.groups(path.name)
        if groups is not None and (not profile.snap_header or snap_header(path) is not None):
            return profile, groups
        if profile.is_ancillary(path.name):
            return None
    return None


def _unpack_series(product: RasterProduct, unpack_to: Path | None) -> Iterator[RasterProduct]:
    """The product itself, or a product for each scene of its series."""
    profile = product.profile
    if profile.series is None:
        yield product
        return
    for path, _ in product.files:
        if unpack_to is None:
            raise UsageError(
                f"{path} contains a series of scenes, which are written as one GeoTIFF each: "
                f"name a folder for them with --unpack-to"
            )
        for time, written in series.unpack(path, profile, unpack_to / product.name):
            groups = {**product.groups, "time": time.strftime(profile.time_format)}
            yield RasterProduct(written.stem, profile, groups, [(written, None)])


def _has_data(item: pystac.Item) -> bool:
    """Check that backscatter is in its unit; False, with a warning, if no pixel has data."""
    filled = []
    for asset in item.assets.values():
        bands = asset.extra_fields.get("bands", [])
        if not {band.get("name") for band in bands} & set(BANDS):
            continue
        if is_remote(asset.href):
            return True
        unit, values = check_unit(bands[0].get("unit"), asset.href), read_sample(Path(asset.href))
        check_values(asset.href, values, unit)
        filled.append(any_data(values) or has_data(Path(asset.href)))
    if filled and not any(filled):
        _log.warning(f"{item.id} is left out: it holds no data, every pixel is 0 or missing")
        return False
    return True
