"""Events as OGC API Features: ``sarcast detect`` on a small cube, served by pygeoapi."""

import importlib.util
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import shapely

from services import Database, create_database, features_api, postgresql, required
from small_changes import DATES, acquired_cube
from test_90_cli import run

pytestmark = pytest.mark.service
CONFIGURATION = Path(__file__).parents[1] / "docs" / "how-to" / "pygeoapi.yml"


@pytest.fixture(scope="module")
def server() -> Iterator[Database]:
    for module in ("psycopg", "pygeoapi", "geoalchemy2", "psycopg2", "uvicorn"):
        if importlib.util.find_spec(module) is None:
            required(f"{module} (pip install 'sarcast[postgis]')")
    with postgresql() as running:
        create_database(running, "events", "postgis")
        yield running


@pytest.fixture(scope="module")
def change(server: Database, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detection folder whose events were written to the database, too."""
    folder = tmp_path_factory.mktemp("change")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sarcast.commands.detect.open_cube", lambda _: acquired_cube(DATES - 2))
        (folder / "cube.zarr").mkdir()
        run("--quiet", "detect", folder / "cube.zarr", "--model", "mean", "--strata", "4",
            "--to", folder / "to", "--events", server.url("events"))  # fmt: skip
    return folder / "to"


@pytest.fixture(scope="module")
def api(server: Database, change: Path) -> Iterator[str]:
    with features_api(server, "events", CONFIGURATION) as url:
        yield f"{url}collections"


@pytest.fixture(scope="module")
def event(change: Path) -> dict[str, Any]:
    (feature,) = json.loads((change / "events.geojson").read_text())["features"]
    return dict(feature)


def get(url: str, **query: str) -> Any:
    with urllib.request.urlopen(f"{url}?{urlencode({'f': 'json', **query})}", timeout=30) as answer:
        return json.load(answer)


def test_an_event_is_served_as_in_its_file(api: str, change: Path, event: dict[str, Any]) -> None:
    found = get(f"{api}/events/items")
    assert found["numberMatched"] == 1
    (feature,) = found["features"]
    served = feature["properties"]
    for name, value in event["properties"].items():
        got = served[name]
        assert (got.replace("+00:00", "Z") if isinstance(got, str) else got) == value, name
    parts = shapely.get_parts(shapely.geometry.shape(event["geometry"]))
    outline = shapely.geometry.shape(feature["geometry"])
    assert shapely.equals_exact(
        outline.normalize(), shapely.MultiPolygon(list(parts)).normalize(), tolerance=0.0
    )
    assert feature["id"] == f"{served['series_id']}-{event['id']}"
    one = get(f"{api}/events/items/{feature['id']}")
    assert one["properties"]["evidence"] == event["properties"]["evidence"]
    (made_by,) = get(f"{api}/runs/items")["features"]
    assert made_by["id"] == served["run_id"]
    assert made_by["properties"]["options"]["strata"] == 4


def test_a_box_finds_the_events_that_touch_it(api: str, event: dict[str, Any]) -> None:
    west, south, east, north = shapely.geometry.shape(event["geometry"]).bounds
    width = east - west
    for moved, count in ((0.0, 1), (0.5 * width, 1), (1.5 * width, 0)):
        box = ",".join(map(str, (west + moved, south, east + moved, north)))
        assert get(f"{api}/events/items", bbox=box)["numberMatched"] == count


def test_a_time_finds_the_events_of_its_acquisitions(api: str, event: dict[str, Any]) -> None:
    date = event["properties"]["date"]
    assert date.startswith("2020-05-14")
    for time, count in (
        (date, 1),
        ("2020-05-14T00:00:00Z/2020-05-15T00:00:00Z", 1),
        (f"../{date}", 1),
        (f"{date}/..", 1),
        ("2020-05-15T00:00:00Z/..", 0),
        ("../2020-05-14T00:00:00Z", 0),
    ):
        assert get(f"{api}/events/items", datetime=time)["numberMatched"] == count, time


def test_events_are_selected_by_a_property(api: str) -> None:
    assert get(f"{api}/events/items", direction="loss")["numberMatched"] == 1
    assert get(f"{api}/events/items", direction="gain")["numberMatched"] == 0
    queryables = get(f"{api}/events/queryables")["properties"]
    assert queryables["area_ha"]["type"] == "number"
