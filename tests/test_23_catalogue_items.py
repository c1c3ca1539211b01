"""The door of the catalogues: malformed items are left out, whichever way they come in."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import GRID, opera_name
from sarcast.catalogue import FolderCatalogue
from sarcast.catalogue.hrefs import Places
from sarcast.catalogue.parse import parse_item, parse_items
from sarcast.catalogue.unusable import LeftOut, UnusableError
from sarcast.cli import main
from sarcast.errors import SarcastError
from sarcast.ingest.scenes.add import add_scenes
from sarcast.ingest.scenes.fuse import Layer, read_layer
from sarcast.ingest.scenes.index import IndexOptions, find_items
from sarcast.io.cogs import write_cog
from sarcast.io.remote import RemoteOptions

BASE = "https://example.org/items/one.json"
CORNERS = [[26.9, 62.2], [27.1, 62.2], [27.1, 62.3], [26.9, 62.3], [26.9, 62.2]]


def content(**properties: Any) -> dict[str, Any]:
    """A valid item with the fields that are read, and one that is not."""
    return {
        "type": "Feature",
        "stac_version": "1.1.0",
        "id": "one",
        "geometry": {"type": "Polygon", "coordinates": [CORNERS]},
        "bbox": [26.9, 62.2, 27.1, 62.3],
        "links": [],
        "properties": {
            "datetime": "2020-03-06T05:11:22Z",
            "platform": "sentinel-1a",
            "sar:instrument_mode": "IW",
            "sat:orbit_state": "descending",
            "sat:relative_orbit": 58,
            "view:incidence_angle": 38.5,
            "view:azimuth": 280.1,
            "proj:code": "EPSG:32635",
            "proj:shape": [60, 80],
            "proj:transform": [10.0, 0.0, 500_000.0, 0.0, -10.0, 6_900_000.0],
            "other:field": {"a": [1, 2], "b": None},
            **properties,
        },
        "assets": {
            "vv": {
                "href": "vv.tif",
                "roles": ["data"],
                "bands": [{"name": "VV", "unit": "linear power"}],
                "nodata": "nan",
                "sarcast:quantity": "gamma0",
            }
        },
    }


def changed(path: str, value: Any) -> dict[str, Any]:
    """The item with one field set; ``path`` leads to it, with dots."""
    made = content()
    *parents, last = path.split("/")
    node: Any = made
    for key in parents:
        node = node[key]
    node[last] = value
    return made


def nested(depth: int) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    return value


PROPERTIES = "properties/"
MALFORMED: dict[str, tuple[dict[str, Any], str]] = {
    "bands as text": (changed("assets/vv/bands", ["VV"]), "assets.vv.bands.0: .*found 'VV'"),
    "bands null": (changed("assets/vv/bands", None), "assets.vv.bands: .*list, found None"),
    "band without a text name": (changed("assets/vv/bands", [{"name": 1}]), "bands.0.name"),
    "three numbers": (changed(PROPERTIES + "proj:transform", [1.0, 2.0, 3.0]), "6 or 9 numbers"),
    "pixels without area": (changed(PROPERTIES + "proj:transform", [0.0] * 6), "with an area"),
    "beyond the Earth": (
        changed(PROPERTIES + "proj:transform", [1e9, 0.0, 0.0, 0.0, -1e9, 0.0]),
        "outside the Earth",
    ),
    "EPSG:0": (changed(PROPERTIES + "proj:code", "EPSG:0"), "is no CRS: 'EPSG:0'"),
    "a vertical CRS": (changed(PROPERTIES + "proj:code", "EPSG:5773"), "neither geographic nor"),
    "CRS of the Moon": (changed(PROPERTIES + "proj:code", "IAU_2015:30100"), "on Earth|Earth"),
    "shape as floats": (changed(PROPERTIES + "proj:shape", [60.5, 80]), "proj:shape.0"),
    "nodata as text": (changed("assets/vv/nodata", "none"), "assets.vv.nodata: .*'none'"),
    "relative orbit as text": (changed(PROPERTIES + "sat:relative_orbit", "8a"), "relative_orbit"),
    "relative orbit 176": (changed(PROPERTIES + "sat:relative_orbit", 176), "equal to 175"),
    "angle as text": (changed(PROPERTIES + "view:incidence_angle", "38"), "view:incidence_angle"),
    "transform NaN": (changed(PROPERTIES + "proj:transform", [float("nan")] * 6), "transform.0"),
    "angle 361": (changed(PROPERTIES + "view:azimuth", 361.0), "view:azimuth: .*360"),
    "platform a number": (changed(PROPERTIES + "platform", 1), "platform: .*string"),
    "empty geometry": (
        changed("geometry", {"type": "Polygon", "coordinates": []}),
        "no footprint|not valid GeoJSON",
    ),
    "geometry of metres": (
        changed("geometry/coordinates", [[[5e5, 6e6], [6e5, 6e6], [6e5, 7e6], [5e5, 6e6]]]),
        "expected degrees",
    ),
    "a vertex that is NaN": (
        changed("geometry/coordinates", [[*CORNERS[:2], [27.1, "NaN"], *CORNERS[3:]]]),
        "expected degrees",
    ),
    "geometry null": (changed("geometry", None), "no footprint"),
    "bbox of three": (changed("bbox", [1.0, 2.0, 3.0]), "bbox: expected 4 or 6"),
    "huge integer": (changed(PROPERTIES + "other:field", 10**400), "more than 64 bits"),
    "id null": (changed("id", None), "id: input should be a valid string"),
    "id of two lines": (changed("id", "a\nb"), "id: expected text on one line"),
    "deep nesting": (changed(PROPERTIES + "other:field", nested(100)), "nested more than 64"),
    "half a character": (changed(PROPERTIES + "other:field", "\ud800"), "not valid Unicode"),
    "null character": (changed(PROPERTIES + "title", "a\0b"), "null character"),
    "time of the year 1": (changed(PROPERTIES + "datetime", "0001-01-01T00:00:00Z"), "from 1970"),
    "no time": (changed(PROPERTIES + "datetime", "yesterday"), "RFC 3339"),
    "assets a list": (changed("assets", [{}]), "assets: .*dictionary"),
    "asset a text": (changed("assets/vv", "vv.tif"), "assets.vv"),
    "href null": (changed("assets/vv/href", None), "assets.vv.href"),
    "other quantity": (changed("assets/vv/sarcast:quantity", "beta0"), "'gamma0' or 'sigma0'"),
    "properties null": (changed("properties", None), "properties"),
    "another version": (changed("stac_version", 1), "stac_version"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_item_is_left_out_with_its_field(case: str) -> None:
    made, line = MALFORMED[case]
    before = copy.deepcopy(made)
    with pytest.raises(UnusableError, match=f"is not a valid STAC item: .*({line})") as error:
        parse_item(made, Places(), BASE, LeftOut())
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert made == before
    left_out = LeftOut()
    good = parse_items([made, {**content(), "id": "two"}], Places(), lambda _: BASE, left_out)
    assert [item.id for item in good] == ["two"]


def test_unknown_fields_pass_and_null_is_absent() -> None:
    stated = content(**{"view:azimuth": None, "sat:relative_orbit": 58.0, "odd": float("nan")})
    item = parse_item(stated, Places(), BASE, LeftOut())
    assert item.properties["other:field"] == {"a": [1, 2], "b": None}
    assert item.properties["odd"] is None
    assert "view:azimuth" not in item.properties
    assert item.properties["sat:relative_orbit"] == 58
    assert item.assets["vv"].href == "https://example.org/items/vv.tif"
    assert item.assets["vv"].extra_fields == {
        key: value
        for key, value in content()["assets"]["vv"].items()
        if key not in ("href", "roles")
    }


def test_a_property_with_the_name_of_a_field_of_the_item_is_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """A table has one column for both; its library would warn of it."""
    item = parse_item(content(type="other", id="two"), Places(), BASE, LeftOut())
    assert item.id == "one"
    assert not {"type", "id"} & item.properties.keys()
    FolderCatalogue(tmp_path).add([item])
    assert capsys.readouterr().err == ""
    assert not caplog.records


POISON = ("bands as text", "relative orbit as text", "EPSG:0", "empty geometry", "huge integer")


@pytest.mark.parametrize("case", POISON)
@pytest.mark.parametrize("collection", [False, True])
def test_a_malformed_item_never_gets_into_a_catalogue(
    case: str, collection: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside a good one, as a file of its own or in a FeatureCollection; --strict refuses it."""
    write_cog(tmp_path / "vv.tif", np.full(GRID.shape, 0.1, np.float32), GRID)
    made = [MALFORMED[case][0], {**content(), "id": "good"}]
    if collection:
        whole = {"type": "FeatureCollection", "features": made}
        (tmp_path / "items.json").write_text(json.dumps(whole))
    else:
        for number, item in enumerate(made):
            (tmp_path / f"{number}.json").write_text(json.dumps(item))
    to = tmp_path / "catalogue"
    with pytest.raises(SystemExit) as ended:
        main(["index", str(tmp_path), "--to", str(to), "--strict"])
    assert ended.value.code == 1
    assert not to.exists() or not list(to.iterdir())
    assert add_scenes((tmp_path,), str(to), IndexOptions()) == {"good"}
    assert [item.id for item in FolderCatalogue(to).search()] == ["good"]
    assert "1 left out (no valid STAC item): one" in capsys.readouterr().err


def test_a_malformed_row_of_our_own_layout_is_left_out(tmp_path: Path) -> None:
    """Written by somebody else with today's stac-geoparquet, without a check."""
    import stac_geoparquet.arrow

    rows = [changed(PROPERTIES + "sat:relative_orbit", 999), {**content(), "id": "good"}]
    for row in rows:
        row["assets"]["vv"]["href"] = "./vv.tif"
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(rows)
    stac_geoparquet.arrow.to_parquet(table, tmp_path / "items.parquet")
    left_out = LeftOut()
    found = FolderCatalogue(tmp_path).search(GRID.extent, left_out=left_out)
    assert [item.id for item in found] == ["good"]
    with pytest.raises(Exception, match="one is not a valid STAC item: .*relative_orbit"):
        left_out.report(any_used=False, strict=True)


UNSTORABLE = {
    "a list of two types": {"a": [1, "b"]},
    "another type": "text",
}


@pytest.mark.parametrize("case", UNSTORABLE)
def test_an_item_with_a_field_of_another_type_is_left_out(
    case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A field that is not read; it comes first, and most items have the other type."""
    write_cog(tmp_path / "vv.tif", np.full(GRID.shape, 0.1, np.float32), GRID)
    made = [{**content(**{"other:field": UNSTORABLE[case], "none": {}}), "id": "a"}]
    made += [{**content(), "id": name} for name in "bc"]
    (tmp_path / "items.json").write_text(
        json.dumps({"type": "FeatureCollection", "features": made})
    )
    to = tmp_path / "catalogue"
    with pytest.raises(SarcastError, match="a field has values of two types"):
        add_scenes((tmp_path,), str(to), IndexOptions(strict=True))
    assert not (to / "items.parquet").exists()
    assert add_scenes((tmp_path,), str(to), IndexOptions()) == {"b", "c"}
    assert {item.id for item in FolderCatalogue(to).search()} == {"b", "c"}
    assert "1 left out (field of another type than in the other items): a" in caplog.text


def test_an_item_that_states_more_bands_than_its_file_is_left_out(tmp_path: Path) -> None:
    write_cog(tmp_path / "vv.tif", np.full(GRID.shape, 0.1, np.float32), GRID)
    bands = [{"name": name, "unit": "linear power"} for name in ("VV", "VH")]
    (tmp_path / "item.json").write_text(json.dumps(changed("assets/vv/bands", bands)))
    with pytest.raises(SarcastError, match="has 1 bands, but band 2 of it is asked"):
        add_scenes((tmp_path,), str(tmp_path / "catalogue"), IndexOptions())
    layer = Layer(str(tmp_path / "vv.tif"), 2, "linear power", "one")
    with pytest.raises(SarcastError, match="has 1 bands, but band 2"):
        read_layer(layer, GRID, "nearest", RemoteOptions())


# --- linked files -------------------------------------------------------------------------------


@pytest.mark.parametrize("linked", ["rasters", "item", "both", "folder"])
def test_items_beside_linked_rasters_are_indexed(
    linked: str, tmp_path: Path, scene_folder: Callable[..., Path]
) -> None:
    """Rasters, their item, or both are links into a store whose names mean nothing."""
    scenes = scene_folder({opera_name("20200301T154005"): np.full((2, *GRID.shape), 0.1)})
    (made,) = find_items([scenes], IndexOptions())
    written = made.to_dict(transform_hrefs=False)
    store, folder = tmp_path / "store", tmp_path / "named"
    store.mkdir()
    folder.mkdir()
    for number, (key, asset) in enumerate(written["assets"].items()):
        name, stored = f"{key}.tif", store / f"{number:032x}"
        if linked == "item":
            stored = store / name
        Path(asset["href"]).rename(stored)
        if linked in ("rasters", "both"):
            (folder / name).symlink_to(stored)
        elif linked == "folder":
            (folder / "scene").mkdir(exist_ok=True)
            (folder / "scene" / name).symlink_to(stored)
        asset["href"] = f"./{name}"
    where = {"rasters": folder, "folder": folder / "scene"}.get(linked, store) / "item.json"
    where.write_text(json.dumps(written))
    if linked in ("item", "both"):
        (folder / "item.json").symlink_to(where)
    add_scenes((folder,), str(tmp_path / "catalogue"), IndexOptions())
    (item,) = FolderCatalogue(tmp_path / "catalogue").search()
    assert item.id == made.id
    assert set(item.assets) == {"vv", "vh"}
    assert all(Path(asset.href).is_file() for asset in item.assets.values())
