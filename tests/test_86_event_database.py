"""Events and runs in PostgreSQL with PostGIS: rows, transactions, versions, faults."""

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import geopandas
import numpy as np
import pandas as pd
import pystac
import pytest
import shapely
import torch

from conftest import GRID
from sarcast.catalogue import open_catalogue
from sarcast.detection.event_files import LAYER, write_events
from sarcast.detection.output import write_item
from sarcast.detection.publish import open_event_database, publish_events
from sarcast.detection.runs import inputs_hash, read_run
from sarcast.errors import SarcastError, UsageError
from sarcast.prediction import load_model
from services import PASSWORD, USER, Database, create_database, postgresql, required, sql
from small_alerts import DATES, FIRST, alert_cube, day
from small_changes import acquired_cube
from small_detections import WATCHED, by_hand, event_image
from test_90_cli import fails, run
from test_94_monitor_cli import FLAGS

pytestmark = pytest.mark.service
TABLES = ("runs", "events", "event_history")


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    """A server whose database ``gis`` has PostGIS, from which others are copied."""
    if importlib.util.find_spec("psycopg") is None:
        required("psycopg (pip install 'sarcast[postgis]')")
    with postgresql() as running:
        create_database(running, "gis", "postgis")
        yield running


@pytest.fixture
def url(server: Database, request: pytest.FixtureRequest) -> str:
    """A new database with PostGIS."""
    name = f"t{abs(hash(request.node.name)):x}"
    sql(server.url(), f"CREATE DATABASE {name} TEMPLATE gis")
    return server.url(name)


def folder_with(
    folder: Path, event: np.ndarray | None = None, *, cube: str = "cube.zarr", **properties: Any
) -> Path:
    """Events made by hand, record and item of a detection folder, without its rasters."""
    folder.mkdir()
    made_by = {"sarcast:model": "mean", "sarcast:inputs": "c0ffee", **properties}
    write_events(by_hand(event).events, folder)
    write_item(folder, "change-2020-08-28", GRID, WATCHED[-1], made_by, watched=WATCHED)
    (folder / "run.yaml").write_text(
        f"detect:\n  cube: {cube}\n  model: mean\n  to: {folder}\n  acquisitions: 3\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture
def change(tmp_path: Path) -> Path:
    return folder_with(tmp_path / "change")


def write(folder: Path, url: str) -> None:
    publish_events(folder, open_event_database(url))


def rows(url: str, table: str) -> list[dict[str, Any]]:
    """Rows of a table with the transaction that wrote them, ordered by key."""
    found = sql(url, f"SELECT to_jsonb(t) || jsonb_build_object('xmin', t.xmin::text) "
                     f"FROM sarcast.{table} t ORDER BY 1")  # fmt: skip
    return [row for (row,) in found]


def outlines(url: str) -> list[shapely.Geometry]:
    found = sql(url, "SELECT ST_AsBinary(geometry) FROM sarcast.events ORDER BY id")
    return [shapely.from_wkb(bytes(row)) for (row,) in found]


# --- rows -----------------------------------------------------------------------------------------


def test_the_rows_are_those_of_the_event_files(url: str, change: Path) -> None:
    write(change, url)
    features = json.loads((change / "events.geojson").read_text())["features"]
    assert len(features) == 3
    for feature, row, outline in zip(features, rows(url, "events"), outlines(url), strict=True):
        for name, value in feature["properties"].items():
            got = row[name].replace("+00:00", "Z") if name in TIMES else row[name]
            assert got == value, name
        assert outline.geom_type == "MultiPolygon"
        assert shapely.equals_exact(
            outline.normalize(), multi(shapely.geometry.shape(feature["geometry"])).normalize()
        )


TIMES = ("date", "previous_date", "earliest", "latest")


def multi(shape: shapely.Geometry) -> shapely.MultiPolygon:
    return shapely.MultiPolygon(list(shapely.get_parts(shape)))


def test_the_columns_have_the_types_of_the_files(url: str, tmp_path: Path) -> None:
    """Also where the first run has no event: the file has no values then, but types."""
    empty = np.zeros_like(event_image())
    write(folder_with(tmp_path / "empty", empty), url)
    found = dict(sql(url, "SELECT column_name, data_type FROM information_schema.columns "
                          "WHERE table_schema = 'sarcast' AND table_name = 'events'"))  # fmt: skip
    assert found["id"] == "bigint"
    assert {found[name] for name in TIMES} == {"timestamp with time zone"}
    assert found["direction"] == found["cover"] == "text"
    assert found["area_ha"] == found["mean_vh_db"] == found["evidence"] == "double precision"
    assert rows(url, "events") == []
    write(folder_with(tmp_path / "full", **{"sarcast:inputs": "other"}), url)
    assert len(rows(url, "events")) == 3


def test_the_run_says_what_it_was_made_from(url: str, change: Path) -> None:
    write(change, url)
    (row,) = rows(url, "runs")
    assert (row["verb"], row["cube"], row["model"]) == ("detect", "cube.zarr", "mean")
    assert row["options"] == {"cube": "cube.zarr", "model": "mean", "to": str(change),
                              "acquisitions": 3}  # fmt: skip
    assert row["grid"]["proj:code"] == "EPSG:32635"
    assert row["first_acquisition"] == f"{WATCHED[0]}+00:00"
    assert row["last_acquisition"] == f"{WATCHED[-1]}+00:00"
    assert row["series_id"] == row["run_id"] == read_run(change).run_id
    item = json.loads((change / "item.json").read_text())
    assert row["software"] == item["properties"]["processing:software"]["sarcast"]
    assert row["geometry"]["type"] == "MultiPolygon"
    assert {event["run_id"] for event in rows(url, "events")} == {row["run_id"]}


def test_events_are_found_by_place_with_an_index(url: str, change: Path) -> None:
    write(change, url)
    west, south, east, north = outlines(url)[0].bounds
    within = f"geometry && ST_MakeEnvelope({west}, {south}, {east}, {north}, 4326)"
    assert sql(url, f"SELECT id FROM sarcast.events WHERE {within}") == [(1,)]
    plan = sql(
        url, f"SET enable_seqscan = off; EXPLAIN SELECT id FROM sarcast.events WHERE {within}"
    )
    assert "events_geometry_idx" in str(plan)


# --- runs written again ---------------------------------------------------------------------------


def test_the_same_run_twice_changes_nothing(
    url: str, change: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even the row versions; also from another folder and another path to the cube."""
    write(change, url)
    assert "3 events of run" in capsys.readouterr().err
    before = {table: rows(url, table) for table in TABLES}
    write(change, url)
    assert "nothing changed" in capsys.readouterr().err
    assert {table: rows(url, table) for table in TABLES} == before
    write(folder_with(tmp_path / "again", cube="/data/cube.zarr"), url)
    assert rows(url, "events") == before["events"]


def test_a_run_with_another_result_replaces_its_events(
    url: str, change: Path, tmp_path: Path
) -> None:
    write(change, url)
    before = {row["id"]: row for row in rows(url, "events")}
    moved = event_image()
    moved[moved == 3] = 0
    moved[40:45, 50:55] = 0
    moved[50:53, 70:72] = 2
    write(folder_with(tmp_path / "second", moved), url)
    after = {row["id"]: row for row in rows(url, "events")}
    assert set(after) == {1, 2}
    assert after[1] == before[1]  # not even its version
    assert after[2]["geometry"] != before[2]["geometry"]
    assert len(rows(url, "runs")) == 1


def test_runs_side_by_side(url: str, change: Path, tmp_path: Path) -> None:
    write(change, url)
    before = rows(url, "events")
    write(folder_with(tmp_path / "other", **{"sarcast:inputs": "other"}), url)
    assert [row for row in rows(url, "events") if row in before] == before
    assert len({row["feature_id"] for row in rows(url, "events")}) == 6


def test_what_was_asked_tells_runs_apart(tmp_path: Path) -> None:
    """Not where the cube and the result lie."""
    plain = read_run(folder_with(tmp_path / "change"))
    elsewhere = replace(plain, options={**plain.options, "to": "b", "overwrite": True}, cube="c")
    assert elsewhere.run_id == plain.run_id
    others = [
        replace(plain, options={**plain.options, "acquisitions": 4}),
        replace(plain, inputs="other"),
        replace(plain, last=plain.last + np.timedelta64(1, "s")),
        replace(plain, verb="monitor"),
    ]
    assert len({run.run_id for run in (plain, *others)}) == 5


def test_inputs_are_the_acquisitions_and_the_model() -> None:
    """Acquisitions after the last watched one do not matter: the cube may have grown."""
    cube = acquired_cube(30)
    last, made_by = cube["time"].values[20], {"sarcast:model": "base"}
    plain = inputs_hash(cube, last, made_by)
    assert inputs_hash(cube.isel(time=slice(0, 25)), last, made_by) == plain
    reprocessed = cube.assign_coords(scene_id=cube["scene_id"].str.replace("scene 3", "scene 3b"))
    others = [
        inputs_hash(cube, cube["time"].values[21], made_by),
        inputs_hash(reprocessed, last, made_by),
        inputs_hash(cube.assign_attrs(speckle_filter="lee"), last, made_by),
        inputs_hash(cube.isel(x=slice(1, None)), last, made_by),
        inputs_hash(cube, last, {"sarcast:model": "base", "sarcast:model_sha256": "0"}),
    ]
    assert len({plain, *others}) == 6


def test_weights_have_one_hash_in_every_precision() -> None:
    plain, fast = (load_model("base", precision=name) for name in ("float32", "bfloat16"))
    assert re.fullmatch("[0-9a-f]{64}", plain.weights_sha256)
    assert plain.weights_sha256 == fast.weights_sha256
    with torch.no_grad():
        next(plain.network.parameters()).flatten()[0] += 1e-3
    assert plain.weights_sha256 != fast.weights_sha256


# --- a monitor ------------------------------------------------------------------------------------


NIGHTS = ("2020-09-03T04:51:02", "2020-09-09T04:51:02", "2020-09-15T04:51:02")
EVENTS = {
    "2020-09-03": {1: (0.3, "alert"), 2: (0.2, "alert")},
    "2020-09-09": {1: (0.6, "confirmed"), 2: (0.2, "alert"), 3: (0.1, "alert")},
    "2020-09-15": {1: (0.6, "confirmed"), 3: (0.2, "alert")},
}
"""Area and state of the events of a monitor, by night; event 2 is dismissed in the third."""


def night(folder: Path, last: int, **states: dict[int, tuple[float, str]]) -> Path:
    """The folder of a monitor after one of the nights, in the form that ``monitor`` writes."""
    known = {**EVENTS, **{name.replace("_", "-"): each for name, each in states.items()}}
    times = np.array(NIGHTS[: last + 1], dtype="datetime64[s]")
    now = known[NIGHTS[last][:10]]
    plain = by_hand().events
    plain = plain[plain["id"].isin(list(now))]
    columns = {
        "id": plain["id"],
        "state": [now[number][1] for number in plain["id"]],
        "first_date": "2020-09-03",
        "confirmed_date": "",
        "area_ha": [now[number][0] for number in plain["id"]],
        "parents": "",
    }
    events = geopandas.GeoDataFrame(columns, geometry=plain.geometry.values, crs=plain.crs)
    events = events.astype({"id": "int64", "area_ha": "float64", "state": "str"})
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    events.to_file(folder / "events.gpkg", layer=LAYER, geometry_type="MultiPolygon",
                   promote_to_multi=True)  # fmt: skip
    rows = [
        {"date": f"{time}Z", "id": number, "state": state, "area_ha": area, "merged_into": 0}
        for time in NIGHTS[: last + 1]
        for number, (area, state) in known[time[:10]].items()
    ]
    names = ["date", "id", "state", "area_ha", "merged_into"]
    pd.DataFrame(rows, columns=names).to_csv(folder / "history.csv", index=False)
    made_by = {"sarcast:model": "mean", "sarcast:monitor": "north", "sarcast:state": f"{rows}"}
    write_item(folder, "monitor", GRID, times[-1], made_by, watched=times)
    (folder / "run.yaml").write_text("monitor:\n  cube: cube.zarr\n", encoding="utf-8")
    return folder


def history(url: str) -> dict[str, dict[int, tuple[float, str]]]:
    """Area and state of events by night, as in the database."""
    nights: dict[str, dict[int, tuple[float, str]]] = {}
    for time, number, area, state in sql(
        url, "SELECT date::date::text, id, area_ha, state FROM sarcast.event_history"
    ):
        nights.setdefault(time, {})[number] = (area, state)
    return nights


def test_a_later_state_of_a_monitor_replaces_its_events(url: str, tmp_path: Path) -> None:
    write(night(tmp_path / "alerts", 0), url)
    first = {row["id"]: row for row in rows(url, "events")}
    assert set(first) == {1, 2}
    assert first[1]["feature_id"] == "north-1"
    assert first[1]["date"] == "2020-09-03T00:00:00+00:00"  # by which an API filters
    assert first[1]["confirmed_date"] is None
    write(night(tmp_path / "alerts", 1), url)
    second = {row["id"]: row for row in rows(url, "events")}
    assert [second[number]["state"] for number in (1, 2, 3)] == ["confirmed", "alert", "alert"]
    assert second[2] == first[2]  # nothing new: not written again
    assert second[1]["run_id"] != first[1]["run_id"]
    write(night(tmp_path / "alerts", 2), url)
    assert {row["id"] for row in rows(url, "events")} == {1, 3}
    assert history(url) == EVENTS
    assert [row["series_id"] for row in rows(url, "runs")] == ["north"] * 3
    before = {table: rows(url, table) for table in TABLES}
    write(night(tmp_path / "alerts", 2), url)
    assert {table: rows(url, table) for table in TABLES} == before


def test_a_monitor_without_events_yet(url: str, tmp_path: Path) -> None:
    """A history without rows says nothing about the types of its columns."""
    write(night(tmp_path / "alerts", 0, **{"2020_09_03": {}}), url)
    assert rows(url, "events") == rows(url, "event_history") == []
    write(night(tmp_path / "alerts", 1, **{"2020_09_03": {}}), url)
    assert history(url) == {"2020-09-09": EVENTS["2020-09-09"]}


def test_a_monitor_that_was_replayed(url: str, tmp_path: Path) -> None:
    """Its history is replaced; an older state is refused, unless it is asked for."""
    for last in range(3):
        write(night(tmp_path / "alerts", last), url)
    other = {"2020_09_09": {1: (0.9, "alert")}}
    write(night(tmp_path / "alerts", 2, **other), url)
    replayed = EVENTS | {"2020-09-09": {1: (0.9, "alert")}}
    assert history(url) == replayed
    older = night(tmp_path / "alerts", 1, **other)
    with pytest.raises(
        SarcastError, match=r"after 2020-09-15T.*this one is after 2020-09-09.*--ov"
    ):
        write(older, url)
    assert history(url) == replayed
    publish_events(older, open_event_database(url), overwrite=True)
    assert history(url) == {name: replayed[name] for name in ("2020-09-03", "2020-09-09")}
    assert {row["id"] for row in rows(url, "events")} == {1}
    assert max(row["last_acquisition"] for row in rows(url, "runs")).startswith("2020-09-09")


def test_monitor_writes_its_events_and_their_history(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two nights, and the second once more from an earlier state."""
    monkeypatch.setattr(
        "sarcast.commands.monitor.open_cube", lambda path: alert_cube(int(path.stem))
    )
    alerts, nights = tmp_path / "alerts", [tmp_path / f"{count}.zarr" for count in (FIRST, DATES)]
    for cube, more in (
        (nights[0], ()),
        (nights[1], ()),
        (nights[1], ("--replay-from", day(FIRST))),
    ):
        cube.mkdir(exist_ok=True)
        run("--quiet", "monitor", cube, "--model", "mean", "--to", alerts, *FLAGS, *more,
            "--events", url)  # fmt: skip
        features = json.loads((alerts / "events.geojson").read_text())["features"]
        stated = [each["properties"] for each in features]
        for event, row in zip(stated, rows(url, "events"), strict=True):
            assert (row["id"], row["state"], row["area_ha"]) == (
                event["id"], event["state"], pytest.approx(event["area_ha"]),
            )  # fmt: skip
            assert row["first_date"] == f"{event['first_date']}T00:00:00+00:00"
        written = pd.read_csv(alerts / "history.csv")
        assert [row["evidence"] for row in rows(url, "event_history")] == list(written["evidence"])
        found = rows(url, "runs")
        assert len({row["series_id"] for row in found}) == 1
        last = max(row["last_acquisition"] for row in found)
        assert last.startswith(day(int(cube.stem) - 1))
    assert stated[0]["state"] == "confirmed"
    publish_events(alerts, open_event_database(url))


# --- databases with faults ------------------------------------------------------------------------


def test_a_database_that_is_down_or_not_set_up(server: Database, change: Path) -> None:
    for wrong, message in (
        (Database(1).url("events"), r"events at 127\.0\.0\.1 cannot be reached"),
        (server.url("nothing"), 'database "nothing" does not exist'),
        (server.url("gis", "open sesame"), "password authentication failed"),
        (server.url("postgres"), "has no PostGIS; .*CREATE EXTENSION postgis"),
    ):
        database = open_event_database(wrong)
        with pytest.raises(SarcastError, match=message) as error:
            database.check()
        assert_hidden(str(error.value))
        with pytest.raises(SarcastError, match="write them later with: sarcast publish .*change"):
            publish_events(change, database)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("UPDATE sarcast.schema_version SET version = 2", "have version 2, expected 1: update"),
        ("DROP TABLE sarcast.schema_version", "the schema sarcast .* is not of this program"),
        ("ALTER TABLE sarcast.events ALTER area_ha TYPE text",
         "area_ha of sarcast.events has type text, expected double precision"),
        ("ALTER TABLE sarcast.events DROP COLUMN id CASCADE", "tables are as sarcast made them"),
    ],
)  # fmt: skip
def test_tables_of_another_kind_are_refused(
    url: str, change: Path, tmp_path: Path, command: str, message: str
) -> None:
    write(change, url)
    sql(url, command)
    before = rows(url, "runs")
    with pytest.raises(SarcastError, match=message):
        write(folder_with(tmp_path / "other", **{"sarcast:inputs": "other"}), url)
    assert rows(url, "runs") == before


def test_a_user_without_rights(url: str, change: Path) -> None:
    """First none to make the schema, then none to use it, then none to write."""
    sql(url, "DROP ROLE IF EXISTS guest; CREATE ROLE guest LOGIN PASSWORD 'g'")
    guest = url.replace(f"{USER}:", "guest:", 1).replace(url.split(":")[2].split("@")[0], "g", 1)
    for grant in ("", "USAGE ON SCHEMA sarcast", "SELECT ON ALL TABLES IN SCHEMA sarcast"):
        if grant:
            write(change, url)
            sql(url, f"GRANT {grant} TO guest")
        with pytest.raises(
            SarcastError, match="check that the user may create the schema sarcast, or owns it"
        ):
            open_event_database(guest).check()
    rest = "INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA sarcast"
    sql(url, f"GRANT {rest} TO guest")
    open_event_database(guest).check()
    write(change, guest)
    sql(url, "DROP OWNED BY guest")


FULL = """
CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
RAISE 'could not extend file "base/1/2": No space left on device' USING ERRCODE = 'disk_full';
END $$;
CREATE TRIGGER full_disk BEFORE INSERT ON sarcast.events FOR EACH ROW
WHEN (NEW.id = 3) EXECUTE FUNCTION full_disk();
"""


def test_a_disk_that_fills_leaves_nothing_half_written(
    url: str, change: Path, tmp_path: Path
) -> None:
    """The third event fails, after the run and two others were inserted."""
    write(change, url)
    before = {table: rows(url, table) for table in TABLES}
    sql(url, FULL)
    other = folder_with(tmp_path / "other", **{"sarcast:inputs": "other"})
    with pytest.raises(SarcastError, match=r"No space left .*free some space .*sarcast publish"):
        write(other, url)
    assert {table: rows(url, table) for table in TABLES} == before
    sql(url, "DROP TRIGGER full_disk ON sarcast.events")
    write(other, url)
    assert len(rows(url, "events")) == 6


def test_two_runs_write_at_once(url: str, change: Path, tmp_path: Path) -> None:
    """Into a database without the schema, which both would create."""
    folders = [change, folder_with(tmp_path / "other", **{"sarcast:inputs": "other"})]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda folder: write(folder, url), folders * 2))
    assert len(rows(url, "events")) == 6


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        "postgresql://me:open@sesame@db/events",
        "postgresql://me:open/sesame@db/events",
        "postgresql://me:open sesame@[::1/events",
        "postgresql://me:o/pen@sesame@db/events",
        "postgresql://me:open%zzsesame@db/events",
        "mysql://me:opensesame@db/events",
        "host=db password=opensesame",
        "opensesame",
    ],
)
def test_a_url_that_cannot_be_parsed_is_not_shown(wrong: str) -> None:
    with pytest.raises(UsageError, match="expected postgresql://HOST:PORT/DATABASE") as error:
        open_event_database(wrong)
    assert not re.search("open|sesame", str(error.value))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("detection.event_database", "detection.event_schema", "io.database"):
        monkeypatch.delitem(sys.modules, f"sarcast.{module}", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SarcastError, match=r"need psycopg; install .*'sarcast\[postgis\]'"):
        open_event_database("postgresql://db/events")


def assert_hidden(text: str) -> None:
    assert "sesame" not in text
    assert quote(PASSWORD, safe="") not in text


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A path that opens as a cube with one change."""
    monkeypatch.setattr("sarcast.commands.detect.open_cube", lambda _: acquired_cube(30))
    (tmp_path / "cube.zarr").mkdir()
    return tmp_path / "cube.zarr"


def test_a_database_that_fails_at_the_end_leaves_the_folder(
    url: str, change: Path, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(change, url)
    sql(url, FULL.replace("NEW.id = 3", "true"))
    to = tmp_path / "to"
    line = fails(capsys, 1, "detect", store, "--model", "mean", "--strata", "4", "--to", to,
                 "--events", url)  # fmt: skip
    assert "No space left" in line
    (command,) = re.findall(r"sarcast (publish .*) --events postgresql://", line)
    record = (to / "run.yaml").read_text()
    assert "127.0.0.1" in record
    assert_hidden(line + record)
    assert len(rows(url, "runs")) == 1
    sql(url, "DROP TRIGGER full_disk ON sarcast.events")
    run("--quiet", *command.split(), "--events", url)
    written = [row for row in rows(url, "events") if row["run_id"] == read_run(to).run_id]
    assert [row["direction"] for row in written] == ["loss"]


def test_a_database_that_fails_at_the_start_costs_no_work(
    server: Database, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = fails(capsys, 1, "detect", store, "--model", "mean", "--to", tmp_path / "to",
                 "--events", server.url("postgres"))  # fmt: skip
    assert "has no PostGIS" in line
    assert not (tmp_path / "to").exists()


def test_publish_needs_a_target_and_a_result(
    url: str, change: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "give --events or --catalogue" in fails(capsys, 2, "publish", change)
    assert "item.json does not exist" in fails(capsys, 1, "publish", tmp_path, "--events", url)
    (change / "events.gpkg").write_bytes(b"SQLite format 3 but not really")
    assert "events.gpkg cannot be read" in fails(capsys, 1, "publish", change, "--events", url)
    (change / "item.json").write_text("{}")
    assert "is not a STAC item" in fails(capsys, 1, "publish", change, "--events", url)


# --- items ----------------------------------------------------------------------------------------


def published(catalogue: str | Path, collection: str) -> list[pystac.Item]:
    return open_catalogue(catalogue, [collection]).search()


@pytest.mark.parametrize("kind", ["folder", "pgstac"])
def test_the_item_of_a_run_goes_into_a_catalogue(
    kind: str, server: Database, change: Path, tmp_path: Path
) -> None:
    target = str(tmp_path / "catalogue") if kind == "folder" else pgstac(server)
    for _ in range(2):
        run("--quiet", "publish", change, "--catalogue", target)
    (item,) = published(target, "sarcast-detections")
    stated = json.loads((change / "item.json").read_text())
    assert item.id == f"detect-{read_run(change).run_id}"
    assert item.properties["sarcast:run"] == read_run(change).run_id
    assert set(item.assets) == set(stated["assets"])
    for key, asset in item.assets.items():
        assert asset.href == (change / Path(stated["assets"][key]["href"]).name).as_posix()
    other = folder_with(tmp_path / "other", **{"sarcast:inputs": "other"})
    run("--quiet", "publish", other, "--catalogue", target)
    assert len(published(target, "sarcast-detections")) == 2
    run("--quiet", "publish", other, "--catalogue", target, "--collection", "mine")
    assert len(published(target, "mine")) == 1


def pgstac(server: Database) -> str:
    sql(server.url(), "CREATE DATABASE items")
    command = [Path(sys.executable).with_name("pypgstac"), "migrate", "--dsn"]
    subprocess.run([*command, server.url("items")], check=True, capture_output=True)
    return server.url("items")
