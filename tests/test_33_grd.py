"""GRD products: calibration, noise and geometry against values computed from a real annotation."""

import datetime as dt
import json
import re
import shutil
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pystac
import pytest
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import box, point
from rasterio.errors import NotGeoreferencedWarning
from rasterio.windows import Window

from conftest import GRID
from sarcast.catalogue import FolderCatalogue
from sarcast.cli import main
from sarcast.cube import open_cube
from sarcast.errors import SarcastError
from sarcast.ingest import grd
from sarcast.ingest.grd import image as images
from sarcast.ingest.grd import product as products
from sarcast.ingest.grd import rtc, view
from sarcast.ingest.grd.checks import check_product
from sarcast.io.cogs import write_cog
from sarcast.io.files import exclusive
from sarcast.io.footprint import bounding_box

DN = 200
BRIGHT = 60_000
SPACING = 20.0
NAME = "S1B_IW_GRDH_1SDV_20211223T051122_20211223T051147_030148_039993_5371"
POINTS = ((2, 2), (5, 10), (8, 19))
"""Rows and columns of the annotation's geolocation points that are tested."""


# --- a single image ------------------------------------------------------------------------------


def constant_vectors(value: float, lines: int, pixels: int) -> images.Vectors:
    ends = np.array([0.0, pixels - 1.0])
    return images.Vectors(np.array([0.0, lines - 1.0]), [ends] * 2, [np.full(2, value)] * 2)


def make_image(path: Path, numbers: np.ndarray, noise: images.Noise | None = None) -> images.Image:
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=numbers.shape[0],
        width=numbers.shape[1],
        count=1,
        dtype="uint16",
        transform=Affine(2, 0, 0, 0, -2, 0),
    ) as target:
        target.write(numbers.astype(np.uint16), 1)
    noise = images.Noise(constant_vectors(400.0, *numbers.shape), ()) if noise is None else noise
    return images.Image(path, numbers.shape, constant_vectors(50.0, *numbers.shape), noise)


def whole_beta0(image: images.Image) -> np.ndarray:
    return image.beta0(*(slice(0, size) for size in image.shape))


def test_beta0_is_the_squared_number_less_noise_over_the_squared_calibration(tmp_path):
    numbers = np.full((30, 40), 100)
    numbers[10, 10] = 10  # below the noise, but inside the image: kept, and negative
    numbers[20, 20] = 0
    beta = whole_beta0(make_image(tmp_path / "a.tif", numbers))
    assert beta[5, 5] == pytest.approx((100.0**2 - 400.0) / 50.0**2)
    assert beta[10, 10] == pytest.approx((10.0**2 - 400.0) / 50.0**2)
    assert np.isnan(beta[20, 20]) and np.isnan(beta).sum() == 1


def test_vectors_are_linear_along_both_axes_and_constant_beyond_their_ends():
    vectors = images.Vectors(
        np.array([0.0, 10.0, 30.0]),
        [np.array([0.0, 20.0]), np.array([0.0, 10.0, 20.0]), np.array([0.0, 20.0])],
        [np.array([0.0, 20.0]), np.array([10.0, 25.0, 30.0]), np.array([50.0, 50.0])],
    )
    values = vectors.at(slice(0, 40), slice(0, 25))
    assert values[0, :21] == pytest.approx(np.arange(21))
    assert values[10, 5] == pytest.approx(17.5)
    assert values[5, 10] == pytest.approx((10.0 + 25.0) / 2)
    assert values[20, 15] == pytest.approx((27.5 + 50.0) / 2)
    assert (values[30:] == 50.0).all() and (values[:1, 20:] == 20.0).all()
    part = vectors.at(slice(7, 12), slice(3, 9))
    assert (part == values[7:12, 3:9]).all()


def test_noise_along_azimuth_is_a_factor_on_the_pixels_of_its_swath(tmp_path):
    blocks = [
        images.AzimuthBlock(slice(0, 30), slice(0, 20), np.array([0, 29]), np.array([1.0, 2.0])),
        images.AzimuthBlock(slice(0, 30), slice(20, 40), np.array([0, 29]), np.array([3.0, 3.0])),
    ]
    noise = images.Noise(constant_vectors(400.0, 30, 40), blocks)
    values = noise.at(slice(10, 25), slice(15, 30))
    assert values[0, 4] == pytest.approx(400.0 * (1.0 + 10.0 / 29.0))
    assert values[14, 5] == pytest.approx(1200.0)


def bordered() -> np.ndarray:
    """An image with noise at all its borders, and a dark lake inside."""
    numbers = np.full((1100, 1300), 100)
    numbers[:, :37] = 12
    numbers[:, -21:] = 7
    numbers[:5] = 3
    numbers[-9:] = 15
    numbers[540:550, 600:700] = 5
    numbers[60, 20] = 90  # above the noise
    return numbers


def test_border_noise_is_cut_from_each_side_and_dark_ground_inside_is_kept(tmp_path):
    beta = whole_beta0(make_image(tmp_path / "a.tif", bordered()))
    valid = np.isfinite(beta)
    expected = np.zeros_like(valid)
    expected[5:-9, 37:-21] = True
    expected[60, 20] = True
    assert (valid == expected).all()
    assert beta[545, 650] < 0.0


def test_parts_of_an_image_are_those_of_the_whole(tmp_path):
    image = make_image(tmp_path / "a.tif", bordered())
    whole = whole_beta0(image)
    for lines, pixels in ((slice(3, 9), slice(30, 50)), (slice(1060, 1100), slice(1250, 1300))):
        np.testing.assert_array_equal(image.beta0(lines, pixels), whole[lines, pixels])


def test_noise_of_old_products_is_read_and_zero_noise_is_none(tmp_path):
    vector = (
        "<noiseVector><line>{}</line><pixel>0 9</pixel><noiseLut>{} {}</noiseLut></noiseVector>"
    )
    old = tmp_path / "old.xml"
    old.write_text(f"<noise>{vector.format(0, 4, 8)}{vector.format(5, 4, 8)}</noise>")
    assert images.read_noise(old).at(slice(0, 2), slice(0, 10))[1, 9] == pytest.approx(8.0)
    old.write_text(f"<noise>{vector.format(0, 0, 0)}</noise>")
    assert images.read_noise(old).along_range is None
    assert (images.read_noise(old).at(slice(0, 2), slice(0, 3)) == 0.0).all()


def test_facets_distribute_their_whole_area_over_four_cells():
    along, across = np.meshgrid(np.arange(0.0, 30.0, 0.5), np.arange(0.0, 30.0, 0.5))
    even = view._distribute(along + 0.2, across + 0.7, np.ones(along.shape))
    assert even[8:-8, 8:-8] == pytest.approx(np.full((44, 44), 4.0), abs=1e-9)
    # one facet at a quarter of a cell, sampled at the nodes around it
    positions = np.array([[5.25, 5.0, 6.0, 5.0, 6.0]]), np.array([[7.5, 7.0, 7.0, 8.0, 8.0]])
    single = view._distribute(*positions, np.array([[1.0, 0.0, 0.0, 0.0, 0.0]]))
    assert single[0, 1:] == pytest.approx([0.375, 0.125, 0.375, 0.125])


# --- a real product, its blank measurement filled ------------------------------------------------


@pytest.fixture(scope="module")
def annotation(data_dir: Path) -> Path:
    return data_dir / "grd" / f"{NAME}.SAFE"


def tree(safe: Path, kind: str = "") -> ElementTree.ElementTree:
    part = safe / "annotation" / "calibration" if kind else safe / "annotation"
    return ElementTree.parse(next(part.glob(f"{kind}*vv*.xml")))


def geolocation(safe: Path) -> dict[tuple[int, int], SimpleNamespace]:
    """The annotation's geolocation points by row and column."""
    elements = list(tree(safe).iter("geolocationGridPoint"))
    names = ("line", "pixel", "latitude", "longitude", "height", "incidenceAngle")
    points = [SimpleNamespace(**{n: float(each.findtext(n)) for n in names}) for each in elements]
    lines = sorted({each.line for each in points})
    pixels = sorted({each.pixel for each in points})
    return {(lines.index(p.line), pixels.index(p.pixel)): p for p in points}


def number_at(vectors: list[ElementTree.Element], name: str, line: float, pixel: float) -> float:
    """A table of the annotation, linear between its vectors and along them."""
    lines = [float(each.findtext("line")) for each in vectors]
    rows = [
        np.interp(pixel, *(np.array(each.findtext(n).split(), float) for n in ("pixel", name)))
        for each in vectors
    ]
    return float(np.interp(line, lines, rows))


def noise_at(safe: Path, line: float, pixel: float) -> float:
    noise = tree(safe, "noise")
    along = number_at(noise.findall(".//noiseRangeVector"), "noiseRangeLut", line, pixel)
    for each in noise.findall(".//noiseAzimuthVector"):
        ends = [int(each.findtext(f"{end}RangeSample")) for end in ("first", "last")]
        if ends[0] <= pixel <= ends[1]:
            pair = [np.array(each.findtext(n).split(), float) for n in ("line", "noiseAzimuthLut")]
            return along * float(np.interp(line, *pair))
    raise AssertionError


@pytest.fixture(scope="module")
def safe(annotation: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real product with a constant measurement, and a bright pixel at some of its points."""
    folder = tmp_path_factory.mktemp("safe") / f"{NAME}.SAFE"
    shutil.copytree(annotation, folder)
    measurement = next(folder.glob("measurement/*.tiff"))
    with images.open_measurement(measurement) as blank:
        shape = blank.shape
    measurement.parent.chmod(0o755)
    measurement.unlink()
    bright = [each for index, each in geolocation(folder).items() if index in POINTS]
    profile = {"driver": "GTiff", "count": 1, "dtype": "uint16", "compress": "zstd"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # as the product's own
        with rasterio.open(
            measurement, "w", **profile, height=shape[0], width=shape[1], blockysize=256
        ) as target:
            for first in range(0, shape[0], 256):
                numbers = np.full((min(256, shape[0] - first), shape[1]), DN, dtype=np.uint16)
                for gcp in bright:
                    if first <= gcp.line < first + len(numbers):
                        numbers[round(gcp.line) - first, round(gcp.pixel)] = BRIGHT
                window = Window(0, first, shape[1], len(numbers))
                target.write(numbers, 1, window=window)
    return folder


@pytest.fixture(scope="module")
def product(safe: Path) -> grd.GrdProduct:
    return grd.open_product(safe)


@pytest.fixture
def flat(tmp_path: Path) -> Callable[..., Path]:
    """Write a DEM, or a geoid, of one height around a point."""

    def write(height: float, near: SimpleNamespace, name: str = "dem.tif") -> Path:
        corner = Affine(0.01, 0.0, near.longitude - 0.2, 0.0, -0.01, near.latitude + 0.2)
        with rasterio.open(
            tmp_path / name, "w", driver="GTiff", height=40, width=40, count=1, dtype="float32",
            crs="EPSG:4326", transform=corner,
        ) as target:  # fmt: skip
            target.write(np.full((40, 40), height, dtype=np.float32), 1)
        return tmp_path / name

    return write


def around(gcp: SimpleNamespace, spacing: float = SPACING, pixels: int = 60) -> GeoBox:
    """A small grid in UTM around a geolocation point."""
    zone = int((gcp.longitude + 180.0) // 6.0) + 1
    middle = point(gcp.longitude, gcp.latitude, "EPSG:4326").to_crs(f"EPSG:{32600 + zone}")
    x, y = (round(each / spacing) * spacing for each in middle.coords[0])
    half = pixels * spacing / 2
    return GeoBox.from_bbox(
        (x - half, y - half, x + half, y + half), crs=middle.crs, resolution=spacing
    )


def gamma0_vv(product: grd.GrdProduct, grid: GeoBox, heights: np.ndarray | float) -> np.ndarray:
    height = np.broadcast_to(np.asarray(heights, float), grid.shape)
    return rtc.gamma0(view.ViewGeometry(product), grid, height, product.images)["VV"]


@pytest.mark.parametrize("line", [0, 5000, 16704])
@pytest.mark.parametrize("pixel", [10, 8889, 8890, 17701, 26101])
def test_calibration_and_noise_are_those_of_the_annotation(product, safe, line, pixel):
    scale = number_at(
        tree(safe, "calibration").findall(".//calibrationVector"), "betaNought", line, pixel
    )
    expected = (DN**2 - noise_at(safe, line, pixel)) / scale**2
    beta = product.images["VV"].beta0(slice(line, line + 1), slice(pixel, pixel + 1))
    assert float(beta[0, 0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("index", POINTS)
def test_gamma0_of_flat_ground_is_beta0_by_the_annotations_incidence(product, safe, index):
    gcp = geolocation(safe)[index]
    vectors = tree(safe, "calibration").findall(".//calibrationVector")
    scales = [number_at(vectors, n, gcp.line, gcp.pixel) for n in ("betaNought", "gamma")]
    beta, table = ((DN**2 - noise_at(safe, gcp.line, gcp.pixel)) / s**2 for s in scales)
    gamma = gamma0_vv(product, around(gcp), gcp.height)[20:40, 20:40]
    level = float(np.median(gamma))  # robust to the bright pixel
    expected = beta * np.tan(np.radians(gcp.incidenceAngle))
    assert 10 * np.log10(level / expected) == pytest.approx(0.0, abs=0.02)
    # the annotation's own table of gamma assumes the mean height of the scene everywhere
    assert 10 * np.log10(level / table) == pytest.approx(0.0, abs=0.06)


@pytest.mark.parametrize("index", POINTS)
@pytest.mark.parametrize(("spacing", "within_m"), [(10.0, 2.5), (20.0, 6.0)])
def test_a_point_target_lies_at_its_annotated_position(product, safe, index, spacing, within_m):
    gcp = geolocation(safe)[index]
    grid = around(gcp, spacing, 40)
    gamma = gamma0_vv(product, grid, gcp.height)
    excess = np.where(gamma > 3.0 * np.median(gamma), gamma - np.median(gamma), 0.0)
    row, column = (
        float((np.indices(gamma.shape)[axis] * excess).sum() / excess.sum()) for axis in (0, 1)
    )
    expected = point(gcp.longitude, gcp.latitude, "EPSG:4326").to_crs(grid.crs).coords[0]
    x, y = grid.transform * (column + 0.5, row + 0.5)
    assert np.hypot(x - expected[0], y - expected[1]) < within_m


@pytest.mark.parametrize("slope_deg", [-15.0, -5.0, 5.0, 15.0])
def test_gamma0_of_a_slope_follows_its_own_incidence(product, safe, slope_deg):
    # The illuminated area of a plane tilted along range is cot(local incidence) per slant area.
    gcp = geolocation(safe)[5, 10]
    away = SimpleNamespace(**{**vars(gcp), "latitude": gcp.latitude + 0.04})
    grid = around(away, SPACING, 200)
    look = np.radians(product.heading_deg + 90.0)
    y, x = np.meshgrid(*(np.arange(200) - 100.0,) * 2, indexing="ij")
    range_m = SPACING * (x * np.sin(look) - y * np.cos(look))
    heights = gcp.height + np.tan(np.radians(slope_deg)) * range_m
    middle = (slice(95, 105), slice(95, 105))
    flat_db, slope_db = (
        10 * np.log10(gamma0_vv(product, grid, each)[middle].mean())
        for each in (gcp.height, heights)
    )
    angle = np.radians(gcp.incidenceAngle)
    # a slope that rises away from the sensor faces it
    expected = np.tan(angle - np.radians(slope_deg)) / np.tan(angle)
    assert slope_db - flat_db == pytest.approx(10 * np.log10(expected), abs=0.1)


def test_ground_that_faces_away_lies_in_shadow(product, safe):
    gcp = geolocation(safe)[5, 10]
    grid = around(gcp, SPACING, 60)
    look = np.radians(product.heading_deg + 90.0)
    y, x = np.meshgrid(*(np.arange(60) - 30.0,) * 2, indexing="ij")
    range_m = SPACING * (x * np.sin(look) - y * np.cos(look))
    gamma = gamma0_vv(product, grid, gcp.height - np.tan(np.radians(75.0)) * range_m)
    assert np.isnan(gamma[20:40, 20:40]).all()


def test_unknown_heights_give_no_image_and_change_nothing_elsewhere(product, safe):
    gcp = geolocation(safe)[5, 10]
    grid = around(gcp, SPACING, 80)
    heights = np.full(grid.shape, gcp.height)
    whole = gamma0_vv(product, grid, heights)
    heights[40:44, 10:14] = np.nan
    holed = gamma0_vv(product, grid, heights)
    assert np.isnan(holed[40:44, 10:14]).all()
    assert np.isnan(holed).sum() < 100
    assert holed[:30] == pytest.approx(whole[:30], rel=1e-6)


def test_tiles_change_nothing(product, safe, flat, tmp_path, monkeypatch):
    gcp = geolocation(safe)[5, 10]
    grid = around(gcp, SPACING, 90)
    terrain = rtc.Terrain([str(flat(gcp.height, gcp))], rtc.RtcOptions())
    whole = gamma0_vv(product, grid.pad(30), gcp.height)[30:-30, 30:-30]
    monkeypatch.setattr(rtc, "_TILE", 37)
    scene = rtc.make_scene(product, grid, terrain, tmp_path / "out")
    with rasterio.open(scene.rasters["vv"].path) as written:
        tiled = written.read(1)
        assert written.descriptions == ("VV",)
        assert written.tags()["unit"] == "linear power"
    assert 10 * np.log10(tiled / whole) == pytest.approx(np.zeros(grid.shape), abs=2e-3)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        f"{NAME}_VV.tif",
        f"{NAME}_incidence.tif",
    ]


@pytest.mark.parametrize("index", POINTS)
def test_incidence_is_that_of_the_annotation(product, safe, index):
    gcp = geolocation(safe)[index]
    grid = around(gcp, 500.0, 8)
    angles = view.ViewGeometry(product).incidence(grid, np.full(grid.shape, gcp.height))
    assert angles[3:5, 3:5].mean() == pytest.approx(gcp.incidenceAngle, abs=0.03)


def test_noise_above_the_signal_gives_the_least_power(product, safe, monkeypatch):
    gcp = geolocation(safe)[5, 10]
    image = product.images["VV"]
    noisy = replace(image, noise=images.Noise(constant_vectors(1e6, *image.shape), ()))
    monkeypatch.setattr(images.Image, "_inside", lambda *_: True)
    gamma = gamma0_vv(replace(product, images={"VV": noisy}), around(gcp), gcp.height)
    assert 10 * np.log10(np.nanmin(gamma)) == pytest.approx(rtc.LEAST_DB, abs=1e-3)


# --- options and bad input -----------------------------------------------------------------------


def test_a_geoid_is_added_to_the_heights_and_the_fill_height_is_used_at_sea(product, safe, flat):
    gcp = geolocation(safe)[5, 10]
    grid = around(gcp)
    dem, geoid = str(flat(gcp.height - 45.0, gcp)), flat(45.0, gcp, "geoid.tif")
    plain = rtc.Terrain([dem], rtc.RtcOptions())
    assert plain.heights(grid) == pytest.approx(gcp.height - 45.0)
    raised = rtc.Terrain([dem], rtc.RtcOptions(geoid=geoid))
    assert raised.heights(grid) == pytest.approx(gcp.height)
    far = SimpleNamespace(**{**vars(gcp), "longitude": gcp.longitude + 0.2})
    assert np.isnan(plain.heights(around(far, 500.0))).any()
    sea = rtc.Terrain([dem], rtc.RtcOptions(fill=0.0)).heights(around(far, 500.0))
    assert set(np.unique(np.round(sea))) == {0.0, np.round(gcp.height - 45.0)}


def test_a_dem_that_covers_too_little_is_an_error_with_the_share(product, safe, flat, tmp_path):
    gcp = geolocation(safe)[5, 10]
    dem = flat(gcp.height, gcp)
    wide = rtc.product_grid(
        product,
        SPACING,
        box(gcp.longitude, gcp.latitude, gcp.longitude + 0.4, gcp.latitude + 0.1, 4326),
    )
    with pytest.raises(
        SarcastError, match=r"cover (49|50|51)\.\d % of the part .* covers; .* --fill 0"
    ):
        rtc.make_scene(product, wide, rtc.Terrain([str(dem)], rtc.RtcOptions()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_area_outside_the_product_is_an_error(product):
    with pytest.raises(SarcastError, match=r"does not cover the area; it covers west 11\.8"):
        rtc.product_grid(product, SPACING, box(24.0, 60.0, 24.1, 60.1, "EPSG:4326"))


def test_the_grid_lies_on_whole_spacings_in_the_areas_own_zone(product):
    for west, zone in ((11.93, 32632), (14.0, 32633)):
        area = box(west, 41.35, west + 0.03, 41.38, "EPSG:4326")
        grid = rtc.product_grid(product, 30.0, area)
        assert grid.crs.epsg == zone
        assert grid.transform.c % 30.0 == grid.transform.f % 30.0 == 0.0
        assert grid.footprint(4326).contains(area)


# --- the product turned around the Earth's axis, over 180 degrees --------------------------------

TURNED_DEG = 168.0
"""28 UTM zones, which bring the border of zones at 12 degrees east to 180."""
NEAR_12 = (11.93, 41.35, 12.02, 41.38)
"""West, south, east and north of an area across 12 degrees east."""


def turn(product: grd.GrdProduct, east_deg: float) -> grd.GrdProduct:
    """The product as of an orbit, and a ground, further east."""
    cos, sin = np.cos(np.radians(east_deg)), np.sin(np.radians(east_deg))
    matrix = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    position = product.position.transpose("axis", "azimuth_time")
    longitude = (product.points.longitude + east_deg + 180.0) % 360.0 - 180.0
    return replace(
        product,
        position=position.copy(data=matrix @ position.values),
        points=replace(product.points, longitude=longitude),
    )


def test_a_border_that_crosses_itself_is_refused(product):
    points = product.points
    folded = points.longitude.copy()
    folded[0, 0], folded[-1, 0] = folded[0, -1], folded[-1, -1] - 3.0
    folded[0, -1] = points.longitude[0, 0]
    crossed = replace(product, points=replace(points, longitude=folded))
    with pytest.raises(SarcastError, match="is damaged: the border of its geolocation grid"):
        view.footprint(crossed)


@pytest.mark.parametrize("east", [TURNED_DEG, TURNED_DEG - 360.0])
def test_the_footprint_and_grid_of_a_product_over_180_degrees(product, east):
    there = turn(product, TURNED_DEG)
    west, south, right, north = bounding_box(view.footprint(product))
    shape = view.footprint(there)
    assert shape.geom.geom_type == "MultiPolygon"
    expected = (west + TURNED_DEG, south, right + TURNED_DEG - 360.0, north)
    assert bounding_box(shape) == pytest.approx(expected)
    left, bottom, right, top = NEAR_12
    here = rtc.product_grid(product, SPACING, box(*NEAR_12, "EPSG:4326"))
    area = box(left + east, bottom, right + east, top, "EPSG:4326")
    grid = rtc.product_grid(there, SPACING, area)
    assert (here.crs.epsg, grid.crs.epsg) == (32632, 32660)
    assert (grid.shape, grid.transform) == (here.shape, here.transform)
    assert rtc.product_grid(there, SPACING, None).crs.epsg == 32601
    whole = rtc.product_grid(there, 500.0, None)
    assert whole.shape == rtc.product_grid(product, 500.0, None).shape
    with pytest.raises(SarcastError, match=r"it covers west 179\.8.*, east -17"):
        rtc.product_grid(there, SPACING, box(0.0, 41.0, 1.0, 42.0, "EPSG:4326"))


@pytest.mark.parametrize("tiles", ["two", "beyond", "globe"])
def test_a_scene_over_180_degrees_is_that_of_the_same_ground_elsewhere(product, tiles, tmp_path):
    """On terrain that rises to the east, from a tile on each side, or one across."""
    edges = {"two": (174.0, 180.0, 186.0), "beyond": (174.0, 186.0), "globe": (-180.0, 180.0)}
    sources, spacing = {"here": [], "there": []}, 0.01
    for name, shift, borders in (
        ("here", 0.0, (6.0, 18.0)), ("there", TURNED_DEG, edges[tiles])
    ):  # fmt: skip
        for west, east in pairwise(borders):
            start = west - 360.0 if west >= 180.0 else west
            columns = round((east - west) / spacing)
            x = west + spacing * (np.arange(columns) + 0.5) - shift
            x = (x + 180.0) % 360.0 - 180.0
            heights = np.broadcast_to(300.0 + 2000.0 * (x - 12.0), (20, columns))
            path = tmp_path / name / f"{west}.tif"
            grid = GeoBox((20, columns), Affine(spacing, 0, start, 0, -spacing, 41.5), "EPSG:4326")
            write_cog(path, np.clip(heights, 0.0, 900.0).astype(np.float32), grid)
            sources[name].append(str(path))
    made = []
    for name, shown, shift in (("here", product, 0.0), ("there", turn(product, TURNED_DEG), 168.0)):
        area = box(11.985 + shift, 41.36, 12.012 + shift, 41.37, "EPSG:4326")
        grid = rtc.product_grid(shown, SPACING, area)
        terrain = rtc.Terrain(sources[name], rtc.RtcOptions())
        scene = rtc.make_scene(shown, grid, terrain, tmp_path / name / "made")
        item = scene.to_item()
        with rasterio.open(item.assets["vv"].href) as vv:
            made.append(vv.read(1))
        left, _, right, _ = item.bbox
        assert (left > right) == (name == "there")
    assert np.isfinite(made[0]).all()
    if tiles != "globe":  # a raster that ends at 180 degrees has a seam of half a pixel there
        np.testing.assert_allclose(made[1], made[0], rtol=1e-3)
    else:
        assert np.isfinite(made[1]).all()
        assert np.median(np.abs(made[1] / made[0] - 1.0)) < 1e-3


def copy_product(safe: Path, tmp_path: Path) -> Path:
    """Copy a product with a truncated measurement."""
    folder = tmp_path / safe.name
    shutil.copytree(safe, folder, ignore=shutil.ignore_patterns("*.tiff"))
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o755)
    measurement = next(safe.glob("measurement/*.tiff"))
    (folder / "measurement" / measurement.name).write_bytes(measurement.read_bytes()[:1000])
    return folder


@pytest.mark.parametrize("kind", ["annotation", "calibration", "noise"])
def test_a_product_without_annotation_is_named(annotation, tmp_path, kind):
    folder = copy_product(annotation, tmp_path)
    part = folder / "annotation" / ("calibration" if kind != "annotation" else "")
    missing = next(part.glob("s1b*.xml" if kind == "annotation" else f"{kind}-*.xml"))
    missing.unlink()
    with pytest.raises(SarcastError, match=rf"lacks the {kind} \({missing.name}\) of VV; fetch it"):
        grd.open_product(folder)


def test_damaged_products_are_named(annotation, tmp_path):
    folder = copy_product(annotation, tmp_path)
    with pytest.raises(SarcastError, match=r"tiff is damaged, fetch it again"):
        grd.open_product(folder)
    noise = next((folder / "annotation" / "calibration").glob("noise-*.xml"))
    shutil.copy(next(annotation.glob("measurement/*.tiff")), folder / "measurement")
    noise.write_text(noise.read_text()[:5000])
    with pytest.raises(SarcastError, match=r"is damaged, fetch it again \(.*line"):
        grd.open_product(folder)


def test_a_damaged_manifest_is_named(annotation, tmp_path):
    folder = copy_product(annotation, tmp_path)
    (folder / "manifest.safe").write_text("<")
    with pytest.raises(SarcastError, match=r"manifest\.safe cannot be read"):
        grd.open_product(folder)


# --- products of STAC items, and with the short names of buckets ----------------------------------


def shorten_names(safe: Path, folder: Path) -> Path:
    """The product as AWS and Planetary Computer store it, with its original manifest."""
    for file in safe.rglob("*"):
        if file.is_file():
            name = re.sub(r"s1b-(iw)-grd-(v[vh])-.*(\.\w+)$", r"\1-\2\3", file.name)
            target = folder / file.relative_to(safe).with_name(name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.hardlink_to(file)
    assert (folder / "measurement" / "iw-vv.tiff").is_file()
    assert (folder / "annotation" / "calibration" / "noise-iw-vv.xml").is_file()
    return folder


def write_item(path: Path, **hrefs: str) -> Path:
    """Write an item as in catalogues of level-1 products."""
    item = pystac.Item(NAME, None, None, dt.datetime(2021, 12, 23), {"sar:product_type": "GRD"})
    for key, href in hrefs.items():
        item.add_asset(key, pystac.Asset(href))
    path.write_text(json.dumps(item.to_dict()))
    return path


def test_products_with_short_names_are_the_same(safe, product, tmp_path):
    short = grd.open_product(shorten_names(safe, tmp_path / NAME))
    assert short.name == product.name
    assert short.attrs == product.attrs
    assert short.images["VV"].measurement.samefile(product.images["VV"].measurement)
    part = slice(5000, 5100), slice(8850, 8900)
    np.testing.assert_array_equal(
        short.images["VV"].beta0(*part), product.images["VV"].beta0(*part)
    )
    (tmp_path / NAME / "annotation" / "calibration" / "noise-iw-vv.xml").unlink()
    with pytest.raises(
        SarcastError, match=rf"{NAME} lacks the noise \(noise-s1b-iw.*fetch it again"
    ):
        grd.open_product(tmp_path / NAME)


@pytest.mark.parametrize(
    "hrefs",
    [
        {"thumbnail": "https://example.com/a.png", "safe-manifest": "{}/manifest.safe"},
        {"vv": "{}/measurement/iw-vv.tiff"},
        {"schema-calibration-vv": "file://{}/annotation/calibration/calibration-iw-vv.xml"},
        {"safe_manifest": "s3:/{}/manifest.safe"},
        {"Product": "{}"},
        {"vv": "./data/measurement/iw-vv.tiff"},
        {"vv": "https://example.com/vv.tiff"},
        {},
    ],
)
def test_the_product_of_an_item_is_found_by_its_assets_or_its_id(hrefs, tmp_path):
    elsewhere = not hrefs or "https" in hrefs.get("vv", "")
    folder = tmp_path / (f"{NAME}.SAFE" if elsewhere else "data")
    folder.mkdir()
    (folder / "manifest.safe").touch()
    item = write_item(tmp_path / "item.json", **{k: h.format(folder) for k, h in hrefs.items()})
    assert grd.find_products([item]) == [folder]
    many = {"type": "FeatureCollection", "features": [json.loads(item.read_text())]}
    (tmp_path / "items.json").write_text(json.dumps(many))
    assert grd.find_products([tmp_path / "items.json", item]) == [folder]


@pytest.mark.parametrize("name", [f"{NAME}.zip", f"{NAME}.SAFE.zip", "data/other.zip"])
def test_the_zip_of_an_item_is_found(name, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / name).touch()
    item = write_item(tmp_path / "item.json", Product="./data/other.zip")
    assert grd.find_products([item]) == [tmp_path / name]


def zip_product(safe: Path, path: Path, leave_out: str = "") -> Path:
    with zipfile.ZipFile(path, "w") as packed:
        for file in sorted(path for path in safe.rglob("*") if path.is_file()):
            if not leave_out or leave_out not in file.name:
                packed.write(file, f"{NAME}.SAFE/{file.relative_to(safe)}")
    return path


def test_a_zip_is_unpacked_and_the_folder_is_deleted(safe, product, tmp_path):
    path, work = zip_product(safe, tmp_path / "a.zip"), tmp_path / "made" / "work"
    (work / "left").mkdir(parents=True)
    with grd.unzipped(path, work) as folder:
        assert folder.name == f"{NAME}.SAFE"
        unpacked = grd.open_product(folder)
        assert unpacked.name == product.name
        part = slice(5000, 5010), slice(8850, 8900)
        np.testing.assert_array_equal(
            unpacked.images["VV"].beta0(*part), product.images["VV"].beta0(*part)
        )
        assert [path.name for path in work.iterdir()] == [f"{NAME}.SAFE"]
    assert not work.exists()
    with grd.unzipped(safe, work) as folder:
        assert folder == safe
    assert not work.exists()


def test_damaged_zips_and_zips_without_a_product(annotation, tmp_path):
    path = zip_product(annotation, tmp_path / "a.zip", leave_out=".tiff")
    content = bytearray(path.read_bytes())
    where = content.index(b"<?xml", 2000) + 500
    content[where : where + 50] = bytes(50)
    path.write_bytes(content)
    work = tmp_path / "work"
    with pytest.raises(SarcastError, match=r"a\.zip is a damaged zip, fetch it again \(Bad CRC"):
        grd.unzipped(path, work).__enter__()
    path.write_bytes(b"PK")
    with pytest.raises(
        SarcastError, match=r"a\.zip is a damaged zip, fetch it again \(it has no end"
    ):
        grd.unzipped(path, work).__enter__()
    zip_product(annotation / "annotation", path)
    with pytest.raises(
        SarcastError, match=r"a\.zip contains 0 folders with a manifest\.safe; expected"
    ):
        grd.unzipped(path, work).__enter__()
    zip_product(annotation, path)
    content = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        where = content.index(mark)
        content[where + flags] |= 1
    path.write_bytes(content)
    with pytest.raises(SarcastError, match=r"a\.zip is an encrypted zip; unzip it"):
        grd.unzipped(path, work).__enter__()
    assert not work.exists()


def as_hh(safe: Path, folder: Path) -> Path:
    """The product as if its image were HH."""
    for path in filter(Path.is_file, safe.rglob("*")):
        name = str(path.relative_to(safe)).replace("-vv-", "-hh-")
        target = folder / safe.name.replace("1SDV", "1SSH") / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".tiff":
            target.hardlink_to(path)
        else:
            text = path.read_text().replace("-vv-", "-hh-").replace("1SDV", "1SSH")
            target.write_text(re.sub(r"\bVV\b", "HH", text))
    return folder / safe.name.replace("1SDV", "1SSH")


def test_a_product_of_hh_gives_the_values_of_its_image(safe, product, flat, tmp_path):
    """As of VV; its mode and polarisation are in the item."""
    gcp = geolocation(safe)[5, 10]
    terrain = rtc.Terrain([str(flat(gcp.height, gcp))], rtc.RtcOptions())
    other = grd.open_product(as_hh(safe, tmp_path))
    assert list(other.images) == ["HH"]
    other = replace(other, attrs={**other.attrs, "mode": "EW"})
    powers = []
    for each, band, mode in ((product, "vv", "IW"), (other, "hh", "EW")):
        item = rtc.make_scene(each, around(gcp), terrain, tmp_path / band).to_item()
        assert item.properties["sar:instrument_mode"] == mode
        assert item.properties["sar:polarizations"] == [band.upper()]
        with rasterio.open(item.assets[band].href) as raster:
            powers.append(raster.read(1))
    np.testing.assert_array_equal(*powers)


def test_an_item_without_its_product_names_what_to_download(tmp_path):
    where = f"s3://eodata/Sentinel-1/SAR/IW_GRDH_1S/2021/12/23/{NAME}.SAFE/manifest.safe"
    item = write_item(tmp_path / "item.json", vv="https://example.com/vv.tiff", manifest=where)
    with pytest.raises(SarcastError) as error:
        grd.find_products([item])
    assert str(error.value) == (
        f"the product of {item} is not on this machine (it refers to {where}): download the whole "
        f"folder or zip of {NAME}, and name it, or put it beside the item as {NAME}.SAFE"
    )
    signed = "https://example.com/manifest.safe?sig=secret"
    with pytest.raises(SarcastError, match=r"manifest\.safe\?sig=\*\*\*\)"):
        grd.find_products([write_item(tmp_path / "item.json", manifest=signed)])
    item.write_text('{"type": "Feature"}')
    with pytest.raises(SarcastError, match=r"item\.json is not a STAC item"):
        grd.find_products([item])


def test_a_slant_range_product_is_refused(annotation, tmp_path):
    folder = copy_product(annotation, tmp_path)
    manifest = folder / "manifest.safe"
    text = manifest.read_text()
    manifest.write_text(text.replace(">GRD</s1sarl1:productType>", ">SLC</s1sarl1:productType>"))
    assert manifest.read_text() != text
    with pytest.raises(SarcastError, match="of type SLC; expected GRD"):
        grd.open_product(folder)


def test_products_are_found_and_other_paths_refused(tmp_path):
    with pytest.raises(SarcastError, match="no Sentinel-1 product in .* ends in .SAFE"):
        grd.find_products([tmp_path])
    empty = tmp_path / "deep" / f"{NAME}.SAFE"
    empty.mkdir(parents=True)
    assert grd.find_products([tmp_path, empty]) == [empty]
    packed = [tmp_path / "deep" / "S1A_IW_GRDH_1SDV_X.zip", tmp_path / "S1C_Y.SAFE.zip"]
    for file in (*packed, tmp_path / "deep" / f"{NAME}.zip", tmp_path / "other.zip"):
        file.touch()
    assert grd.find_products([tmp_path]) == sorted([empty, *packed])
    assert grd.find_products([tmp_path / "other.zip"]) == [tmp_path / "other.zip"]
    with pytest.raises(SarcastError, match=r"is no SAFE folder: it lacks manifest\.safe"):
        grd.open_product(empty)
    with pytest.raises(SarcastError, match="is not a folder"):
        grd.find_products([tmp_path / "nothing"])


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xarray_sentinel", None)
    with pytest.raises(SarcastError, match=r"need the extra grd .* pip install 'sarcast\[grd\]'"):
        products.import_xarray_sentinel()


# --- the command ---------------------------------------------------------------------------------


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    code = ended.value.code
    return int(code or 0)


def test_rtc_makes_a_catalogue_from_which_a_cube_is_built(safe, flat, tmp_path, capsys):
    gcp = geolocation(safe)[5, 10]
    dem = flat(gcp.height, gcp)
    corner = (gcp.longitude + 0.01, gcp.latitude + 0.01)
    area = f"{corner[0]},{corner[1]},{corner[0] + 0.02},{corner[1] + 0.015}"
    command = ("rtc", safe, "--to", tmp_path / "made", "--dem", dem, "--area", area)
    assert run(*command) == 0
    messages = capsys.readouterr().err
    assert "VV is left out" not in messages
    assert "has no value" not in messages
    (item,) = FolderCatalogue(tmp_path / "made").search()
    assert item.properties["platform"] == "sentinel-1b"
    assert item.properties["sat:orbit_state"] == "descending"
    assert item.properties["sat:relative_orbit"] == 22
    assert item.properties["view:azimuth"] == pytest.approx(-166.3128 + 90.0 + 360.0, abs=1e-3)
    assert item.datetime.isoformat() == "2021-12-23T05:11:22.594441+00:00"
    assert item.properties["processing:datetime"] == "2021-12-23T06:06:18+00:00"
    assert run(*command) == 0
    assert f"already has {NAME}" in capsys.readouterr().err
    assert run("cube", tmp_path / "made", "--to", tmp_path / "area.zarr", "--dem", dem) == 0
    cube = open_cube(tmp_path / "area.zarr")
    assert cube["quantity"].item() == "gamma0"
    assert float(cube["backscatter"].sel(band="VV").median()) == pytest.approx(-8.5, abs=0.3)
    assert cube["backscatter"].sel(band="VH").isnull().all()
    assert float(cube["incidence"].mean()) == pytest.approx(gcp.incidenceAngle, abs=0.2)


def test_rtc_makes_the_same_scene_of_an_item_and_of_a_zip(safe, flat, tmp_path):
    gcp = geolocation(safe)[5, 10]
    corner = (gcp.longitude + 0.01, gcp.latitude + 0.01)
    area = f"{corner[0]},{corner[1]},{corner[0] + 0.004},{corner[1] + 0.003}"
    shorten_names(safe, tmp_path / NAME)
    item = write_item(tmp_path / "item.json", vv=f"./{NAME}/measurement/iw-vv.tiff")
    dem = flat(gcp.height, gcp)
    for folder, path in (("item", item), ("safe", safe)):
        assert run("rtc", path, "--to", tmp_path / folder, "--dem", dem, "--area", area) == 0
    (made,), (expected,) = (FolderCatalogue(tmp_path / name).search() for name in ("item", "safe"))
    assert made.id == NAME
    with (
        rasterio.open(made.assets["vv"].href) as first,
        rasterio.open(expected.assets["vv"].href) as second,
    ):
        np.testing.assert_array_equal(first.read(), second.read())
        assert np.isfinite(first.read()).any()


def test_a_product_that_cannot_be_used_is_left_out(safe, annotation, flat, tmp_path, capsys):
    """One without images beside a link to a good one: named, and refused with --strict."""
    folder = tmp_path / "products"
    folder.mkdir()
    (folder / safe.name).symlink_to(safe)
    other = folder / f"{NAME[:-4]}0000.SAFE"
    copy_product(annotation, tmp_path).rename(other)
    manifest = other / "manifest.safe"
    manifest.write_text(manifest.read_text().replace("s1Level1", "s1Other"))
    gcp = geolocation(safe)[5, 10]
    corner = (gcp.longitude + 0.01, gcp.latitude + 0.01)
    area = f"{corner[0]},{corner[1]},{corner[0] + 0.004},{corner[1] + 0.003}"
    command = ("rtc", folder, "--dem", flat(gcp.height, gcp), "--area", area, "--to")
    line = f"1 left out (no VV, VH, HH or HV): {other.name}"
    assert run(*command, tmp_path / "made") == 0
    assert f"warning: {line}" in capsys.readouterr().err
    assert [item.id for item in FolderCatalogue(tmp_path / "made").search()] == [NAME]
    assert run(*command, tmp_path / "made", "--strict") == 1
    assert f"--strict refuses scenes that cannot be used: {line}" in capsys.readouterr().err


def test_a_blank_measurement_gives_a_warning(annotation, flat, tmp_path, capsys):
    gcp = geolocation(annotation)[5, 10]
    west, south = gcp.longitude + 0.01, gcp.latitude + 0.01
    area = f"{west},{south},{west + 0.02},{south + 0.015}"
    dem = flat(gcp.height, gcp)
    assert run("rtc", annotation, "--to", tmp_path / "made", "--dem", dem, "--area", area) == 0
    assert f"VV of {NAME} has no value in the area" in capsys.readouterr().err


def test_an_interrupted_run_leaves_nothing_and_can_be_started_again(
    safe, flat, tmp_path, monkeypatch
):
    gcp = geolocation(safe)[5, 10]
    corner = f"{gcp.longitude},{gcp.latitude}"
    area = f"{corner},{gcp.longitude + 0.01},{gcp.latitude + 0.01}"
    dem = flat(gcp.height, gcp)
    command = ("rtc", safe, "--to", tmp_path / "made", "--dem", dem, "--area", area)
    original = rtc._tile

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rtc, "_tile", interrupted)
    assert run(*command) == 130
    assert [path for path in (tmp_path / "made").rglob("*") if path.is_file()] == []
    monkeypatch.setattr(rtc, "_tile", original)
    assert run(*command) == 0
    assert len(FolderCatalogue(tmp_path / "made").search()) == 1


def test_layover_of_a_mountain_beyond_the_tile_is_included(product, safe, monkeypatch):
    # The layover of a mountain covers the flat ground between it and the sensor.
    gcp = geolocation(safe)[5, 10]
    grid = around(gcp, SPACING, 200)
    look = np.radians(product.heading_deg + 90.0)

    class Mountain:
        def heights(self, part: GeoBox) -> np.ndarray:
            column, row = np.meshgrid(*(np.arange(size) + 0.5 for size in part.shape[::-1]))
            x, y = part.transform * (column, row)
            middle = grid.transform * (100.0, 100.0)
            range_m = (x - middle[0]) * np.sin(look) + (y - middle[1]) * np.cos(look)
            rise = np.clip(1.0 - np.abs(range_m - 900.0) / 600.0, 0.0, 1.0)
            return gcp.height + 800.0 * rise

    def tile(part: GeoBox) -> np.ndarray:
        gamma, margin = rtc._tile(view.ViewGeometry(product), part, Mountain())
        return gamma["VV"][margin : margin + part.height, margin : margin + part.width]

    whole, before = tile(grid), (slice(60, 140), slice(100, 125))
    separate = tile(grid[before])
    valid = np.isfinite(separate)
    assert (valid == np.isfinite(whole[before])).all()
    assert 10 * np.log10(separate[valid] / whole[before][valid]) == pytest.approx(0.0, abs=0.02)
    level = np.nanmedian(whole[:, -40:])
    assert np.nanmin(separate) < 0.5 * level  # in layover the illuminated area is large


def test_rtc_reports_errors_on_one_line(tmp_path, capsys):
    assert run("rtc", tmp_path, "--to", tmp_path / "made", "--dem", tmp_path / "dem.tif") == 1
    message = capsys.readouterr().err.strip()
    assert message.startswith("sarcast: no Sentinel-1 product in") and "\n" not in message
    assert run("rtc", tmp_path, "--to", tmp_path / "made") == 2
    assert "--dem" in capsys.readouterr().err
    for option in ("--resolution", "--fill"):
        command = ("rtc", tmp_path, "--to", tmp_path / "made", "--dem", tmp_path / "dem.tif")
        assert run(*command, option, "inf") == 2
        assert f"{option}: Input should be a finite number" in capsys.readouterr().err


def test_a_second_run_into_one_catalogue_is_refused(tmp_path, capsys):
    (tmp_path / f"{NAME}.SAFE").mkdir()
    write_cog(tmp_path / "dem.tif", np.zeros((4, 4), np.float32), GRID[:4, :4])
    command = ("rtc", tmp_path, "--to", tmp_path / "made", "--dem", tmp_path / "dem.tif")
    with exclusive(tmp_path / "made"):
        assert run(*command) == 1
    assert f"another run is writing {tmp_path / 'made'}; wait for" in capsys.readouterr().err
    assert run(*command) == 1
    assert "lacks manifest.safe" in capsys.readouterr().err
    assert not (tmp_path / "made").exists()


def test_index_sends_level_1_products_to_rtc(tmp_path, capsys):
    product = tmp_path / f"{NAME}.SAFE"
    product.mkdir()
    assert run("index", tmp_path, "--to", tmp_path / "made") == 1
    assert "for SAFE folders use sarcast rtc" in capsys.readouterr().err


# --- products that lead elsewhere -----------------------------------------------------------------


def whole_product(safe: Path, folder: Path) -> Path:
    copied = folder / safe.name
    shutil.copytree(safe, copied)
    for path in [copied, *copied.rglob("*")]:
        path.chmod(0o755)
    return copied


def crafted(annotation: Path, folder: Path, href: str) -> Path:
    """The product whose manifest names another file as its annotation."""
    copied = whole_product(annotation, folder)
    manifest = copied / "manifest.safe"
    text = manifest.read_text()
    name = re.search(r'href="(\./annotation/s1b-[^"]*vv[^"]*\.xml)"', text)
    assert name is not None
    manifest.write_text(text.replace(name[1], href))
    return copied


@pytest.mark.parametrize("up", ["../../../evil/", "/tmp/evil/", "a/../../../../evil/", "C:/evil/"])
@pytest.mark.parametrize("packed", [True, False])
def test_no_name_in_a_manifest_leads_out_of_the_product(
    annotation: Path, tmp_path: Path, up: str, packed: bool
) -> None:
    href = f"{up}s1b-iw-grd-vv-20211223t051122-20211223t051147-030148-039993-001.xml"
    safe = crafted(annotation, tmp_path / "in", href)
    path = zip_product(safe, tmp_path / "in" / "a.zip") if packed else safe
    before = set(tmp_path.rglob("*"))
    with (
        pytest.raises(SarcastError, match="refers to .* which does not lie in it"),
        grd.unzipped(path, tmp_path / "work" / "product") as folder,
    ):
        grd.open_product(folder)
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "work"}


def test_a_link_out_of_the_product_is_refused(annotation: Path, tmp_path: Path) -> None:
    safe = whole_product(annotation, tmp_path)
    file = next((safe / "annotation").glob("*vv*.xml"))
    other = file.rename(tmp_path / "other.xml")
    file.symlink_to(other)
    with pytest.raises(SarcastError, match=r"is a link to .*other\.xml, outside of"):
        grd.open_product(safe)


def test_a_measurement_that_is_a_virtual_raster_is_not_followed(
    annotation: Path, tmp_path: Path
) -> None:
    safe = whole_product(annotation, tmp_path)
    image = next(safe.glob("measurement/*vv*.tiff"))
    with images.open_measurement(image) as source:
        rows, columns = source.shape
    other = image.rename(tmp_path / "other.tiff")
    image.write_text(
        f'<VRTDataset rasterXSize="{columns}" rasterYSize="{rows}"><VRTRasterBand '
        f'dataType="UInt16" band="1"><SimpleSource><SourceFilename>{other}</SourceFilename>'
        f"</SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(SarcastError, match="is damaged, fetch it again"):
        grd.open_product(safe)


def test_an_impossible_number_of_a_product_is_named(annotation: Path, tmp_path: Path) -> None:
    safe = whole_product(annotation, tmp_path)
    file = next((safe / "annotation").glob("*vv*.xml"))
    text = re.sub("<numberOfLines>[^<]*<", "<numberOfLines>999999999<", file.read_text())
    file.write_text(text)
    with pytest.raises(SarcastError, match=r"is damaged, .* its annotation \(999999999, "):
        grd.open_product(safe)


def with_points(product: grd.GrdProduct, **changes: np.ndarray) -> grd.GrdProduct:
    return replace(product, points=replace(product.points, **changes))


def with_vectors(product: grd.GrdProduct, **changes: object) -> grd.GrdProduct:
    image = product.images["VV"]
    changed = replace(image, calibration=replace(image.calibration, **changes))
    return replace(product, images={"VV": changed})


IMPOSSIBLE: dict[str, tuple[Callable[[grd.GrdProduct], grd.GrdProduct], str]] = {
    "latitude": (
        lambda p: with_points(p, latitude=p.points.latitude + 90.0),
        "latitude of the geolocation points must lie in -90..90",
    ),
    "incidence": (
        lambda p: with_points(p, incidence=p.points.incidence * np.nan),
        "incidenceAngle of the geolocation points must lie in 10..60, but is nan",
    ),
    "one line": (lambda p: with_points(p, lines=p.points.lines[:1]), "expected a grid"),
    "interval": (
        lambda p: replace(p, attrs={**p.attrs, "azimuth_time_interval": 0.0}),
        "azimuth_time_interval must lie in",
    ),
    "year": (
        lambda p: replace(p, attrs={**p.attrs, "start_time": "0001-01-01T00:00:00"}),
        "the acquisition started in the year 1",
    ),
    "orbit": (lambda p: replace(p, position=p.position * 2.0), "distance of the satellite"),
    "states": (
        lambda p: replace(p, position=p.position.isel(azimuth_time=slice(2))),
        "expected 4 state vectors, found 2",
    ),
    "states in disorder": (
        lambda p: replace(p, position=p.position.isel(azimuth_time=slice(None, None, -1))),
        "the times of the state vectors do not ascend",
    ),
    "range": (lambda p: replace(p, conversion=p.conversion * np.inf), "sr0 must lie in"),
    "heading": (lambda p: replace(p, heading_deg=np.nan), "platformHeading must lie in"),
    "calibration": (
        lambda p: with_vectors(p, values=[0.0 * v for v in p.images["VV"].calibration.values]),
        "the calibration of VV must lie in",
    ),
    "vectors in disorder": (
        lambda p: with_vectors(p, lines=p.images["VV"].calibration.lines[::-1]),
        "the lines of the calibration of VV do not ascend",
    ),
    "vectors": (
        lambda p: with_vectors(p, lines=np.arange(10_001.0)),
        "the calibration of VV has 10001 vectors, over 10000",
    ),
}


@pytest.mark.parametrize(("change", "message"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_impossible_numbers_of_a_product_are_found(
    product: grd.GrdProduct, change: Callable[[grd.GrdProduct], grd.GrdProduct], message: str
) -> None:
    check_product(product)
    with pytest.raises(ValueError, match=message):
        check_product(change(product))


def test_a_second_product_in_the_same_place_is_read_anew(annotation: Path, tmp_path: Path) -> None:
    """As zips of one name are unpacked: the manifest is not that of the first one."""
    safe = whole_product(annotation, tmp_path)
    first = grd.open_product(safe)
    manifest = safe / "manifest.safe"
    number = first.attrs["relative_orbit_number"]
    text = re.sub(
        rf">{number}</safe:relativeOrbitNumber>",
        ">7</safe:relativeOrbitNumber>",
        manifest.read_text(),
    )
    manifest.write_text(text)
    assert grd.open_product(safe).attrs["relative_orbit_number"] == 7 != number
