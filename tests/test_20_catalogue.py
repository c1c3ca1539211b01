import datetime as dt
from pathlib import Path

import numpy as np
import pystac
import pytest
from odc.geo.geom import box
from pystac.validation import validate_dict

from conftest import GRID
from sarcast.catalogue import FolderCatalogue, Raster, Scene
from sarcast.errors import SarcastError
from sarcast.grid import item_grid
from sarcast.orbits import heading_deg
from sarcast.rasters import write_cog


def scene(folder: Path, number: int, **changed: object) -> Scene:
    path = folder / f"scene-{number}.tif"
    write_cog(path, np.full((2, 60, 80), 0.1, np.float32), GRID)
    told = {
        "id": f"scene-{number}",
        "time": dt.datetime(2020, 3, 1 + number, 15, 30, tzinfo=dt.UTC),
        "quantity": "gamma0",
        "rasters": {"vv-vh": Raster(path, ("VV", "VH"), "linear power")},
        "platform": "sentinel-1a",
        "orbit_direction": "ascending",
        "relative_orbit": 58,
        "heading_deg": heading_deg(62.0, "ascending"),
        "incidence_deg": 38.5,
    }
    return Scene(**{**told, **changed})  # type: ignore[arg-type]


def test_an_item_tells_what_the_scene_tells(tmp_path: Path) -> None:
    item = scene(tmp_path, 0).to_item()
    told = item.properties
    assert told["platform"] == "sentinel-1a"
    assert told["sat:orbit_state"] == "ascending"
    assert told["sat:relative_orbit"] == 58
    assert told["view:incidence_angle"] == 38.5
    assert told["view:azimuth"] == pytest.approx(heading_deg(62.0, "ascending") + 90.0, abs=1e-3)
    assert told["sar:polarizations"] == ["VV", "VH"]
    assert item_grid(item) == GRID
    west, south, east, north = GRID.geographic_extent.boundingbox.bbox
    np.testing.assert_allclose(item.bbox, [west, south, east, north], atol=1e-4)


def test_what_a_source_does_not_tell_stays_absent(tmp_path: Path) -> None:
    unknown = dict.fromkeys(
        ("platform", "orbit_direction", "relative_orbit", "heading_deg", "incidence_deg")
    )
    told = scene(tmp_path, 0, **unknown).to_item().properties
    assert not {"platform", "sat:orbit_state", "sat:relative_orbit"} & set(told)
    assert not {"view:azimuth", "view:incidence_angle"} & set(told)


def test_items_are_valid_stac(tmp_path: Path) -> None:
    """Against the STAC core's schemas, which pystac holds; the extensions' are on the network."""
    item = scene(tmp_path, 0).to_item().to_dict()
    validate_dict({**item, "stac_extensions": []})


def test_a_catalogue_gives_back_its_items(tmp_path: Path) -> None:
    made = [scene(tmp_path, number).to_item() for number in (2, 0, 1)]
    catalogue = FolderCatalogue(tmp_path)
    assert catalogue.add(made) == 3
    found = catalogue.search()
    assert [item.id for item in found] == ["scene-0", "scene-1", "scene-2"]
    for item, number in zip(found, (1, 2, 0), strict=True):
        before, after = made[number].to_dict(), item.to_dict()
        assert after["properties"] == before["properties"]
        assert after["assets"] == before["assets"]


def test_a_catalogue_can_be_moved_with_its_scenes(tmp_path: Path) -> None:
    FolderCatalogue(tmp_path / "here").add([scene(tmp_path / "here", 0).to_item()])
    (tmp_path / "here").rename(tmp_path / "there")
    item = FolderCatalogue(tmp_path / "there").search()[0]
    assert Path(item.assets["vv-vh"].href) == tmp_path.resolve() / "there" / "scene-0.tif"


def test_search_by_area_and_time_agrees_with_a_plain_loop(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = scene(tmp_path, 0).to_item()
    items = [moved(base, number, rng) for number in range(60)]
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add(items)
    area = box(24.0, 60.0, 28.0, 64.0, "EPSG:4326")
    first, last = dt.datetime(2020, 1, 20, tzinfo=dt.UTC), dt.datetime(2020, 2, 10)
    found = {item.id for item in catalogue.search(area, (first, last))}
    expected = {
        item.id
        for item in items
        if first <= item.datetime <= last.replace(tzinfo=dt.UTC)  # type: ignore[operator]
        and item.bbox[0] <= 28.0 and item.bbox[2] >= 24.0  # type: ignore[index]
        and item.bbox[1] <= 64.0 and item.bbox[3] >= 60.0  # type: ignore[index]
    }  # fmt: skip
    assert found == expected
    assert 0 < len(found) < 60
    projected = catalogue.search(area.to_crs("EPSG:32635"), (first, None))
    assert {item.id for item in projected} >= found


def moved(item: pystac.Item, number: int, rng: np.random.Generator) -> pystac.Item:
    west, south = float(rng.uniform(20, 32)), float(rng.uniform(56, 68))
    shape = box(west, south, west + 1.0, south + 0.5, "EPSG:4326")
    copy = item.clone()
    copy.id = f"moved-{number:02d}"
    copy.geometry, copy.bbox = shape.json, list(shape.boundingbox.bbox)
    copy.datetime = dt.datetime(2020, 1, 1, tzinfo=dt.UTC) + dt.timedelta(days=number)
    return copy


def test_adding_again_replaces(tmp_path: Path) -> None:
    catalogue = FolderCatalogue(tmp_path)
    catalogue.add([scene(tmp_path, 0).to_item(), scene(tmp_path, 1).to_item()])
    changed = scene(tmp_path, 1, platform="sentinel-1b").to_item()
    assert catalogue.add([changed]) == 2
    assert catalogue.search()[1].properties["platform"] == "sentinel-1b"


def test_a_folder_without_catalogue(tmp_path: Path) -> None:
    with pytest.raises(SarcastError, match=r"lacks items\.parquet; make one with: sarcast index"):
        FolderCatalogue(tmp_path).search()
    with pytest.raises(SarcastError, match="no items to write"):
        FolderCatalogue(tmp_path).add([])
