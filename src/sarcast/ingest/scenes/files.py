"""Files of scenes on disk: found, and grouped by scene according to the profiles."""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from sarcast.catalogue.unusable import LEVEL_1, LeftOut
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.containers import snap_header
from sarcast.ingest.scenes.products import RasterProduct
from sarcast.ingest.scenes.profile import MetadataField, SceneProfile
from sarcast.io.folders import walk
from sarcast.io.partials import is_partial
from sarcast.io.rasters import grid_of
from sarcast.sensor import units

RASTER_SUFFIXES = {".tif", ".tiff", ".dim", ".nc"}

_LEVEL_1_ZIP = re.compile(r"S1[A-D]_\w{2}_(GRD|SLC)\w*(\.SAFE)?\.zip")
_COPY = "copy of a scene that is used"
_VARIANT = "another processing of a scene that is used"
_ELSEWHERE = "same name as a scene that is used, but other pixels; rename it to use both"
_MACOS = "metadata of macOS, no raster"
_APPLE_DOUBLE = b"\0\5\x16\7"
_SCENE_NAME = re.compile(r"(?i)s1[a-d]_(?!oper).*\d{8}t\d{6}")
_ARCHIVES = {".zip", ".gz", ".tgz", ".tar", ".7z"}
_OTHER_FORMATS = {".vrt", ".img", ".jp2"}
_PACKED = "archive; unpack it"
_UNREAD = "format that is not read; convert it to GeoTIFF"
_NO_PROFILE = "raster whose name matches no profile"


def find_files(paths: Sequence[Path], left_out: LeftOut) -> list[Path]:
    """Find all files of paths, sorted; folders are searched recursively, and links are followed.

    Level-1 products in SAFE format, and folders and links that lead nowhere, are left out.

    Raises
    ------
    SarcastError
        If a path does not exist, or a folder cannot be read.
    """
    found: set[Path] = set()
    for path in paths:
        if path.is_dir():
            found.update(_files_below(path, left_out))
        elif path.is_file():
            found.add(path)
        else:
            raise SarcastError(f"{path} does not exist; name a raster or a folder of rasters")
    return sorted(found)


def _files_below(folder: Path, left_out: LeftOut) -> Iterator[Path]:
    products: set[Path] = set()
    for below, files in walk(folder, lambda reason, path: left_out.add(reason, str(path))):
        safe = next((part for part in (below, *below.parents) if part.suffix == ".SAFE"), None)
        if safe is None:
            whole = (file for file in files if not is_partial(file.relative_to(folder)))
            yield from (file for file in whole if not _is_apple_double(file, left_out))
        zips = [file for file in files if safe is None and _LEVEL_1_ZIP.fullmatch(file.name)]
        for product in {*zips, *([safe] if safe else [])} - products:
            products.add(product)
            line = f"{product} is a level-1 product: for SAFE folders use sarcast rtc"
            left_out.add(LEVEL_1, str(product), line)


def _is_apple_double(file: Path, left_out: LeftOut) -> bool:
    """Whether macOS wrote a file ``._NAME`` beside NAME; it is then left out."""
    if not file.name.startswith("._") or file.suffix.lower() not in {*RASTER_SUFFIXES, ".json"}:
        return False
    with file.open("rb") as opened:
        if opened.read(len(_APPLE_DOUBLE)) != _APPLE_DOUBLE:
            return False
    left_out.add(_MACOS, str(file), refused=False)
    return True


def _differ_in_grid(first: Path, second: Path) -> bool:
    """Whether two rasters cover other pixels; false if either cannot be read."""
    try:
        return bool(grid_of(first) != grid_of(second))
    except SarcastError:
        return False


def group_products(
    rasters: Sequence[Path],
    profiles: Sequence[SceneProfile],
    declared: Mapping[MetadataField, str],
    left_out: LeftOut,
) -> list[RasterProduct]:
    """Group files by scene, in the order of their names; of several copies one is kept.

    Parameters
    ----------
    rasters
        Files with one of ``RASTER_SUFFIXES``.
    profiles
        Tried in this order.
    declared
        Unit and quantity declared by the user; of several variants of a scene, one of this
        quantity is preferred.
    left_out
        Collects copies, other variants, and rasters that match no profile.
    """
    products: dict[tuple[str, str], RasterProduct] = {}
    for path in _each_once(rasters, profiles):
        match = _match_profile(path, profiles)
        if match is None:
            if not any(profile.is_ancillary(path.name) for profile in profiles):
                left_out.add(_NO_PROFILE, str(path), refused=False)
            continue
        profile, groups = match
        band = groups.pop("band", None)
        name = groups.get("scene", path.stem)
        variant = groups.get("variant", "")
        product = products.setdefault((name, variant), RasterProduct(name, profile, groups))
        if product.profile is not profile or band in product.bands:
            used = next((each for each, name in product.files if name == band), None)
            is_copy = used is None or not _differ_in_grid(path, used)
            left_out.add(_COPY if is_copy else _ELSEWHERE, str(path), refused=not is_copy)
            continue
        product.files.append((path, band))
    return _without_variants(products.values(), declared, left_out)


def _each_once(rasters: Sequence[Path], profiles: Sequence[SceneProfile]) -> Iterator[Path]:
    """Each file once, by the path that is not itself a link, else by a name that a profile reads.

    For example, of a store of files with meaningless names and links to them, the links are used.
    """
    by_file: dict[Path, list[Path]] = {}
    for path in sorted(rasters, key=lambda path: (path.is_symlink(), path)):
        by_file.setdefault(path.resolve(), []).append(path)
    for paths in by_file.values():
        named = (path for path in paths if _match_profile(path, profiles) is not None)
        yield paths[0] if len(paths) == 1 else next(named, paths[0])


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


def _without_variants(
    products: Iterable[RasterProduct], declared: Mapping[MetadataField, str], left_out: LeftOut
) -> list[RasterProduct]:
    """One product of each scene: with the most bands, of gamma0, not in dB, first in name."""

    def rank(product: RasterProduct) -> tuple[int, bool, bool, bool, str]:
        metadata = product.profile.read_metadata(product.groups)
        quantity = metadata.get("quantity")
        return (
            -len(product.files),
            quantity != declared.get("quantity", quantity),
            quantity != "gamma0",
            metadata.get("unit") == units.DB,
            product.groups.get("variant", ""),
        )

    chosen: dict[str, RasterProduct] = {}
    for product in sorted(products, key=lambda product: (product.name, *rank(product))):
        if product.name in chosen:
            for path, _ in product.files:
                left_out.add(_VARIANT, str(path), refused=False)
        else:
            chosen[product.name] = product
    return list(chosen.values())


def name_unread(files: Iterable[Path], used: Collection[str], left_out: LeftOut) -> None:
    """Name scenes in archives and in other formats, which are not read.

    Parameters
    ----------
    files
        All files of a search.
    used
        Names of the scenes that are read; their archives are no loss.
    left_out
        Collects the files.
    """
    for path in files:
        suffix = path.suffix.lower()
        if not _SCENE_NAME.search(path.name) or _LEVEL_1_ZIP.fullmatch(path.name):
            continue
        if suffix in _OTHER_FORMATS:
            left_out.add(_UNREAD, str(path), refused=False)
        elif suffix in _ARCHIVES and not any(path.name.startswith(name) for name in used):
            left_out.add(_PACKED, str(path), refused=False)


def nothing_found(paths: Sequence[Path], rasters: int, profiles: Sequence[SceneProfile]) -> str:
    """Error message for paths without any scene."""
    folders = ", ".join(map(str, paths))
    known = ", ".join(profile.name for profile in profiles if profile.files)
    return (
        f"no Sentinel-1 raster in {folders} ({rasters} other rasters there): expected files of one "
        f"of the profiles {known}, or STAC items beside the rasters; "
        f"describe a source of your own with --profile"
    )
