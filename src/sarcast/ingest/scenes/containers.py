"""File formats that hold the bands of a scene: GeoTIFF, SNAP GeoTIFF, BEAM-DIMAP."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element

import tifffile

from sarcast.errors import SarcastError
from sarcast.io.containers import inside
from sarcast.io.documents import MalformedError, parse_xml, read_xml
from sarcast.io.masks import mask_band
from sarcast.io.rasters import open_raster

SNAP_HEADER_TAG = 65000
"""Private TIFF tag in which SNAP stores the BEAM-DIMAP header, as XML."""


@dataclass(frozen=True)
class ContainerLayer:
    """One band of a file: path, band number from 1, name, and value of missing pixels.

    ``is_mask`` says that it masks the other bands.
    """

    path: Path
    number: int
    name: str
    nodata: float | None = None
    is_mask: bool = False


@dataclass(frozen=True)
class Container:
    """The bands of a file, in their order, and the file's tags."""

    layers: tuple[ContainerLayer, ...]
    tags: Mapping[str, str]


def open_container(path: Path) -> Container:
    """Read the bands and tags of a file, but no pixels.

    Parameters
    ----------
    path
        A GeoTIFF, or the ``.dim`` file of a BEAM-DIMAP product.

    Raises
    ------
    SarcastError
        If the file cannot be read, has no CRS, or refers to missing files.
    """
    if path.suffix == ".dim":
        return _open_dimap(path)
    with open_raster(path) as source:
        descriptions, mask = source.descriptions, mask_band(source)
        tags = {str(key): str(value) for key, value in source.tags().items()}
    header = snap_header(path)
    infos = {} if header is None else _band_infos(header)
    if header is None or len(infos) != len(descriptions):
        named = (
            ContainerLayer(path, number, text or "", is_mask=number == mask)
            for number, text in enumerate(descriptions, start=1)
        )
        return Container(tuple(named), tags)
    layers = tuple(
        ContainerLayer(path, number, name, nodata)
        for number, (name, nodata) in enumerate(infos.values(), start=1)
    )
    return Container(layers, {**tags, **_attributes(header)})


def snap_header(path: Path) -> Element | None:
    """BEAM-DIMAP header that SNAP stores in a TIFF; None if there is none."""
    try:
        with _logger_disabled("tifffile"), tifffile.TiffFile(path) as file:
            tag = file.pages.first.tags.get(SNAP_HEADER_TAG)
            value = None if tag is None else tag.value
    except Exception:  # tifffile raises many kinds
        return None  # a damaged file is reported where its pixels are read
    if value is None:
        return None
    text = value if isinstance(value, str) else bytes(value).decode("utf-8", "replace")
    try:
        return parse_xml(text.strip("\0 \n").encode())
    except MalformedError:
        return None


@contextmanager
def _logger_disabled(name: str) -> Iterator[None]:
    """Disable a library's logger for a while."""
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _open_dimap(path: Path) -> Container:
    try:
        header = read_xml(path)
    except (OSError, MalformedError) as error:
        raise SarcastError(f"{path} cannot be read as BEAM-DIMAP: {error}") from error
    infos = _band_infos(header)
    layers = []
    for data in header.iterfind(".//Data_File"):
        reference, index = data.find("DATA_FILE_PATH"), data.findtext("BAND_INDEX", "")
        if reference is None or index not in infos:
            continue
        image = inside(path.parent, reference.get("href", "")).with_suffix(".img")
        if not image.is_file():
            raise SarcastError(
                f"{path} refers to {image}, which does not exist; keep the .data folder beside "
                f"the .dim file"
            )
        layers.append(ContainerLayer(image, 1, *infos[index]))
    return Container(tuple(layers), _attributes(header))


def _band_infos(header: Element) -> dict[str, tuple[str, float | None]]:
    """Name and missing value of each band by its index, in the order of the bands."""
    infos = {}
    for info in header.iterfind(".//Spectral_Band_Info"):
        used = info.findtext("NO_DATA_VALUE_USED", "false").strip().lower() == "true"
        nodata = float(info.findtext("NO_DATA_VALUE", "nan")) if used else None
        infos[info.findtext("BAND_INDEX", "")] = (info.findtext("BAND_NAME", "").strip(), nodata)
    return dict(sorted(infos.items(), key=lambda item: int(item[0] or 0)))


def _attributes(header: Element) -> dict[str, str]:
    """Top-level attributes of the abstracted metadata."""
    return {
        attribute.get("name", ""): (attribute.text or "").strip()
        for metadata in header.iter("MDElem")
        if metadata.get("name") == "Abstracted_Metadata"
        for attribute in metadata.findall("MDATTR")
    }
