"""Sentinel-1 scenes on disk, found and described as STAC items for a catalogue.

A scene is either a STAC item beside its rasters, or a set of files that match a profile: one
shipped in ``profiles/scenes``, or one of the user.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pystac
from pydantic import BaseModel, ConfigDict, Field

from sarcast.catalogue.hrefs import Places, absolute, base_of
from sarcast.catalogue.parse import name_of, parse_item
from sarcast.catalogue.scene import POLARISATIONS
from sarcast.catalogue.unusable import NO_DATA, NO_ITEM, LeftOut, UnusableError
from sarcast.errors import SarcastError, UsageError
from sarcast.ingest.scenes import series
from sarcast.ingest.scenes.comparable import select_comparable
from sarcast.ingest.scenes.files import (
    RASTER_SUFFIXES,
    find_files,
    group_products,
    name_unread,
    nothing_found,
)
from sarcast.ingest.scenes.products import (
    FileIndex,
    RasterProduct,
    check_values,
    sample_backscatter,
)
from sarcast.ingest.scenes.profile import (
    MetadataField,
    SceneProfile,
    check_unit,
    scene_profiles,
)
from sarcast.ingest.scenes.stac import declare_nodata, normalise_item, state_raster_grid
from sarcast.io.documents import MalformedError, parse_json
from sarcast.io.rasters import any_data, has_data
from sarcast.io.remote import is_remote
from sarcast.sensor import units


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
    nodata: float | None = Field(
        None,
        description="Stored value of missing pixels, besides those that the rasters themselves "
        "mark as missing.",
    )
    allow_href: tuple[str, ...] = Field(
        (),
        description="Folder, or start of URLs, in which rasters of STAC items may lie although "
        "outside the catalogue, or inside your network; may be repeated.",
    )
    strict: bool = Field(
        False,
        description="Fail if any scene cannot be used, such as one of another polarisation or "
        "mode, or one that cannot be read; default: leave it out with a warning.",
    )

    def declared(self) -> dict[MetadataField, str]:
        """Metadata that the user declares."""
        declared: dict[MetadataField, str | None] = {"unit": self.unit, "quantity": self.quantity}
        return {name: value for name, value in declared.items() if value is not None}


def find_items(
    paths: Sequence[Path],
    options: IndexOptions,
    *,
    unpack_to: Path | None = None,
    any_kind: bool = False,
) -> list[pystac.Item]:
    """Make an item of every scene found, and check that its rasters can be read.

    Scenes that cannot be used are left out, with a warning for each reason.

    Parameters
    ----------
    paths
        Files, and folders that are searched recursively; links are followed.
    options
        Metadata that the files do not contain, and whether every scene must be usable.
    unpack_to
        Folder for the scenes of NetCDF series, which are written as one GeoTIFF each; None to
        refuse such series.
    any_kind
        Whether scenes of every polarisation and mode are returned; by default those of the most
        scenes.

    Returns
    -------
    list of pystac.Item
        One a scene, in the order of their names.

    Raises
    ------
    SarcastError
        If no scene is found, none can be used, or with ``strict`` any cannot.
    UsageError
        If the options declare a unit or quantity that an item already states.
    """
    left_out = LeftOut()
    profiles = scene_profiles(options.profile)
    files = find_files(paths, left_out)
    named = tuple(str(path if path.is_dir() else path.parent) for path in paths)
    places = Places(folders=named, allowed=options.allow_href, follow_links=True)
    found = [item for path in _json_files(files) for item in _read_items(path, places, left_out)]
    item_rasters = {
        Path(asset.href).resolve()
        for item in found
        for asset in item.assets.values()
        if not is_remote(asset.href)
    }
    rasters = [path for path in files if path.suffix.lower() in RASTER_SUFFIXES]
    own = [path for path in rasters if path.resolve() not in item_rasters]
    products = group_products(own, profiles, options.declared(), left_out)
    name_unread(files, [product.name for product in products], left_out)
    if not found and not products:
        left_out.report(any_used=False, strict=options.strict)
        raise SarcastError(nothing_found(paths, len(rasters), profiles))
    if found and options.declared():
        raise UsageError(
            f"--unit and --quantity apply to rasters without STAC items, but {found[0].id} is an "
            f"item that states them: omit them, or index the other rasters separately"
        )
    items = _usable_items(found, profiles, options.nodata, left_out)
    file_index = FileIndex(files)
    for product in products:
        with left_out.unusable(product.name):
            for part in _unpack_series(product, unpack_to):
                part.nodata = options.nodata
                with left_out.unusable(part.name):
                    scene = part.to_scene(options.declared(), file_index, left_out)
                    items.append(scene.to_item())
    kept = items if any_kind else select_comparable(items, left_out)
    left_out.report(bool(kept), strict=options.strict)
    return kept


def _json_files(files: Sequence[Path]) -> list[Path]:
    """JSON files; one that several links lead to is listed once."""
    unique = {path.resolve(): path for path in reversed(files) if path.suffix == ".json"}
    return sorted(unique.values())


def _read_items(path: Path, places: Places, left_out: LeftOut) -> Iterator[pystac.Item]:
    """STAC items of radar scenes in a JSON file, if it has any: one item, or a collection."""
    content = _read_json(path, left_out)
    features = content.get("features") if isinstance(content, dict) else None
    for number, feature in enumerate(features if isinstance(features, list) else [content]):
        if not _is_radar_item(feature):
            continue
        base, allowed = _base(path, feature, places)
        try:
            yield parse_item(feature, allowed, base, left_out)
        except UnusableError as error:
            left_out.add(error.reason, name_of(feature, number), f"{path}: {error}")


def _base(path: Path, item: Mapping[str, Any], places: Places) -> tuple[str, Places]:
    """What the hrefs of an item are relative to: its file, or what a link to its file leads to.

    The second is taken where none of its rasters lies beside the link; it may then be read.
    """
    beside, real = base_of(path), path.resolve()
    assets = item.get("assets")
    hrefs = [
        asset["href"]
        for asset in (assets.values() if isinstance(assets, dict) else ())
        if isinstance(asset, dict) and isinstance(asset.get("href"), str)
    ]
    if not path.is_symlink() or any(_exists(absolute(href, beside)) for href in hrefs):
        return beside, places
    return str(real), replace(places, folders=(*places.folders, str(real.parent)))


def _exists(href: str) -> bool:
    return not is_remote(href) and os.path.exists(href)  # noqa: PTH110 - Path raises on null bytes


def _read_json(path: Path, left_out: LeftOut) -> Any:
    """Content of a JSON file; None if it is damaged, and left out if it seems to be an item."""
    text = ""
    try:
        text = path.read_bytes().decode("utf-8-sig", "replace")
        return parse_json(text)
    except (OSError, MalformedError) as error:
        if isinstance(error, OSError) or '"stac_version"' in text:
            line = f"{path} cannot be read as JSON, it may be truncated: fetch it again ({error})"
            left_out.add(NO_ITEM, str(path), line)
        return None


def _is_radar_item(content: object) -> bool:
    if not isinstance(content, Mapping) or content.get("type") != "Feature":
        return False
    if "stac_version" not in content:
        return False
    assets, properties = content.get("assets"), content.get("properties")
    has_bands = isinstance(assets, Mapping) and any(
        str(key).upper().endswith(POLARISATIONS) for key in assets
    )
    return has_bands or (
        isinstance(properties, Mapping) and any(str(key).startswith("sar:") for key in properties)
    )


def _usable_items(
    found: Sequence[pystac.Item],
    profiles: Sequence[SceneProfile],
    nodata: float | None,
    left_out: LeftOut,
) -> list[pystac.Item]:
    usable = []
    for item in found:
        with left_out.unusable(item.id):
            normalised = declare_nodata(normalise_item(item, profiles), nodata)
            _check_rasters(normalised)
            state_raster_grid(normalised)
            usable.append(normalised)
    return usable


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
            groups = {**product.groups, "time": profile.format_time(time)}
            yield RasterProduct(written.stem, profile, groups, [(written, None)])


def _check_rasters(item: pystac.Item) -> None:
    """Check that every band of backscatter is in its unit, and that any pixel has data.

    Remote rasters are not read.
    """
    filled = []
    for asset in item.assets.values():
        bands = asset.extra_fields.get("bands", [])
        numbers = {n: b for n, b in enumerate(bands, 1) if b.get("name") in POLARISATIONS}
        if not numbers or "truth" in (asset.roles or []):
            continue
        if is_remote(asset.href):
            return
        for number, band in numbers.items():
            filled.append(_check_band(asset, number, band.get("unit")))
    if filled and not any(filled):
        raise UnusableError(NO_DATA, "")


def _check_band(asset: pystac.Asset, number: int, unit: str | None) -> bool:
    """Check the unit of a band by its values; whether it has data."""
    path, declared = Path(asset.href), check_unit(unit, asset.href)
    nodata = asset.extra_fields.get("nodata")
    missing = None if nodata is None else float(nodata)
    values = sample_backscatter(path, number, missing)
    if not any_data(values):
        return has_data(path, number, missing)
    check_values(asset.href, values, declared)
    return True
