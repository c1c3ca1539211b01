"""Mutated SAFE folders of GRD products, given to ``sarcast rtc``."""

import os
import shutil
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import rasterio
from affine import Affine
from rasterio.control import GroundControlPoint

from sarcast.ingest.grd import open_product, product_grid
from sarcast.io.cogs import write_cog

from .harness import Call, Kind
from .mutate import Rng, mutate_tiff, mutate_xml
from .seeds import GRID

NAME = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371.SAFE"
ELSEWHERE = "26.9,62.2,27.0,62.3"
"""An area that the product does not cover, so that ``rtc`` opens it and no more."""
_LINES, _PIXELS = 30, 40
_NEEDED = {"orbitList", "coordinateConversionList", "calibrationVectorList", "noiseRangeVectorList"}
"""Lists of which a product needs several elements."""


def product() -> Path:
    """The real product that a small one is made from."""
    data = Path(os.environ.get("SARCAST_TEST_DATA", "../../shared/data"))
    return data / "grd" / NAME


def write_small_product(folder: Path) -> Path:
    """Write the real product with few vectors and points, and a small measurement."""
    source, safe = product().resolve(), folder / NAME
    for path in source.rglob("*"):
        target = safe / path.relative_to(source)
        if path.suffix in (".xml", ".safe"):
            data = path.read_bytes()
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(_thinned(data) if path.suffix == ".xml" else data)
        elif path.suffix == ".tiff":
            _write_measurement(target)
    return safe


def _thinned(data: bytes) -> bytes:
    """XML with the first elements and numbers of every list; points on a grid of 2 by 3."""
    for prefix, uri in _namespaces(data):
        ElementTree.register_namespace(prefix, uri)
    tree = ElementTree.fromstring(data)
    for element in tree.iter():
        for number, child in enumerate(list(element) if element.tag.endswith("List") else []):
            if child.tag == "geolocationGridPoint":
                keep = int(child.findtext("line") or 0) < 3000
                keep &= int(child.findtext("pixel") or 0) < 3500
            else:
                keep = number < (4 if element.tag in _NEEDED else 1)
            if not keep:
                element.remove(child)
        if element.tag in ("numberOfSamples", "numberOfLines"):
            element.text = str(_PIXELS if element.tag == "numberOfSamples" else _LINES)
        if element.get("count") and len(element):
            element.set("count", str(len(element)))
        elif element.get("count") and element.text:
            numbers = element.text.split()[:4]
            element.text = " ".join(numbers)
            element.set("count", str(len(numbers)))
    return ElementTree.tostring(tree)


def _namespaces(data: bytes) -> list[tuple[str, str]]:
    found = ElementTree.iterparse(BytesIO(data), events=("start-ns",))
    return [names for _, names in found]


def _write_measurement(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    corners = [(0, 0, 12.0, 42.0), (0, 39, 12.1, 42.0), (29, 0, 12.0, 41.9), (29, 39, 12.1, 41.9)]
    gcps = [GroundControlPoint(row, col, x, y) for row, col, x, y in corners]
    with rasterio.open(
        path, "w", driver="GTiff", count=1, dtype="uint16", height=_LINES, width=_PIXELS,
        gcps=gcps, crs="EPSG:4326", transform=Affine(2, 0, 0, 0, -2, 0),
    ) as target:  # fmt: skip
        target.write(np.full((_LINES, _PIXELS), 200, np.uint16), 1)


class Safe(Kind):
    """A product in which one or two files are mutated, moved or gone."""

    name = "safe"

    @classmethod
    def missing(cls) -> str:
        return "" if product().is_dir() else f"{product()}; set SARCAST_TEST_DATA"

    def prepare(self) -> None:
        open_product(write_small_product(self.seeds))
        write_cog(self.seeds / "dem.tif", np.zeros(GRID.shape, np.float32), GRID)

    def case(self, folder: Path, rng: Rng) -> Call:
        safe = folder / "in" / NAME
        shutil.copytree(self.seeds / NAME, safe, copy_function=os.link)
        files = sorted(path for path in safe.rglob("*") if path.is_file())
        for index in sorted(set(rng.integers(len(files), size=int(rng.integers(1, 3))).tolist())):
            _mutate_file(files[index], rng)
        if rng.integers(50) == 0:
            dem = str(self.seeds / "dem.tif")
            return ["rtc", "in", "--to", "out", "--dem", dem, "--area", ELSEWHERE]
        return lambda: _open(Path("in") / NAME)


def _mutate_file(path: Path, rng: Rng) -> None:
    data, kind = path.read_bytes(), int(rng.integers(12))
    path.unlink()
    if kind == 0:
        return
    if kind == 1:
        path.mkdir()
    elif kind == 2:
        path.symlink_to(("/etc/passwd", "..", path.name, "/dev/zero")[rng.integers(4)])
    elif kind == 3:
        path.with_name(path.name.upper()).write_bytes(data)
    elif path.name == "manifest.safe" and kind < 7:
        hrefs = (b'"/tmp/escaped/', b'"../../escaped/', b'"./../../../', b'"C:\\escaped\\')
        path.write_bytes(data.replace(b'"./', hrefs[rng.integers(4)]))
    elif path.suffix == ".tiff":
        path.write_bytes(mutate_tiff(data, rng))
    else:
        path.write_bytes(mutate_xml(data, rng))


def _open(path: Path) -> None:
    product = open_product(path)
    for image in product.images.values():
        image.beta0(slice(0, 2), slice(0, 8))
    product_grid(product, 20.0, None)
