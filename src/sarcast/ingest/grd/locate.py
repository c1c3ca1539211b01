"""Locates GRD products: SAFE folders, zips of them, folders that contain them, STAC items.

Some catalogues rename the files of a product: buckets of AWS and Planetary Computer store
``annotation/s1a-iw-grd-vv-20200301t051122-...-001.xml`` as ``annotation/iw-vv.xml``.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import pystac

from sarcast.catalogue.hrefs import absolute, is_url
from sarcast.catalogue.parse import read_items
from sarcast.errors import SarcastError
from sarcast.io.containers import inside, members, opened_zip, unpack_member
from sarcast.io.files import explain_full_disk, scratch_folder
from sarcast.io.folders import walk

_log = logging.getLogger(__name__)


MANIFEST = "manifest.safe"

_NAME = re.compile(r"(?P<kind>(\w+-)?)s1[a-d]-(?P<mode>\w+)-grd-(?P<band>[vh]{2})-.*(?P<end>\.\w+)")
_MAX_DEPTH = 3
"""Greatest number of levels from a file of a product up to the product's folder."""


def find_products(paths: Sequence[Path]) -> list[Path]:
    """Find products, sorted by path: their folders, or zips of them.

    Parameters
    ----------
    paths
        SAFE folders, zips of them, folders (searched recursively), and JSON files of STAC items
        whose product is on this machine. If a zip lies beside its folder, the folder is used.

    Raises
    ------
    SarcastError
        If there is none, or if the product of an item is not on this machine.
    """
    products = sorted({product for path in paths for product in _products(path)})
    if not products:
        raise SarcastError(
            f"no Sentinel-1 product in {', '.join(map(str, paths))}: expected a folder whose name "
            f"ends in .SAFE and that contains {MANIFEST}, a zip of one, or the JSON of its STAC "
            f"item"
        )
    return products


def _products(path: Path) -> Iterator[Path]:
    if path.suffix.lower() == ".json" and path.is_file():
        yield from (_item_product(item, path) for item in read_items(path))
    elif path.suffix.lower() == ".zip" and path.is_file():
        yield path
    elif not path.is_dir():
        raise SarcastError(
            f"{path} is not a folder; name a .SAFE folder, or a folder that contains some"
        )
    elif path.suffix == ".SAFE" or (path / MANIFEST).exists():
        yield path
    else:
        yield from _products_below(path)


def _products_below(path: Path) -> Iterator[Path]:
    """Products in a folder; links are followed."""
    below = list(walk(path))
    folders = [folder for folder, _ in below if folder.suffix == ".SAFE"]
    names = {folder.stem for folder in folders}
    zips = [
        file
        for folder, files in below
        for file in files
        if fnmatch(file.name, "S1*.zip") and file.stem.removesuffix(".SAFE") not in names
    ]
    yield from (*folders, *zips)


@contextmanager
def unzipped(path: Path, folder: Path) -> Iterator[Path]:
    """Give the folder of a product; a zip is unpacked into a folder that is deleted at the end.

    Parameters
    ----------
    path
        A folder, or a zip.
    folder
        Folder to unpack to; it is emptied first.

    Raises
    ------
    SarcastError
        If the zip is damaged, encrypted, too large or leads out of the folder, or if it does not
        contain exactly one product.
    """
    if path.is_dir():
        yield path
        return
    with explain_full_disk(folder.parent), scratch_folder(folder) as work:
        with opened_zip(path) as packed:
            _log.info(f"unpacking {path.name}")
            for member in members(packed, path, work):
                unpack_member(packed, member, inside(work, member.filename, path))
        products = [file.parent for file in sorted(work.rglob(MANIFEST))]
        if len(products) != 1:
            raise SarcastError(
                f"{path} contains {len(products)} folders with a {MANIFEST}; expected the zip of "
                f"one product: unzip it and name its .SAFE folders"
            )
        yield products[0]


# --- items ----------------------------------------------------------------------------------------


def _item_product(item: pystac.Item, source: Path) -> Path:
    """Folder or zip of an item's product: around its assets, or beside the item by its id."""
    hrefs = [asset.get_absolute_href() or asset.href for asset in item.assets.values()]
    files = [file for href in hrefs if (file := _local(href)) is not None]
    candidates = [parent for file in files for parent in (file, *file.parents[:_MAX_DEPTH])]
    beside = source.resolve().parent
    candidates += [beside / f"{item.id}{end}" for end in (".SAFE", "", ".zip", ".SAFE.zip")]
    for path in candidates:
        if (path / MANIFEST).is_file() or (path.suffix == ".zip" and path.is_file()):
            return path
    href = next((href for href in hrefs if href.endswith(MANIFEST)), next(iter(hrefs), "no asset"))
    raise SarcastError(
        f"the product of {source} is not on this machine (it refers to {href}): download the whole "
        f"folder or zip of {item.id}, and name it, or put it beside the item as {item.id}.SAFE"
    )


def _local(href: str) -> Path | None:
    """Local path of an href; ``s3://eodata/..`` is ``/eodata/..``, where Copernicus mounts it."""
    parts = urlsplit(href)
    if parts.scheme == "s3":
        return Path("/", parts.netloc, parts.path.lstrip("/"))
    found = absolute(href, "")
    return None if is_url(found) else Path(found)


# --- files with other names than in the manifest ------------------------------------------------


@contextmanager
def by_manifest(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder of a product in which files have the names of the manifest.

    Parameters
    ----------
    path
        The product.
    names
        Files of the product as named in the manifest.

    Yields
    ------
    Path
        The folder itself, or a temporary folder of links if its files have short names.

    Raises
    ------
    SarcastError
        If a name or a link leads out of the product.
    """
    files = {
        name: inside(path, name if inside(path, name).is_file() else _short_name(name))
        for name in names
    }
    if all(file == path / name or not file.is_file() for name, file in files.items()):
        yield path
        return
    with TemporaryDirectory(prefix="sarcast-") as folder:
        for name, file in {MANIFEST: path / MANIFEST, **files}.items():
            if file.is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).symlink_to(file.resolve())
        yield Path(folder)


def _short_name(name: str) -> str:
    """Name of a file in the buckets of AWS and Planetary Computer."""
    folder, slash, file = name.rpartition("/")
    match = _NAME.fullmatch(file)
    return name if match is None else f"{folder}{slash}{match.expand(_SHORT)}"


_SHORT = r"\g<kind>\g<mode>-\g<band>\g<end>"
