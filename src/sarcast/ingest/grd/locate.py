"""Where GRD products lie: SAFE folders and zips of them, folders of them, STAC items of them.

Catalogues name their files otherwise than the product's own manifest does: buckets of AWS and
Planetary Computer keep ``annotation/iw-vv.xml`` for
``annotation/s1a-iw-grd-vv-20200301t051122-...-001.xml``.
"""

import logging
import re
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import unquote, urlsplit

import pystac

from sarcast.catalogue.protocol import read_items
from sarcast.errors import SarcastError
from sarcast.io.files import explain_full_disk, scratch_folder

_log = logging.getLogger(__name__)


MANIFEST = "manifest.safe"

_NAME = re.compile(r"(?P<kind>(\w+-)?)s1[a-d]-(?P<mode>\w+)-grd-(?P<band>[vh]{2})-.*(?P<end>\.\w+)")
_DEEPEST = 3
"""Folders between a product's folder and a file of it."""


def find_products(paths: Sequence[Path]) -> list[Path]:
    """Find products, in the order of their names: their folders, or zips of them.

    Parameters
    ----------
    paths
        SAFE folders, zips of them, folders that are searched at every depth, and JSON files of STAC
        items whose product lies on this machine. Of a zip beside its folder the folder is taken.

    Raises
    ------
    SarcastError
        If there is none, or that of an item is not here.
    """
    found = sorted({product for path in paths for product in _products(path)})
    if not found:
        raise SarcastError(
            f"no Sentinel-1 product in {', '.join(map(str, paths))}: expected a folder whose name "
            f"ends in .SAFE and that holds {MANIFEST}, a zip of one, or the JSON of its STAC item"
        )
    return found


def _products(path: Path) -> Iterator[Path]:
    if path.suffix.lower() == ".json" and path.is_file():
        yield from (_place_of(item, path) for item in read_items(path))
    elif path.suffix.lower() == ".zip" and path.is_file():
        yield path
    elif not path.is_dir():
        raise SarcastError(f"{path} is no folder; name a .SAFE folder, or a folder that holds some")
    elif path.suffix == ".SAFE" or (path / MANIFEST).exists():
        yield path
    else:
        folders = [folder for folder in path.rglob("*.SAFE") if folder.is_dir()]
        names = {folder.stem for folder in folders}
        zips = (
            file for file in path.rglob("S1*.zip") if file.stem.removesuffix(".SAFE") not in names
        )
        yield from (*folders, *zips)


@contextmanager
def unzipped(path: Path, folder: Path) -> Iterator[Path]:
    """Give the folder of a product; that of a zip is unpacked, and goes away at the end.

    Parameters
    ----------
    path
        A folder, or a zip.
    folder
        Where it is unpacked to, which is emptied.

    Raises
    ------
    SarcastError
        If the zip is damaged, or holds no product or several.
    """
    if path.is_dir():
        yield path
        return
    with explain_full_disk(folder.parent), scratch_folder(folder) as work:
        try:
            with zipfile.ZipFile(path) as packed:
                _log.info(f"unpacking {path.name}")
                packed.extractall(work)
        except (zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError) as error:
            raise SarcastError(f"{path} is damaged, fetch it again ({error})") from error
        found = [file.parent for file in sorted(work.rglob(MANIFEST))]
        if len(found) != 1:
            raise SarcastError(
                f"{path} holds {len(found)} folders with a {MANIFEST}; expected the zip of one "
                f"product, or unzip it and name its .SAFE folders"
            )
        yield found[0]


# --- items ----------------------------------------------------------------------------------------


def _place_of(item: pystac.Item, source: Path) -> Path:
    """Folder or zip of an item's product: where its assets lie, or beside the item by its name."""
    hrefs = [asset.get_absolute_href() or asset.href for asset in item.assets.values()]
    files = [file for href in hrefs if (file := _local(href)) is not None]
    places = [parent for file in files for parent in (file, *file.parents[:_DEEPEST])]
    beside = source.resolve().parent
    places += [beside / f"{item.id}{end}" for end in (".SAFE", "", ".zip", ".SAFE.zip")]
    for place in places:
        if (place / MANIFEST).is_file() or (place.suffix == ".zip" and place.is_file()):
            return place
    told = next((href for href in hrefs if href.endswith(MANIFEST)), next(iter(hrefs), "nowhere"))
    raise SarcastError(
        f"the product of {source} is not on this machine (it tells of {told}): download the whole "
        f"folder or zip of {item.id}, and name it, or lay it beside the item as {item.id}.SAFE"
    )


def _local(href: str) -> Path | None:
    """Path of an href; of ``s3://eodata/..`` that under which Copernicus mounts the bucket."""
    parts = urlsplit(href)
    if parts.scheme == "s3":
        return Path("/", parts.netloc, parts.path.lstrip("/"))
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return None if parts.scheme else Path(href)


# --- files under other names than the manifest's -----------------------------------------------


@contextmanager
def by_manifest(path: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give the folder of a product in which its files have the names of its manifest.

    Parameters
    ----------
    path
        The product.
    names
        Its files as the manifest names them.

    Yields
    ------
    Path
        The folder itself, or a passing one of links where its files have short names.
    """
    files = {name: path / (name if (path / name).is_file() else _short(name)) for name in names}
    if all(file == path / name or not file.is_file() for name, file in files.items()):
        yield path
        return
    with TemporaryDirectory(prefix="sarcast-") as folder:
        for name, file in {MANIFEST: path / MANIFEST, **files}.items():
            if file.is_file():
                (Path(folder) / name).parent.mkdir(parents=True, exist_ok=True)
                (Path(folder) / name).symlink_to(file.resolve())
        yield Path(folder)


def _short(name: str) -> str:
    """The name of a file in the buckets of AWS and Planetary Computer."""
    folder, slash, file = name.rpartition("/")
    found = _NAME.fullmatch(file)
    return name if found is None else f"{folder}{slash}{found.expand(_SHORT)}"


_SHORT = r"\g<kind>\g<mode>-\g<band>\g<end>"
