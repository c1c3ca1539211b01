"""Sentinel-1 GRD products in SAFE folders: opened, and checked for completeness.

References
----------
ESA, Sentinel-1 Product Specification, S1-RS-MDA-52-7441, 3.9.
"""

import datetime as dt
import logging
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import rasterio
import xarray as xr
from rasterio.windows import Window

from sarcast.arrays import Floating
from sarcast.catalogue.scene import POLARISATIONS
from sarcast.catalogue.unusable import OTHER_BANDS, UnusableError
from sarcast.errors import SarcastError
from sarcast.ingest.grd.checks import check_product
from sarcast.ingest.grd.image import Image, Vectors, number, open_measurement, read_noise
from sarcast.ingest.grd.locate import MANIFEST, by_manifest
from sarcast.io.containers import inside
from sarcast.io.documents import read_xml

_log = logging.getLogger(__name__)


_KINDS = {
    "s1Level1ProductSchema": "annotation",
    "s1Level1CalibrationSchema": "calibration",
    "s1Level1NoiseSchema": "noise",
    "s1Level1MeasurementSchema": "measurement",
}


@dataclass(frozen=True)
class Points:
    """Geolocation points of the annotation, on a regular grid of lines and pixels.

    Attributes
    ----------
    lines, pixels
        Line and pixel numbers of the grid.
    latitude, longitude, incidence
        Dims (line, pixel), degrees.
    delay
        Dims (pixel), s: zero-Doppler time of a point less the time of its line.
    """

    lines: Floating
    pixels: Floating
    latitude: Floating
    longitude: Floating
    incidence: Floating
    delay: Floating


@dataclass(frozen=True)
class GrdProduct:
    """A GRD product: its images by polarisation, and their geometry from the annotation.

    Attributes
    ----------
    path
        The SAFE folder.
    attrs
        Metadata as read by xarray-sentinel: mode, pass, orbits, spacings, times.
    images
        By polarisation, VV or HH first.
    position
        State vectors of the satellite, dims (axis, azimuth_time), m.
    conversion
        Polynomials from slant to ground range.
    points
        Geolocation points.
    heading_deg
        Heading of the platform, degrees clockwise from north.
    """

    path: Path
    attrs: Mapping[str, Any]
    images: Mapping[str, Image]
    position: xr.DataArray
    conversion: xr.Dataset
    points: Points
    heading_deg: float

    @property
    def name(self) -> str:
        """Name of the product, without ``.SAFE``."""
        return self.path.name.removesuffix(".SAFE")

    @property
    def time(self) -> dt.datetime:
        """Start of the acquisition, UTC."""
        return dt.datetime.fromisoformat(self.attrs["start_time"]).replace(tzinfo=dt.UTC)

    @property
    def processed(self) -> dt.datetime | None:
        """When the product was made, UTC: the latest end of a step that its manifest lists."""
        steps = read_xml(self.path / MANIFEST).iterfind(".//{*}processing[@stop]")
        stops = [dt.datetime.fromisoformat(str(step.get("stop"))) for step in steps]
        return max(stops).replace(tzinfo=dt.UTC) if stops else None

    @property
    def first_line(self) -> np.datetime64:
        """Zero-Doppler time of the first line."""
        return np.datetime64(self.attrs["product_first_line_utc_time"], "ns")


def import_xarray_sentinel() -> ModuleType:
    """Import xarray-sentinel, a dependency of the extra ``grd``.

    Raises
    ------
    SarcastError
        If it is not installed.
    """
    try:
        import xarray_sentinel
    except ImportError as error:
        raise SarcastError(
            f"GRD products need the extra grd ({error.name} is missing): "
            f"install it with pip install 'sarcast[grd]'"
        ) from error
    module: ModuleType = xarray_sentinel
    return module


def open_product(path: Path) -> GrdProduct:
    """Open a GRD product; the images themselves are read later.

    Parameters
    ----------
    path
        A SAFE folder. A polarisation without any file is left out, with a warning.

    Raises
    ------
    SarcastError
        If it is not a complete GRD product.
    """
    import_xarray_sentinel()
    attrs, files = _manifest(path)
    if attrs["product_type"] != "GRD":
        raise SarcastError(
            f"{path} is a product of type {attrs['product_type']}; expected GRD (ground range "
            f"detected): fetch the GRD product of the same acquisition"
        )
    names = [name for kinds in files.values() for name in kinds.values()]
    with by_manifest(path, names) as folder:
        complete = {
            band: {kind: folder / name for kind, name in files[band].items()}
            for band in POLARISATIONS
            if _is_complete(path, band, folder, files.get(band, {}))
        }
        if not complete:
            raise UnusableError(
                OTHER_BANDS,
                f"{path} contains no image in {', '.join(POLARISATIONS)}; its manifest lists "
                f"{', '.join(sorted(files)) or 'none'}: fetch it again, or another product",
            )
        try:
            product = _read_product(path, folder, attrs, complete)
            check_product(product)
        except SarcastError:
            raise
        except Exception as error:  # xmlschema and xarray-sentinel raise many kinds
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SarcastError(f"{path} is damaged, fetch it again ({reason})") from error
        return product


def _read_product(
    path: Path, folder: Path, attrs: Mapping[str, Any], complete: Mapping[str, Mapping[str, Path]]
) -> GrdProduct:
    """Read the metadata of a product; ``folder`` contains its files as named in the manifest."""
    first = next(iter(complete))
    annotation = read_xml(complete[first]["annotation"])
    for files in complete.values():
        _check_files(files)
    return GrdProduct(
        path=path,
        attrs=_group(folder, attrs, first).attrs,
        images={band: _image(folder, band, files, attrs) for band, files in complete.items()},
        position=_group(folder, attrs, first, "orbit")["position"],
        conversion=_group(folder, attrs, first, "coordinate_conversion"),
        points=_points(annotation),
        heading_deg=number(annotation, ".//platformHeading"),
    )


def _check_files(files: Mapping[str, Path]) -> None:
    """Check the files of an image before xarray-sentinel, which knows no limits, reads them."""
    annotation, *_ = (read_xml(files[kind]) for kind in ("annotation", "calibration", "noise"))
    names = ("numberOfLines", "numberOfSamples")
    stated = tuple(int(number(annotation, f".//{name}")) for name in names)
    with open_measurement(files["measurement"]) as source:
        if source.shape != stated:
            raise ValueError(f"the image has {source.shape} pixels, its annotation {stated}")


def _manifest(path: Path) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """Metadata of the product in its manifest, and its files by polarisation and kind."""
    manifest = inside(path, MANIFEST)
    if not manifest.is_file():
        raise SarcastError(f"{path} is no SAFE folder: it lacks manifest.safe; fetch it again")
    parse = import_xarray_sentinel().esa_safe.parse_manifest_sentinel1
    try:
        read_xml(manifest)
        with manifest.open("rb") as file:  # a path would be parsed once, whatever it holds later
            attrs, listed = parse(file)
    except Exception as error:  # of a damaged one, many kinds
        reason = " ".join(str(error).split())
        raise SarcastError(f"{manifest} cannot be read ({reason}); fetch it again") from error
    files: dict[str, dict[str, str]] = {}
    for name, (kind, _, _, polarisation, _) in listed.items():
        if kind in _KINDS:
            kinds = files.setdefault(polarisation.upper(), {})
            if kinds.setdefault(_KINDS[kind], name) != name:
                raise SarcastError(
                    f"{manifest} lists two files of {polarisation} as {_KINDS[kind]}, expected "
                    f"one; fetch it again"
                )
    return attrs, files


def _is_complete(path: Path, band: str, folder: Path, files: Mapping[str, str]) -> bool:
    missing = [
        f"{kind} ({Path(name).name})"
        for kind, name in files.items()
        if not (folder / name).is_file()
    ]
    if files and not missing:
        return True
    if len(missing) < len(files):
        raise SarcastError(f"{path} lacks the {', the '.join(missing)} of {band}; fetch it again")
    if files:
        _log.warning(f"{path} lists {band} but contains none of its files: {band} is left out")
    return False


def _group(path: Path, attrs: Mapping[str, Any], band: str, name: str = "") -> xr.Dataset:
    group = "/".join([attrs["swaths"][0], band, *([name] if name else [])])
    with rasterio.Env(), warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Dataset has no geotransform"
        )  # it has geolocation points instead
        opened = xr.open_dataset(
            path, engine="sentinel-1", group=group, parse_geospatial_attrs=False
        )
    return opened if not name else opened.load()


def _image(path: Path, band: str, files: Mapping[str, Path], attrs: Mapping[str, Any]) -> Image:
    table = _group(path, attrs, band, "calibration")
    pixels, count = table["pixel"].values.astype(float), table.sizes["line"]
    calibration = Vectors(
        table["line"].values.astype(float), [pixels] * count, list(table["betaNought"].values)
    )
    with open_measurement(files["measurement"]) as source:
        shape = (source.height, source.width)
        source.read(1, window=Window(0, source.height - 1, source.width, 1))  # checks the end
    return Image(files["measurement"].resolve(), shape, calibration, read_noise(files["noise"]))


def _points(annotation: Any) -> Points:
    elements = annotation.findall(".//geolocationGridPoint")
    start = np.datetime64(annotation.findtext(".//productFirstLineUtcTime"), "ns")
    interval = number(annotation, ".//azimuthTimeInterval")
    table = {
        name: np.array([number(point, name) for point in elements])
        for name in ("line", "pixel", "latitude", "longitude", "incidenceAngle")
    }
    lines, pixels = np.unique(table["line"]), np.unique(table["pixel"])
    shape = (lines.size, pixels.size)
    order = np.lexsort((table["pixel"], table["line"]))
    times = np.array([point.findtext("azimuthTime") for point in elements], dtype="datetime64[ns]")
    delay = (times - start) / np.timedelta64(1, "s") - table["line"] * interval
    return Points(
        lines,
        pixels,
        table["latitude"][order].reshape(shape),
        table["longitude"][order].reshape(shape),
        table["incidenceAngle"][order].reshape(shape),
        delay[order].reshape(shape).mean(axis=0),
    )
