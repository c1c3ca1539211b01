"""One contract for every catalogue, and the same cube from each of them."""

import datetime as dt
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import shapely
import xarray as xr
from odc.geo.geom import Geometry, box
from shapely.affinity import rotate

from conftest import GRID, opera_name
from sarcast.catalogue import Catalogue, open_catalogue, open_writable
from sarcast.cli import main
from sarcast.errors import SarcastError, UsageError
from sarcast.io.footprint import canonical_box
from services import PASSWORD, Database, postgresql, required, sql, stac_api

KINDS = ("folder", "database", "api")
COLLECTIONS = ("rtc", "grd")
START = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
AREA = box(24.0, 60.0, 28.0, 64.0, "EPSG:4326")


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    for module in ("psycopg", "pypgstac", "stac_fastapi.pgstac", "uvicorn"):
        try:
            found = importlib.util.find_spec(module)
        except ModuleNotFoundError:
            found = None
        if found is None:
            required(f"{module} (pip install 'sarcast[pgstac]')")
    with postgresql() as running:
        yield running


@pytest.fixture(scope="module")
def database(server: Database) -> Database:
    """The server with pgstac in ``catalogue``, set up as in the README."""
    if not sql(
        server.url("postgres"), "SELECT name FROM pg_available_extensions WHERE name = 'postgis'"
    ):
        required("PostGIS")
    for name in ("empty", "older", "catalogue"):
        sql(server.url("postgres"), f"CREATE DATABASE {name}")
    sql(server.url("older"), "CREATE SCHEMA pgstac")
    sql(
        server.url("older"),
        "CREATE TABLE pgstac.migrations AS SELECT '0.6.13' AS version, now() AS datetime",
    )
    command = [Path(sys.executable).with_name("pypgstac"), "migrate", "--dsn"]
    subprocess.run([*command, server.url("catalogue")], check=True, capture_output=True)
    return server


@pytest.fixture(scope="module")
def api(database: Database) -> Iterator[str]:
    with stac_api(database, "catalogue") as url:
        yield url


# --- the items ----------------------------------------------------------------------------------


def item(number: int, shape: Any, time: dt.datetime | None, **fields: Any) -> pystac.Item:
    """An item with metadata that differs from source to source."""
    made = pystac.Item(
        id=f"item-{number:03d}",
        geometry=json.loads(json.dumps(shapely.geometry.mapping(shape))),
        bbox=list(shape.bounds),
        datetime=time,
        properties={"platform": "sentinel-1a", "sat:relative_orbit": number + 1, **fields},
        collection=COLLECTIONS[number % 2],
    )
    bands = [{"name": "VV", "unit": "dB"}, {"name": "VH", "unit": "dB"}]
    extra = {"bands": bands, **({"nodata": -32768} if number % 3 else {})}
    href = f"/data/{number}.tif" if number % 2 else f"https://example.org/{number}.tif?a=b"
    made.add_asset("vv-vh" if number % 4 else "data", pystac.Asset(href, extra_fields=extra))
    return made


def random_items(rng: np.random.Generator, count: int = 60) -> list[pystac.Item]:
    """Tilted footprints as of a pass; of some only the bounding box touches the area."""
    items = []
    for number in range(count):
        west, south = float(rng.uniform(20, 31)), float(rng.uniform(56, 67))
        tilted = rotate(
            shapely.box(west, south, west + 2.5, south + 1.0), float(rng.uniform(8, 30))
        )
        time = START + dt.timedelta(days=number, microseconds=int(rng.integers(1_000_000)))
        items.append(item(number, tilted, time))
    return items


def unusual_items() -> list[pystac.Item]:
    """A range without datetime, one around it, a footprint in two parts, a hole, one pixel."""
    inside = shapely.box(25.0, 61.0, 26.0, 62.0)
    time_range = {"start_datetime": "2020-03-20T00:00:00Z", "end_datetime": "2020-03-22T00:00:00Z"}
    parts = shapely.MultiPolygon(
        [shapely.box(10.0, 61.0, 11.0, 62.0), shapely.box(40.0, 61, 41, 62)]
    )
    hole = shapely.Polygon(
        shapely.box(20, 56, 32, 68).exterior, [shapely.box(22, 58, 30, 66).exterior]
    )
    noon = START + dt.timedelta(days=79, hours=12)
    return [
        item(100, inside, None, **time_range),
        item(101, inside, noon, **time_range),
        item(102, inside, noon, **{"sar:polarizations": ["VV"], "sarcast:burst": "T001"}),
        item(103, parts, noon),
        item(104, hole, noon),
        item(105, shapely.box(25.0, 61.0, 25.0001, 61.0001), noon),
    ]


ITEMS = [*random_items(np.random.default_rng(5)), *unusual_items()]


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def writable(
    kind: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Folder or URL to which items of one of the implementations are added."""
    if kind == "folder":
        return tmp_path_factory.mktemp("contract")
    return request.getfixturevalue("database").url("catalogue")


@pytest.fixture(scope="module")
def catalogue(
    kind: str, writable: Any, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Catalogue]]:
    """Open one of the implementations, filled with the same items; searches take many pages."""
    open_writable(writable).add(ITEMS)
    source = request.getfixturevalue("api") if kind == "api" else writable
    with pytest.MonkeyPatch.context() as patch:
        if kind != "folder":
            patch.setattr(f"sarcast.catalogue.{kind}.PAGE", 7)
        yield lambda collections=COLLECTIONS: open_catalogue(source, collections, allow=("/data",))


def expected(
    area: Geometry | None, start: dt.datetime | None, end: dt.datetime | None
) -> list[str]:
    """A plain loop over all items."""
    matches = []
    for entry in ITEMS:
        metadata = entry.common_metadata
        first = metadata.start_datetime or entry.datetime
        last = metadata.end_datetime or entry.datetime
        if (start and last < start) or (end and first > end):  # type: ignore[operator]
            continue
        if area is None or shapely.intersects(shapely.geometry.shape(entry.geometry), area.geom):
            matches.append((entry.datetime or first, entry.id))
    return [name for _, name in sorted(matches)]  # type: ignore[type-var]


RANGES = {
    "all": (None, None),
    "from": (START + dt.timedelta(days=30), None),
    "until": (None, START + dt.timedelta(days=30)),
    "within": (START + dt.timedelta(days=10), START + dt.timedelta(days=50)),
    "at the end of a range": (dt.datetime(2020, 3, 22, tzinfo=dt.UTC), None),
    "at the start of a range": (
        START + dt.timedelta(days=65),
        dt.datetime(2020, 3, 20, tzinfo=dt.UTC),
    ),
    "from an item's microsecond": (ITEMS[20].datetime, None),
    "until an item's microsecond": (None, ITEMS[20].datetime),
    "before an item's microsecond": (None, ITEMS[20].datetime - dt.timedelta(microseconds=1)),  # type: ignore[operator]
    "never": (dt.datetime(1999, 1, 1, tzinfo=dt.UTC), dt.datetime(1999, 2, 1, tzinfo=dt.UTC)),
}


# --- the contract -------------------------------------------------------------------------------


@pytest.mark.service
@pytest.mark.parametrize("when", RANGES)
@pytest.mark.parametrize("where", ["everywhere", "area"])
def test_search_agrees_with_a_plain_loop(
    catalogue: Callable[..., Catalogue], where: str, when: str
) -> None:
    area = AREA if where == "area" else None
    found = catalogue().search(area, RANGES[when])
    wanted = expected(area, *RANGES[when])
    assert [entry.id for entry in found] == wanted
    assert (len(wanted) > 0) == (when != "never")


def test_the_plain_loop_differs_from_a_search_by_bounding_boxes() -> None:
    """Otherwise the contract would accept a search by bounding boxes alone."""
    boxes = [entry.id for entry in ITEMS if shapely.intersects(shapely.box(*entry.bbox), AREA.geom)]
    assert set(boxes) > set(expected(AREA, None, None))


@pytest.mark.service
def test_an_area_in_another_crs(catalogue: Callable[..., Catalogue]) -> None:
    projected = GRID.extent.buffer(300_000.0)
    found = [entry.id for entry in catalogue().search(projected)]
    assert found == expected(projected.to_crs("EPSG:4326"), None, None)
    assert 0 < len(found) < len(ITEMS)


@pytest.mark.service
@pytest.mark.parametrize("notation", ["beyond 180", "beyond -180", "that jump"])
def test_scenes_and_areas_across_180_degrees(
    catalogue: Callable[..., Catalogue], writable: Any, notation: str
) -> None:
    """In every notation of the footprints and of the areas, each kind of catalogue finds them."""
    name = f"across-{notation.replace(' ', '-')}"
    open_writable(writable).add(across_180(notation, name))
    searched = catalogue([name])
    for west, east, numbers in (
        (179.9, 179.95, {0, 1}),
        (-179.95, -179.9, {0, 2}),
        (180.05, 180.1, {0, 2}),
        (179.9, 180.1, {0, 1, 2}),
        (-180.1, -179.9, {0, 1, 2}),
        (0.0, 1.0, set()),
        (170.0, 190.0, {0, 1, 2}),
    ):
        area = box(west, 10.2, east, 10.8, "EPSG:4326")
        assert {int(e.id[-1]) for e in searched.search(area)} == numbers, (west, east)
    assert searched.search(canonical_box(-178.0, 10.2, 178.0, 10.8)) == []
    assert searched.search()[0].bbox == pytest.approx([179.5, 10.0, -179.5, 11.0])


def across_180(notation: str, collection: str) -> list[pystac.Item]:
    """One item across 180 degrees, and one on each side."""
    items = []
    for number, (west, east) in enumerate(((179.5, 180.5), (179.5, 180.0), (180.0, 180.5))):
        ring = np.array(shapely.box(west, 10.0, east, 11.0).exterior.coords)
        if notation == "beyond -180":
            ring[:, 0] -= 360.0
        if notation == "that jump":
            ring[:, 0] = (ring[:, 0] + 180.0) % 360.0 - 180.0
        items.append(item(number, shapely.Polygon(ring), START + dt.timedelta(days=number)))
        items[-1].collection_id = collection
    return items


@pytest.mark.service
def test_times_without_a_time_zone_are_utc(catalogue: Callable[..., Catalogue]) -> None:
    naive = (dt.datetime(2020, 1, 11), dt.datetime(2020, 2, 20))
    aware = tuple(time.replace(tzinfo=dt.UTC) for time in naive)
    assert [entry.id for entry in catalogue().search(None, naive)] == expected(None, *aware)


@pytest.mark.service
def test_items_keep_their_fields(catalogue: Callable[..., Catalogue]) -> None:
    """And get no others: a field of one source is not null for the others."""
    found = {entry.id: entry for entry in catalogue().search()}
    for entry in ITEMS:
        got = found[entry.id]
        assert plain(got.properties) == plain(entry.properties)
        assert {k: a.to_dict() for k, a in got.assets.items()} == {
            k: a.to_dict() for k, a in entry.assets.items()
        }
        assert got.datetime == entry.datetime
        assert got.collection_id == entry.collection_id
        assert shapely.equals_exact(
            shapely.geometry.shape(got.geometry), shapely.geometry.shape(entry.geometry), 1e-9
        )
        np.testing.assert_allclose(got.bbox, entry.bbox, atol=1e-9)


def plain(properties: dict[str, Any]) -> dict[str, Any]:
    """Properties except times, whose notation may differ."""
    return {key: value for key, value in properties.items() if not key.endswith("datetime")}


@pytest.mark.service
def test_collections(catalogue: Callable[..., Catalogue]) -> None:
    for name in COLLECTIONS:
        ids = {entry.id for entry in catalogue([name]).search()}
        assert ids == {entry.id for entry in ITEMS if entry.collection_id == name}
    assert catalogue(["other"]).search() == []


@pytest.mark.service
@pytest.mark.parametrize("kind", ["folder", "database"])
def test_adding_again_replaces(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Also if an item occurs twice in one call, and if its date changes."""
    target: Any = tmp_path
    if kind == "database":
        target = request.getfixturevalue("database").url("catalogue")
    growing = open_writable(target)
    here = shapely.box(0.0, 0.0, 1.0, 1.0)
    first = [item(number, here, START + dt.timedelta(days=number)) for number in range(4)]
    for entry in first:
        entry.collection_id = "again"
    assert growing.add(first) == 4
    if kind == "database":  # a collection of somebody else, kept in a table a month
        monthly = "UPDATE pgstac.collections SET partition_trunc = 'month' WHERE id = 'again'"
        sql(request.getfixturevalue("database").url("catalogue"), monthly)
    moved = item(1, here, START + dt.timedelta(days=400), platform="sentinel-1b")
    other = item(1, here, START, platform="sentinel-1c")
    other.collection_id = moved.collection_id = "again"
    assert growing.add([other, moved]) == 4
    found = open_catalogue(target, ["again"]).search()
    assert [entry.id for entry in found] == ["item-000", "item-002", "item-003", "item-001"]
    assert found[-1].properties["platform"] == "sentinel-1b"


# --- from scenes to a cube ----------------------------------------------------------------------


@pytest.mark.service
def test_the_same_cube_from_each(
    database: Database,
    api: str,
    tmp_path: Path,
    scene_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    rng = np.random.default_rng(1)
    names = [opera_name(f"202003{day:02d}T153000") for day in (1, 7, 13)]
    scenes = scene_folder({name: rng.gamma(4.0, 0.05, (2, *GRID.shape)) for name in names})
    run("index", scenes, "--to", tmp_path / "folder")
    for _ in range(2):  # the second time nothing is doubled
        run("index", scenes, "--to", database.url("catalogue"), "--collection", "opera")
        assert "now holds 3" in capsys.readouterr().err
    cubes = []
    for number, source in enumerate([tmp_path / "folder", database.url("catalogue"), api]):
        more = () if number == 0 else ("--collection", "opera")
        allowed = ("--allow-href", scenes) if source == api else ()
        run("cube", source, "--to", tmp_path / f"{number}.zarr", *more, *allowed)
        cubes.append(xr.open_zarr(tmp_path / f"{number}.zarr").load())
    assert cubes[0].sizes["time"] == 3
    for other in cubes[1:]:
        xr.testing.assert_identical(cubes[0], other)
    assert_hidden(capsys.readouterr().err)


def run(*words: object) -> None:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    assert ended.value.code == 0


def assert_hidden(text: str) -> None:
    from urllib.parse import quote

    assert "sesame" not in text
    assert quote(PASSWORD, safe="") not in text


# --- databases with faults -----------------------------------------------------------------------


@pytest.mark.service
def test_a_database_that_is_down(server: Database) -> None:
    gone = Database(1).url("catalogue")
    with pytest.raises(SarcastError, match=r"catalogue at 127\.0\.0\.1 cannot be reached") as error:
        open_catalogue(gone).search()
    assert_hidden(str(error.value))


@pytest.mark.service
@pytest.mark.parametrize(
    ("name", "password", "message"),
    [
        ("nothing", PASSWORD, 'database "nothing" does not exist'),
        ("catalogue", "open sesame", "password authentication failed"),
        ("older", PASSWORD, r"contains pgstac 0\.6\.13, expected .*: pypgstac migrate"),
        ("empty", PASSWORD, "contains no pgstac, expected .*: pypgstac migrate"),
    ],
)
def test_a_wrong_database(database: Database, name: str, password: str, message: str) -> None:
    wrong = database.url(name, password)
    for attempt in (open_catalogue(wrong).search, lambda: open_writable(wrong)):
        with pytest.raises(SarcastError, match=message) as error:
            attempt()
        assert_hidden(str(error.value))


@pytest.mark.service
def test_a_user_without_rights(database: Database) -> None:
    sql(database.url("catalogue"), "CREATE ROLE guest LOGIN PASSWORD 'guest'")
    guest = database.url("catalogue").replace("sarcast:", "guest:", 1)
    guest = guest.replace(guest.split(":")[2].split("@")[0], "guest")
    with pytest.raises(SarcastError, match="may read and write in the schema pgstac"):
        open_writable(guest)
    sql(database.url("catalogue"), "GRANT pgstac_read TO guest")
    with pytest.raises(SarcastError, match="may read and write in the schema pgstac"):
        open_writable(guest).add(ITEMS)


@pytest.mark.service
def test_a_url_that_cannot_be_parsed(server: Database) -> None:
    with pytest.raises(UsageError, match="expected postgresql://HOST:PORT") as error:
        open_catalogue("postgresql://sarcast:open sesame@[::1/catalogue")
    assert_hidden(str(error.value))
