"""What the viewer shows of cubes and results: tiles, levels, layers, series, events."""

import json
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
from affine import Affine
from odc.geo.geobox import GeoBox

from conftest import GRID
from sarcast.cache import Cache
from sarcast.cube import open_cube
from sarcast.cube.dates import iso_time
from sarcast.cube.schema import MISSING, SCALE_DB
from sarcast.cube.stored import StoredCube
from sarcast.detection import styles
from sarcast.errors import SarcastError
from sarcast.evaluation.detection.truth import read_truth
from sarcast.io.cogs import write_cog
from sarcast.prediction.strategies import STRATEGIES
from sarcast.viewer import cubes
from sarcast.viewer.answers import Answers, SeriesRequest, as_csv
from sarcast.viewer.cubes import CubeImages, DatasetImages, StoredImages
from sarcast.viewer.pyramid import TILE, NoSuchTileError, Pyramid, Sums, means, nearest, padded
from sarcast.viewer.rasters import Raster
from sarcast.viewer.requests import NoSuchEventError
from sarcast.viewer.results import Result
from sarcast.viewer.view import Opened, Shown, open_path, view_of_cube
from small_alerts import FIRST, SQUARE, alert_cube, day, times
from small_cubes import COLUMNS, DATES, ROWS, code, coordinate_cube
from small_detections import BASELINE, WATCHED, by_hand, event_image
from small_views import alerts_folder, detection_folder, write_run

LARGE = Pyramid(1100, 700)


def slow_means(image: np.ndarray, level: int) -> np.ndarray:
    """Mean of the valid pixels of each square, one after the other."""
    side = 2**level
    rows, columns = (-(-n // side) for n in image.shape[1:])
    result = np.full((len(image), rows, columns), np.nan)
    for band, row, column in np.ndindex(result.shape):
        part = image[band, row * side : (row + 1) * side, column * side : (column + 1) * side]
        if np.isfinite(part).any():
            result[band, row, column] = part[np.isfinite(part)].mean()
    return result


@pytest.mark.parametrize("level", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("missing", [0.0, 0.4, 1.0])
def test_means_of_valid_pixels(level: int, missing: float) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(-12, 3, (2, 37, 50)).astype(np.float32)
    image[rng.random(image.shape) < missing] = np.nan
    np.testing.assert_allclose(means(image, level), slow_means(image, level), rtol=1e-5)


@pytest.mark.parametrize(
    ("rows", "columns", "levels"), [(256, 256, 1), (257, 3, 2), (5000, 5000, 6), (17000, 25000, 8)]
)
def test_the_coarsest_level_is_one_tile(rows: int, columns: int, levels: int) -> None:
    pyramid = Pyramid(rows, columns)
    assert pyramid.levels == levels
    assert max(pyramid.shape(levels - 1)) <= TILE
    assert levels == 1 or max(pyramid.shape(levels - 2)) > TILE


@pytest.mark.parametrize("level", range(LARGE.levels))
def test_tiles_cover_each_pixel_once(level: int) -> None:
    seen = np.zeros(LARGE.shape(level), dtype=int)
    full = np.zeros((LARGE.rows, LARGE.columns), dtype=int)
    for row in range(-(-seen.shape[0] // TILE)):
        for column in range(-(-seen.shape[1] // TILE)):
            box = LARGE.box(level, row, column)
            seen[box] += 1
            full[LARGE.full(level, box)] += 1
    assert (seen == 1).all()
    assert (full == 1).all()


@pytest.mark.parametrize(
    ("level", "row", "column"), [(-1, 0, 0), (9, 0, 0), (0, 5, 0), (0, 0, 3), (0, -1, 0)]
)
def test_tiles_that_do_not_exist(level: int, row: int, column: int) -> None:
    with pytest.raises(NoSuchTileError, match="expected a"):
        LARGE.box(level, row, column)


def test_a_tile_at_the_edge_is_padded_with_missing_pixels() -> None:
    tile = padded(np.ones((2, 10, 20), dtype=np.float32))
    assert tile.shape == (2, TILE, TILE)
    assert np.isfinite(tile[:, :10, :20]).all()
    assert np.isfinite(tile).sum() == 2 * 10 * 20


def test_a_cache_keeps_what_was_used_last_and_no_more_than_its_size() -> None:
    cache: Cache[np.ndarray] = Cache(3 * 80)
    made: list[int] = []

    def get(key: int) -> float:
        def make() -> np.ndarray:
            made.append(key)
            return np.full(10, float(key))

        return float(cache.get(key, make)[0])

    assert [get(key) for key in (0, 1, 2, 0, 3, 0, 1)] == [0, 1, 2, 0, 3, 0, 1]
    assert made == [0, 1, 2, 3, 1]
    assert cache.peek(2) is None
    cache.get("large", lambda: np.zeros(1000))
    assert cache.peek("large") is None


def test_a_cache_makes_a_value_once_for_all_threads() -> None:
    cache: Cache[np.ndarray] = Cache(1000)
    made: list[int] = []
    asked = threading.Barrier(4)

    def make() -> np.ndarray:
        made.append(1)
        time.sleep(0.05)
        return np.zeros(10)

    def get(_number: int) -> np.ndarray:
        asked.wait(10)
        return cache.get("key", make)

    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(get, range(4)))
    assert made == [1]
    assert all(each is found[0] for each in found)


def test_a_value_that_could_not_be_made_is_made_by_the_next() -> None:
    cache: Cache[np.ndarray] = Cache(1000)

    def fail() -> np.ndarray:
        raise ValueError

    with pytest.raises(ValueError):
        cache.get("key", fail)
    assert cache.get("key", lambda: np.ones(1)) == 1.0


# --- sums of packed values ------------------------------------------------------------------------


def packed_image(missing: float, shape: tuple[int, ...] = (2, 61, 83)) -> np.ndarray:
    """Packed values over the whole range of the type, a share of them missing."""
    rng = np.random.default_rng(3)
    image = rng.integers(-32767, 32768, shape, dtype=np.int16)
    image[rng.random(shape) < missing] = MISSING
    image[:, :8, :8] = MISSING
    return image


def in_db(packed: np.ndarray) -> np.ndarray:
    return np.where(packed == MISSING, np.nan, packed * SCALE_DB)


@pytest.mark.parametrize("level", range(8))
@pytest.mark.parametrize("missing", [0.0, 0.3, 1.0])
def test_means_of_packed_values(level: int, missing: float) -> None:
    image = packed_image(missing)
    found = Sums.of(image, level, int(MISSING)).means(SCALE_DB)
    np.testing.assert_allclose(found, slow_means(in_db(image), level), rtol=1e-6, atol=1e-9)


def test_means_of_packed_values_without_any_missing() -> None:
    image = np.full((1, 5, 6), -1250, dtype=np.int16)
    sums = Sums.of(image, 2, int(MISSING))
    assert sums.count.tolist() == [[[16, 8], [4, 2]]]
    np.testing.assert_allclose(sums.means(SCALE_DB), -12.5)


@pytest.mark.parametrize(("level", "more"), [(0, 3), (1, 1), (3, 2), (2, 0)])
def test_coarser_sums_are_those_of_larger_squares(level: int, more: int) -> None:
    image = packed_image(0.3)
    coarser = Sums.of(image, level, int(MISSING)).coarser(more)
    whole = Sums.of(image, level + more, int(MISSING))
    np.testing.assert_array_equal(coarser.total, whole.total)
    np.testing.assert_array_equal(coarser.count, whole.count)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    """Parts that reach beyond the upper left and the lower right corner are cut there."""
    image = packed_image(0.3)
    whole = Sums.of(image, 1, int(MISSING))
    box = slice(3, 27), slice(5, 40)
    sums = Sums.zeros((2, 24, 35))
    for top in (0, 32):
        for left in (0, 32, 64):
            part = Sums.of(image[:, top : top + 32, left : left + 32], 1, int(MISSING))
            sums.add(part, (top // 2 - 3, left // 2 - 5))
    np.testing.assert_array_equal(sums.total, whole.total[:, *box])
    np.testing.assert_array_equal(sums.count, whole.count[:, *box])


# --- cubes ----------------------------------------------------------------------------------------


@pytest.fixture
def images() -> CubeImages:
    return DatasetImages(coordinate_cube().odc.assign_crs("EPSG:32635"))


@pytest.mark.parametrize("level", [0, 1, 2, 3])
@pytest.mark.parametrize("part", [16, 1024])
def test_a_cube_is_read_at_a_level_by_parts(
    images: CubeImages, level: int, part: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cubes, "PART", part)
    rows, columns = images.pyramid.shape(level)
    whole = slow_means(images.cube["backscatter"][3].values, level)
    box = slice(1, rows), slice(0, columns - 1)
    np.testing.assert_allclose(images.read(3, level, box), whole[:, box[0], box[1]], rtol=1e-6)


@pytest.fixture(scope="module")
def both(viewed_cube: Path) -> tuple[StoredImages, DatasetImages]:
    """A cube as it is stored, and as xarray opens it."""
    return StoredImages(StoredCube.open(viewed_cube)), DatasetImages(open_cube(viewed_cube))


def test_a_stored_cube_is_described_as_it_is_by_xarray(
    both: tuple[StoredImages, DatasetImages],
) -> None:
    stored, opened = both
    assert stored.acquisitions() == opened.acquisitions()
    assert stored.bands == opened.bands
    assert stored.ranges == opened.ranges
    assert stored.grid.description() == opened.grid.description()
    assert stored.grid.box == opened.dataset["backscatter"].odc.geobox
    assert stored.pyramid == opened.pyramid
    np.testing.assert_array_equal(stored.times, opened.times)
    np.testing.assert_array_equal(stored.history(70, 50), opened.history(70, 50))
    assert stored.values("nothing") is None
    for name in ("temperature", "precipitation", "seen", "platform"):
        np.testing.assert_array_equal(stored.values(name), opened.values(name))


@pytest.mark.parametrize("level", range(7))
def test_a_stored_cube_is_read_as_by_xarray(
    viewed_cube: Path, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tiles of 16 pixels are kept at level 1; coarser levels than 5 join them into one pixel."""
    monkeypatch.setattr(cubes, "KEPT_LEVEL", 1)
    monkeypatch.setattr(cubes, "TILE", 16)
    monkeypatch.setattr(cubes, "PART", 20)
    stored, opened = (
        StoredImages(StoredCube.open(viewed_cube)),
        DatasetImages(open_cube(viewed_cube)),
    )
    rows, columns = stored.pyramid.shape(level)
    image = opened.image(1, (slice(0, stored.pyramid.rows), slice(0, stored.pyramid.columns)))
    assert np.isnan(image).any()
    whole = slow_means(image, level) if level else image
    for box in (
        (slice(0, rows), slice(0, columns)),
        (slice(rows // 3, rows - rows // 4), slice(columns // 5, columns - 1)),
    ):
        if level == 0:
            np.testing.assert_array_equal(stored.read(1, level, box), image[:, *box])
        np.testing.assert_allclose(stored.read(1, level, box), whole[:, *box], rtol=2e-6)


@pytest.mark.parametrize(("most", "made"), [(25, 12), (11, 0)])
def test_what_the_first_image_is_made_from_is_prepared(
    viewed_cube: Path, monkeypatch: pytest.MonkeyPatch, most: int, made: int
) -> None:
    monkeypatch.setattr(cubes, "KEPT_LEVEL", 1)
    monkeypatch.setattr(cubes, "TILE", 64)
    monkeypatch.setattr(cubes, "MOST_PREPARED", most)
    stored = StoredImages(StoredCube.open(viewed_cube))
    last = len(stored.times) - 1
    whole = tuple(slice(0, size) for size in stored.pyramid.shape(2))
    stored.prepare(lambda: True)
    assert stored.kept.peek((last, 0, 0)) is None
    stored.prepare(lambda: False)
    kept = [stored.kept.peek((last, *place)) for place in np.ndindex(9, 9)]
    assert sum(each is not None for each in kept) == made
    if made:
        expected = StoredImages(StoredCube.open(viewed_cube)).read(last, 2, whole)
        monkeypatch.setattr(StoredCube, "packed", None)  # nothing is read again
        np.testing.assert_array_equal(stored.read(last, 2, whole), expected)


def test_a_cube_is_open_before_the_first_prediction(viewed_cube: Path) -> None:
    view = open_path(viewed_cube, Shown(STRATEGIES["latest"])).current()
    assert isinstance(view.images, StoredImages)
    assert "cube" not in vars(view.images)
    view.prepare(lambda: False)
    assert "cube" in vars(view.images)


def test_a_cube_alone_is_opened_without_what_takes_long_to_import(viewed_cube: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from sarcast.viewer.answers import Answers; "
        "from sarcast.viewer.requests import TileRequest, ViewRequest; "
        "from sarcast.viewer.view import Shown, open_path; "
        f"answers = Answers(open_path(Path({str(viewed_cube)!r}), Shown())); "
        "answers.description(ViewRequest()); "
        "answers.tile(TileRequest(layer='actual', index=0, level=1, row=0, column=0)); "
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert not loaded & {
        "torch", "xarray", "pandas", "odc", "rasterio", "pystac", "dask", "shapely", "scipy",
    }  # fmt: skip


def test_a_tile_has_the_values_of_the_cube_at_their_places(images: CubeImages) -> None:
    view = view_of_cube(images.cube, "cube", Shown())
    tile = view.tile("actual", 7, 0, 0, 0)
    assert tile[1, 13, 41] == code(7, 1, 13, 41)
    assert np.isnan(tile[:, ROWS:]).all()
    assert np.isnan(tile[:, :, COLUMNS:]).all()


def test_bands_without_data_are_not_shown() -> None:
    cube = coordinate_cube().odc.assign_crs("EPSG:32635")
    cube["backscatter"][:, 1] = np.nan
    assert view_of_cube(cube, "cube", Shown()).layers["actual"].bands == ("VV",)


def test_a_series_equals_the_cube(images: CubeImages) -> None:
    images.cube["backscatter"][4, 0, 20, 30] = np.nan
    series = view_of_cube(images.cube, "cube", Shown()).series(30, 20)
    expected = [code(time, 0, 20, 30) for time in range(DATES)]
    assert series["actual"]["VV"] == [*expected[:4], None, *expected[5:]]
    assert series["actual"]["VH"] == [code(time, 1, 20, 30) for time in range(DATES)]
    assert series["times"][1] == "2021-01-07T17:00:00Z"
    assert series["coordinates"] == [305.0, -205.0]
    assert series["platform"][:3] == ["sentinel-1a", "sentinel-1b", ""]
    rain = images.cube["precipitation"][2].mean(("cy", "cx")).values
    np.testing.assert_allclose(series["precipitation"][2], rain)
    assert series["temperature"] == [None] * DATES


def test_a_series_as_a_table(images: CubeImages) -> None:
    series = view_of_cube(images.cube, "cube", Shown()).series(3, 2)
    header, first, *_ = as_csv(series).splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert row["time"] == "2021-01-01T17:00:00Z"
    assert float(row["actual_vh_db"]) == code(0, 1, 2, 3)
    assert "expected_vv_db" not in row


@pytest.mark.parametrize(("column", "row"), [(COLUMNS, 0), (0, ROWS), (-1, 0)])
def test_a_pixel_outside_the_grid(images: CubeImages, column: int, row: int) -> None:
    with pytest.raises(NoSuchTileError, match=f"below {COLUMNS} and a row below {ROWS}"):
        view_of_cube(images.cube, "cube", Shown()).series(column, row)


def test_a_description_says_what_there_is(images: CubeImages) -> None:
    described = view_of_cube(images.cube, "A title", Shown()).description()
    assert json.loads(json.dumps(described, allow_nan=False)) == json.loads(json.dumps(described))
    assert described["grid"]["crs"] == "EPSG:32635"
    assert described["grid"]["bounds"] == [0.0, -400.0, 500.0, 0.0]
    assert (described["grid"]["width"], described["grid"]["height"]) == (COLUMNS, ROWS)
    assert [layer["id"] for layer in described["layers"]] == ["actual"]
    assert len(described["acquisitions"]) == DATES
    assert described["what_if"] == []
    for stops in described["ramps"].values():
        assert [stops[0][0], stops[-1][0]] == [0.0, 1.0]


def test_a_cube_without_crs_or_dates_cannot_be_shown() -> None:
    with pytest.raises(SarcastError, match="has no CRS"):
        view_of_cube(coordinate_cube(), "cube", Shown())
    with pytest.raises(SarcastError, match="no acquisition yet"):
        view_of_cube(
            coordinate_cube().odc.assign_crs("EPSG:32635").isel(time=slice(0, 0)), "cube", Shown()
        )


# --- rasters --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large_cog(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
    rng = np.random.default_rng(4)
    values = rng.normal(0, 3, (3, LARGE.rows, LARGE.columns)).astype(np.float32)
    path = tmp_path_factory.mktemp("cog") / "large.tif"
    grid = GeoBox((LARGE.rows, LARGE.columns), Affine(10, 0, 5e5, 0, -10, 7e6), "EPSG:32635")
    write_cog(path, values, grid)
    return path, values


@pytest.mark.parametrize("level", range(LARGE.levels))
def test_levels_of_a_raster_are_means(large_cog: tuple[Path, np.ndarray], level: int) -> None:
    path, values = large_cog
    raster = Raster.open(path, LARGE, [3, 1])
    assert raster.overviews  # else this tests nothing
    rows, columns = LARGE.shape(level)
    box = slice(3, rows), slice(2, columns - 1)
    whole = means(values[[2, 0]], level)
    np.testing.assert_allclose(raster.read(0, level, box), whole[:, box[0], box[1]], atol=2e-4)


def test_classes_are_never_averaged(tmp_path: Path) -> None:
    classes = np.random.default_rng(5).choice(
        np.array([0, 3, 9, 255], dtype=np.uint8), (LARGE.rows, LARGE.columns)
    )
    grid = GeoBox(classes.shape, Affine(10, 0, 5e5, 0, -10, 7e6), "EPSG:32635")
    write_cog(tmp_path / "classes.tif", classes, grid, nodata=255)
    raster = Raster.open(tmp_path / "classes.tif", LARGE, is_classes=True)
    for level in range(LARGE.levels):
        rows, columns = LARGE.shape(level)
        found = raster.read(0, level, (slice(0, rows), slice(0, columns)))
        assert set(found[np.isfinite(found)]) <= {0.0, 3.0, 9.0}
    full = raster.read(0, 0, (slice(0, LARGE.rows), slice(0, LARGE.columns)))[0]
    np.testing.assert_array_equal(full, np.where(classes == 255, np.nan, classes))


def test_every_second_pixel_of_classes() -> None:
    image = np.arange(30, dtype=np.float32).reshape(1, 5, 6)
    assert nearest(image, 1).tolist() == [[[0, 2, 4], [12, 14, 16], [24, 26, 28]]]


def test_a_raster_of_another_result_is_refused(large_cog: tuple[Path, np.ndarray]) -> None:
    with pytest.raises(SarcastError, match="1100 x 700 pixels and 3 bands, expected 10 x 20"):
        Raster.open(large_cog[0], Pyramid(10, 20))


def test_a_raster_that_refers_to_other_files_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "expected.tif"
    path.write_text('<VRTDataset rasterXSize="1" rasterYSize="1"></VRTDataset>')
    with pytest.raises(SarcastError, match="cannot be read"):
        Raster.open(path, Pyramid(1, 1))


# --- detections -----------------------------------------------------------------------------------


@pytest.fixture
def detection(tmp_path: Path) -> Path:
    return detection_folder(tmp_path / "detection")


def test_layers_of_a_detection_are_its_images(detection: Path) -> None:
    view = open_path(detection, Shown()).current()
    images = by_hand().images
    shown = {
        "actual-mean": images["actual"], "expected": images["expected"], "std": images["std"],
        "difference": images["difference"], "z": images["z"],
        "evidence": images["evidence"].expand_dims("band"),
    }  # fmt: skip
    for name, image in shown.items():
        tile = view.tile(name, 0, 0, 0, 0)
        known = image.values[..., : GRID.height, : GRID.width]
        np.testing.assert_allclose(tile[:, : GRID.height, : GRID.width], known, atol=1e-5)
    change = view.tile("change", 0, 0, 0, 0)[0, : GRID.height, : GRID.width]
    expected = event_image().astype(float)  # events 1, 2, 3 are a loss, a gain and mixed
    expected[0, 0] = np.nan
    np.testing.assert_array_equal(change, expected)
    days = view.tile("change-date", 0, 0, 0, 0)[0]
    assert days[12, 25] == WATCHED[1].astype("datetime64[D]").astype(int)
    assert np.isnan(days[0, 0])
    assert view.tile("looks", 0, 0, 0, 0)[0, 0, 0] == 0.0


def test_colours_are_those_of_the_styles(detection: Path) -> None:
    layers = {
        each["id"]: each for each in open_path(detection, Shown()).current().description()["layers"]
    }
    assert layers["difference"]["ranges"] == [[-3.0, 3.0]] * 2
    assert [each["colour"] for each in layers["change"]["categories"]] == [
        stop.colour for stop in styles.CHANGE[:4]
    ]
    assert layers["change-date"]["format"] == "date"
    ramps = open_path(detection, Shown()).current().description()["ramps"]
    assert [colour for _, colour, _ in ramps["difference"]] == [s.colour for s in styles.DIFFERENCE]


def test_a_pixel_of_a_detection(detection: Path) -> None:
    series = open_path(detection, Shown()).current().series(25, 12)
    assert series["evidence"] == 5.0
    assert series["threshold"] == 3.0
    assert series["baseline"] == iso_time(BASELINE)
    assert series["at_pixel"]["difference"] == [-3.0, -3.0]
    assert series["times"] == []


def test_events_are_in_the_crs_of_the_cube_with_their_columns(detection: Path) -> None:
    collection = open_path(detection, Shown()).current().events.collection()
    first = collection["features"][0]
    assert first["properties"]["direction"] == "loss"
    assert first["properties"]["verdict"] is None
    xs, ys = np.array(first["geometry"]["coordinates"][0][0]).T
    assert (xs.min(), xs.max()) == (500_200.0, 500_300.0)
    assert (ys.min(), ys.max()) == (6_899_840.0, 6_899_900.0)
    assert collection["colours"]["loss"] == styles.DIRECTIONS["loss"].colour
    json.dumps(collection, allow_nan=False)


def test_a_pixel_inside_each_event(detection: Path) -> None:
    events = open_path(detection, Shown()).current().events
    for number in (1, 2, 3):
        column, row = events.pixel(number)
        assert event_image()[row, column] == number


def test_verdicts_are_kept_as_truth(detection: Path) -> None:
    events = open_path(detection, Shown()).current().events
    events.judge(1, "true")
    events.judge(2, "false")
    events.judge(3, "true")
    events.judge(3, None)
    verdicts = {
        each["id"]: each["properties"]["verdict"] for each in events.collection()["features"]
    }
    assert verdicts == {1: "true", 2: "false", 3: None}
    truth = read_truth(detection / "verdicts.gpkg", GRID)
    assert truth["kind"].tolist() == ["loss"]
    assert truth["earliest"].tolist() == [WATCHED[0].astype("datetime64[s]")]
    assert truth["latest"].tolist() == [WATCHED[1].astype("datetime64[s]")]
    np.testing.assert_allclose(truth["area_ha"], 0.6, rtol=0.01)
    events.judge(1, "false")
    assert events.collection()["features"][0]["properties"]["verdict"] == "false"


def test_verdicts_on_another_run_stay_and_are_not_shown(detection: Path) -> None:
    open_path(detection, Shown()).current().events.judge(1, "true")
    (detection / "run.yaml").write_text("detect:\n  cube: other.zarr\n  model: mean\n  seed: 2\n")
    events = open_path(detection, Shown()).current().events
    assert events.collection()["features"][0]["properties"]["verdict"] is None
    events.judge(2, "true")
    assert len(read_truth(detection / "verdicts.gpkg", GRID)) == 2


def test_an_event_that_does_not_exist(detection: Path) -> None:
    events = open_path(detection, Shown()).current().events
    for act in (events.pixel, events.history, lambda number: events.judge(number, "true")):
        with pytest.raises(NoSuchEventError, match="there is no event 7"):
            act(7)
    assert not (detection / "verdicts.gpkg").exists()


def test_a_damaged_file_of_verdicts_is_not_replaced(detection: Path) -> None:
    (detection / "verdicts.gpkg").write_bytes(b"not a database")
    events = open_path(detection, Shown()).current().events
    with pytest.raises(SarcastError, match=r"verdicts\.gpkg cannot be read"):
        events.judge(1, "true")
    assert (detection / "verdicts.gpkg").read_bytes() == b"not a database"


def test_layers_of_files_that_are_links_elsewhere_are_left_out(
    detection: Path, tmp_path: Path
) -> None:
    (detection / "evidence.tif").rename(tmp_path / "evidence.tif")
    (detection / "evidence.tif").symlink_to(tmp_path / "evidence.tif")
    layers = open_path(detection, Shown()).current().layers
    assert "evidence" not in layers
    assert "expected" in layers


@pytest.mark.parametrize("verb", ["predict", "evaluate"])
def test_a_folder_of_another_verb(detection: Path, verb: str) -> None:
    write_run(detection, verb)
    with pytest.raises(SarcastError, match=f"a result of sarcast {verb}; expected a cube"):
        open_path(detection, Shown())


def test_a_folder_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match="nothing that can be shown; expected a cube"):
        open_path(tmp_path, Shown())


def test_a_detection_without_its_cube_needs_it_for_a_model(detection: Path) -> None:
    from sarcast.prediction.strategies import STRATEGIES

    with pytest.raises(SarcastError, match="was not found; name it with --cube"):
        open_path(detection, Shown(STRATEGIES["mean"]))


def test_previous_images_are_those_of_the_record(detection: Path) -> None:
    result = Result.open(detection)
    assert result.previous.previous == 3
    assert result.end_of_baseline == BASELINE + np.timedelta64(1, "s")


# --- alerts ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def alerts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return alerts_folder(tmp_path_factory.mktemp("alerts") / "alerts")


def test_layers_of_alerts(alerts: Path) -> None:
    view = open_path(alerts, Shown()).current()
    assert view.kind == "alerts"
    status = view.tile("status", 0, 0, 0, 0)[0]
    square = status[SQUARE]
    assert set(np.unique(square)) <= {2.0, 3.0, 5.0, 6.0}
    days = view.tile("first-date", 0, 0, 0, 0)[0]
    first = np.datetime64(day(FIRST), "D").astype(int)
    assert np.nanmedian(days[SQUARE]) == first
    assert np.isnan(days[status == 0.0]).all()
    magnitude = view.tile("magnitude", 0, 0, 0, 0)
    with rasterio.open(alerts / "magnitude.tif") as source:
        np.testing.assert_array_equal(magnitude[:, : source.height, : source.width], source.read())
    assert np.nanmean(magnitude[(slice(None), *SQUARE)]) < -4.0


def test_alerts_have_a_history_and_verdicts(alerts: Path) -> None:
    events = open_path(alerts, Shown()).current().events
    (event,) = [
        each for each in events.collection()["features"] if each["properties"]["area_ha"] > 0.5
    ]
    rows = events.history(event["id"])
    assert rows[0]["date"].startswith(day(FIRST))
    assert {row["id"] for row in rows} == {event["id"]}
    assert rows[-1]["state"] == "confirmed"
    events.judge(event["id"], "true")
    grid = Result.open(alerts).grid
    truth = read_truth(alerts / "verdicts.gpkg", grid)
    assert truth["latest"][0] == times()[FIRST].astype("datetime64[s]")
    assert truth["latest"][0] - truth["earliest"][0] == np.timedelta64(1, "D")  # no cube is there


def test_a_change_began_after_the_acquisition_before_its_alert(alerts: Path) -> None:
    from dataclasses import replace

    events = open_path(alerts, Shown()).current().events
    events = replace(events, times=tuple(alert_cube()["time"].values))
    (event,) = [
        each["id"]
        for each in events.collection()["features"]
        if each["properties"]["area_ha"] > 0.5
    ]
    events.judge(event, "true")
    truth = read_truth(alerts / "verdicts.gpkg", Result.open(alerts).grid)
    assert truth["earliest"][0] == times()[FIRST - 1].astype("datetime64[s]")


# --- opened again ---------------------------------------------------------------------------------


def test_what_has_changed_is_opened_again(detection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sarcast.viewer.view._CHECK_S", 0.0)
    opened = open_path(detection, Shown())
    first = opened.current()
    assert opened.current() is first
    item = json.loads((detection / "item.json").read_text())
    item["properties"]["sarcast:threshold"] = 4.5
    (detection / "item.json").write_text(json.dumps(item))
    assert opened.current().version != first.version
    assert opened.current().description()["threshold"] == 4.5
    kept = opened.current()
    (detection / "item.json").write_text("{")  # half written
    assert opened.current() is kept


def test_answers_of_a_dataset(images: CubeImages) -> None:
    answers = Answers(Opened(lambda _version: view_of_cube(images.cube, "cube", Shown())))
    answer = answers.series(SeriesRequest(x=1, y=2, format="csv"))
    assert answer.about == {"file": "series-1-2.csv"}
    assert isinstance(images.cube, xr.Dataset)
